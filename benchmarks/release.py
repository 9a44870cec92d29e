"""Explore after a release: from letting go of the mask lab's slider until every panel shows the new
cut, accuracy measured.

ResNet-20 on Fashion-MNIST, 512 probe images, in headless Chromium, on the real app. The end is the
last change of the page's main part (numbers, network map, lab, histogram, tables), with the script
at rest and the lab's report answered; each move asks for a ratio that was not asked for before, so
that accuracy is measured anew. Given: median and slowest of the moves, for three layers.
Fashion-MNIST must be on this machine (README, "Data"). Run: python -m benchmarks.release [--rounds
10].
"""

from statistics import median
from typing import Any

from playwright.sync_api import Page

from benchmarks.mask_lab_drag import chromium, served
from benchmarks.timing import Row, Seconds, Unmeasured, command
from pruning_core.types import DataMissing
from pruning_core.zoo import load_data

LAYERS = ("layer1.0.conv1.weight", "layer2.1.conv1.weight", "layer3.2.conv2.weight")
"""Near the input, in the middle, near the output: what lies before a changed layer is not computed
again.
"""
LIMIT = 0.4
QUIET = 900
"""Milliseconds without any change after which a page counts as settled."""
WATCH = """() => {
  const host = [...document.querySelectorAll('*')].find(each => each.shadowRoot?.querySelector('.lab'))
  globalThis.lab = host.shadowRoot.querySelector('.lab').lab
  globalThis.changed = 0
  globalThis.changes = 0
  const note = () => { globalThis.changed = performance.now(); globalThis.changes += 1 }
  const all = { subtree: true, childList: true, characterData: true, attributes: true }
  new MutationObserver(note).observe(document.querySelector('[data-testid=stMain]'), all)
  const app = document.querySelector('[data-testid=stApp]')
  new MutationObserver(note).observe(app, { attributes: true, attributeFilter: ['data-test-script-state'] })
}"""
MOVE = f"""async ratio => {{
  const {{ lab }} = globalThis
  const input = lab.find('.slider input')
  const frame = () => new Promise(requestAnimationFrame)
  const state = () => document.querySelector('[data-testid=stApp]').getAttribute('data-test-script-state')
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
    if (now - start > 60000) throw new Error('the page never settled')
  }}
}}"""


def moves(page: Page, url: str, layer: str, rounds: int) -> tuple[list[float], set[str]]:
    """Seconds of each move, and the accuracies seen."""
    page.goto(f"{url}/?dataset=fashion_mnist&layer={layer}")
    page.locator(".lab[data-drawn]").wait_for(timeout=120_000)
    page.wait_for_timeout(4000)
    page.evaluate(WATCH)
    found: list[Any] = [page.evaluate(MOVE, 613 + 7 * number) for number in range(rounds + 1)]
    if len({counts for *_, counts in found}) <= rounds:
        raise RuntimeError("Two moves gave the same cut, so nothing was measured.")
    return [took / 1000 for took, *_ in found[1:]], {text for _, _, text, _ in found}


def rows(rounds: int) -> list[Row]:
    """One row: the median over all layers against the limit. Raises Unmeasured without Chromium or
    without the images.
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
    every = [seconds for found in times.values() for seconds in found]
    each = {f"{layer.removesuffix('.weight')} s": median(found) for layer, found in times.items()}
    ours = Seconds(median(every), median(every))
    limit = Seconds(LIMIT, LIMIT)
    more: dict[str, float | int | str] = {**each, "slowest s": max(every), "moves": len(every)}
    return [
        Row("release to all panels, 512 images", ours, limit, "limit 0.4 s, wall", 1.0, more=more)
    ]


if __name__ == "__main__":
    command(rows, 10, __doc__)
