"""Explore after the mask lab's slider is released: time until every panel shows the new mask.

Run: python -m benchmarks.release [--rounds 10]. ResNet-20 on Fashion-MNIST, 512 probe images, on
the real app in headless Chromium. The end is the last change of the page's main part (numbers,
network map, lab, histogram, tables), after the script has ended and the lab's message is answered.
Each move has a new ratio, so that accuracy is measured again. The figures are the median and the
slowest move, for three layers. Fashion-MNIST must be on this machine (docs/models.md says how).
"""

from statistics import median
from typing import Any

from playwright.sync_api import Page

from benchmarks.mask_lab_drag import chromium, served
from benchmarks.timing import Row, Seconds, Unmeasured, command
from pruning_core.types import DataMissing
from pruning_core.zoo import load_data

LAYERS = ("layer1.0.conv1.weight", "layer2.1.conv1.weight", "layer3.2.conv2.weight")
"""Near the input, in the middle, near the output: only what follows a layer is computed again."""
LIMIT = 0.4
QUIET = 900
"""A page is finished after this many milliseconds without a change."""
WATCH = """() => {
  const elements = [...document.querySelectorAll('*')]
  const host = elements.find(each => each.shadowRoot?.querySelector('.lab'))
  globalThis.lab = host.shadowRoot.querySelector('.lab').lab
  globalThis.changed = 0
  globalThis.changes = 0
  const note = () => { globalThis.changed = performance.now(); globalThis.changes += 1 }
  const all = { subtree: true, childList: true, characterData: true, attributes: true }
  new MutationObserver(note).observe(document.querySelector('[data-testid=stMain]'), all)
  const app = document.querySelector('[data-testid=stApp]')
  const state = { attributes: true, attributeFilter: ['data-test-script-state'] }
  new MutationObserver(note).observe(app, state)
}"""
MOVE = f"""async ratio => {{
  const {{ lab }} = globalThis
  const input = lab.find('.slider input')
  const frame = () => new Promise(requestAnimationFrame)
  const app = document.querySelector('[data-testid=stApp]')
  const state = () => app.getAttribute('data-test-script-state')
  input.value = String(ratio)
  input.dispatchEvent(new Event('input'))
  await frame()
  globalThis.changes = 0
  const start = performance.now()
  input.dispatchEvent(new Event('change'))
  let answered = 0
  for (;;) {{
    await frame()
    const now = performance.now()
    if (!answered && lab.pending === null) answered = now
    const end = Math.max(globalThis.changed, answered)
    if (globalThis.changes && answered && state() === 'notRunning' && now - end > {QUIET}) {{
      const text = document.querySelector('[data-testid=stMetricValue]').innerText
      return [end - start, globalThis.changes, text, lab.find('.counts').innerText]
    }}
    if (now - start > 60000) throw new Error('the page never finished')
  }}
}}"""


def moves(page: Page, url: str, layer: str, rounds: int) -> tuple[list[float], set[str]]:
    """Seconds of each move, and the accuracies that the page showed."""
    page.goto(f"{url}/?dataset=fashion_mnist&layer={layer}")
    page.locator(".lab[data-drawn]").wait_for(timeout=120_000)
    page.wait_for_timeout(4000)
    page.evaluate(WATCH)
    answers: list[Any] = [page.evaluate(MOVE, 613 + 7 * number) for number in range(rounds + 1)]
    if len({counts for *_, counts in answers}) <= rounds:
        raise RuntimeError("Two moves gave the same mask, so nothing was measured.")
    return [took / 1000 for took, *_ in answers[1:]], {text for _, _, text, _ in answers}


def rows(rounds: int) -> list[Row]:
    """One row: the median over all layers against the limit.

    Raises Unmeasured without Chromium or without the images.
    """
    try:
        load_data("fashion_mnist", download=False)
    except DataMissing as missing:
        raise Unmeasured(f"It needs Fashion-MNIST. {missing}") from missing
    times: dict[str, list[float]] = {}
    with chromium() as browser, served("app.py") as (url, _):
        for layer in LAYERS:
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            times[layer], _ = moves(page, url, layer, rounds)
            page.close()
    every = [seconds for layer_times in times.values() for seconds in layer_times]
    medians = {
        f"{layer.removesuffix('.weight')} s": median(seconds) for layer, seconds in times.items()
    }
    ours = Seconds(median(every), median(every))
    limit = Seconds(LIMIT, LIMIT)
    more: dict[str, float | int | str] = {**medians, "slowest s": max(every), "moves": len(every)}
    return [
        Row("release to all panels, 512 images", ours, limit, "limit 0.4 s, wall", 1.0, more=more)
    ]


if __name__ == "__main__":
    command(rows, 10, __doc__)
