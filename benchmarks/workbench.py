"""Explore as a workbench: how long a user waits, and the wait after a release before and now.

Run: python -m benchmarks.workbench [--before FOLDER] [--rounds 8]. FOLDER is a checkout of an older
commit: `git worktree add FOLDER cf1c719`. ResNet-20 on Fashion-MNIST, 512 probe images, the real
app in headless Chromium. Both versions are served side by side, and their moves alternate; the
version that moves first changes from round to round. The page that moves is in front, as a user's
is: Chromium draws no frames of a page behind it, which then answers a fifth sooner.
Without OMP_NUM_THREADS, as users run it, cf1c719 computes with a thread on every core, and this
version leaves one core free. OMP_NUM_THREADS=1 gives both one thread.
Panels: from the release of the mask lab's slider to the last change of the page's main part
without the line of the recalibrated accuracy. Repaired: to the last change of that line.
The browser has a new profile on disk, as a user's has: from the third load on, it uses the code
that it compiled before. A context of Playwright compiles Streamlit and Plotly at each load. A load
begins 2 seconds after the last one was ready.
Fashion-MNIST must be on this machine (docs/models.md says how).
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from playwright.sync_api import BrowserContext, Page, sync_playwright

from benchmarks.mask_lab_drag import FEATURES, FLAGS, ROOT, executable, served

LAYERS = ("layer1.0.conv1.weight", "layer2.1.conv1.weight", "layer3.2.conv2.weight")
ADDRESS = "?dataset=fashion_mnist&sparsity=0.5&layer="
GRANULARITIES = ("Filter", "Kernel", "Channel", "Fine-grained")
WARM_LOADS = 6
BETWEEN = 2000
"""Milliseconds."""
IN_FRONT = 500
"""Milliseconds until a page that came to the front is drawn."""
QUIET = 900
"""A page is finished after this many milliseconds without a change."""
READY = (".lab[data-drawn]", ".net-map[data-drawn]", "[data-testid=stMetricValue] >> nth=3")
WATCH = """() => {
  const all = { subtree: true, childList: true, characterData: true, attributes: true }
  globalThis.last = { panels: 0, repaired: 0 }
  const part = node => (node.nodeType === 1 ? node : node.parentElement)
    ?.closest('.st-key-repaired_line') ? 'repaired' : 'panels'
  new MutationObserver(records => {
    for (const each of records) globalThis.last[part(each.target)] = performance.now()
  }).observe(document.querySelector('[data-testid=stMain]'), all)
  globalThis.finished = async start => {
    const running = () => document.querySelector('[data-testid=stApp]')
      .getAttribute('data-test-script-state') !== 'notRunning'
    for (;;) {
      await new Promise(requestAnimationFrame)
      const { panels, repaired } = globalThis.last
      const quiet = performance.now() - Math.max(panels, repaired, start)
      if (panels > start && !running() && quiet > QUIET) {
        return [panels - start, Math.max(0, repaired - start)]
      }
      if (performance.now() - start > 60000) throw new Error('the page never finished')
    }
  }
}""".replace("QUIET", str(QUIET))
MOVE = """ratio => {
  const host = [...document.querySelectorAll('*')].find(e => e.shadowRoot?.querySelector('.lab'))
  const input = host.shadowRoot.querySelector('.lab .slider input')
  input.value = String(ratio)
  input.dispatchEvent(new Event('input'))
  const start = performance.now()
  input.dispatchEvent(new Event('change'))
  return globalThis.finished(start)
}"""


@contextmanager
def profile() -> Iterator[BrowserContext]:
    """A browser with a new profile. Raises Unmeasured where Chromium is not installed."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder,
            executable_path=executable(),
            args=[*FLAGS, f"--disable-features={FEATURES}"],
            viewport={"width": 1440, "height": 900},
        )
        yield context
        context.close()


def opened(context: BrowserContext, url: str, layer: str) -> tuple[Page, float]:
    """A new page, and the seconds until numbers, map and lab are drawn."""
    page = context.new_page()
    page.set_default_timeout(120_000)
    start = time.perf_counter()
    page.goto(f"{url}/{ADDRESS}{layer}")
    for part in READY:
        page.locator(part).first.wait_for()
    return page, time.perf_counter() - start


def watched(context: BrowserContext, url: str, layer: str) -> Page:
    """An opened page that notes its changes."""
    page, _ = opened(context, url, layer)
    page.wait_for_timeout(4000)
    page.evaluate(WATCH)
    return page


def releases(context: BrowserContext, urls: Sequence[str], rounds: int) -> list[list[list[float]]]:
    """For each version, the seconds to the panels and to the repaired line, of every move."""
    times: list[list[list[float]]] = [[] for _ in urls]
    for layer in LAYERS:
        pages = [watched(context, url, layer) for url in urls]
        versions = list(zip(pages, times, strict=True))
        for number in range(rounds + 1):
            versions.reverse()
            for page, own in versions:
                page.bring_to_front()
                page.wait_for_timeout(IN_FRONT)
                moved = page.evaluate(MOVE, 613 + 7 * number)
                if number:  # the first move of a page fills its caches
                    own.append([part / 1000 for part in moved])
        for page in pages:
            page.close()
    return times


def shape_changes(context: BrowserContext, url: str) -> list[float]:
    """Seconds from choosing a granularity to the last change of the panels."""
    page = watched(context, url, LAYERS[1])
    times = []
    for label in GRANULARITIES:
        page.locator(".st-key-granularity").get_by_role("combobox").click()
        option = page.get_by_role("option", name=label, exact=True)
        option.wait_for()
        start = page.evaluate("performance.now()")
        option.click()
        times.append(page.evaluate("start => globalThis.finished(start)", start)[0] / 1000)
    page.close()
    return times


def said(what: str, times: Sequence[float], wanted: float) -> None:
    words = f"median {median(times):.3f} s, slowest {max(times):.3f} s, n = {len(times)}"
    print(f"{what}: {words}; wanted {wanted:g} s", flush=True)


def main() -> None:
    """Measures and prints all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="checkout of an older commit")
    parser.add_argument("--rounds", type=int, default=8, help="moves of each of three layers")
    options = parser.parse_args()
    with profile() as context, ExitStack() as servers:
        url, _ = servers.enter_context(served("app.py"))
        cold, seconds = opened(context, url, LAYERS[0])
        cold.wait_for_timeout(BETWEEN)
        cold.close()
        said("page ready, new server and browser", [seconds], 6)
        warm = []
        for number in range(WARM_LOADS):
            page, seconds = opened(context, url, LAYERS[number % len(LAYERS)])
            page.wait_for_timeout(BETWEEN)
            page.close()
            warm.append(seconds)
        said("page ready, warm server and browser", warm, 2)
        said("change of granularity", shape_changes(context, url), 0.8)
        folders = [ROOT] if options.before is None else [ROOT, options.before.resolve()]
        urls = [url, *(servers.enter_context(served("app.py", at))[0] for at in folders[1:])]
        times = releases(context, urls, options.rounds)
        said("release to repaired line", [repaired for _, repaired in times[0]], 1)
        for folder, own in zip(("now", "before"), times, strict=False):
            said(f"release to all panels, {folder}", [panels for panels, _ in own], 0.4)
        if options.before is not None:
            now, before = (median(panels for panels, _ in own) for own in times)
            print(f"release, now / before: {now / before:.2f}; wanted 0.6 at most")


if __name__ == "__main__":
    main()
