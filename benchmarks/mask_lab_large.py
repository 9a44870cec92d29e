"""A layer of 103 million weights in the mask lab, in headless Chromium, against the limits of its
design.

First view: from the click that selects the layer (weights and float32 scores are there) until the
lab has drawn it, the work of Python, the message and the drawing included. Release: from the end of
a drag until Python's count of weights that are gone is on the page and the lab shows the same.
Window: from the end of zooming until every weight in sight is drawn. Given is the slowest. Memory:
the server's resident peak over all of it, above what it held before the click. cpu: of the server.
Run: python -m benchmarks.mask_lab_large [--rounds 3] [--every] (--every: all granularities, one
round each).
"""

import argparse
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from playwright.sync_api import Browser, Page, WebSocket

from benchmarks.mask_lab_drag import chromium, served
from benchmarks.timing import Row, Seconds

MATRIX = "4096x25088x1x1"
CONVOLUTION = "2048x5632x3x3"
CASES = [(MATRIX, g) for g in ("fine", "row", "2:4", "filter", "channel", "block:4x4")]
CASES += [(CONVOLUTION, g) for g in ("vector_row", "kernel")]
"""VGG-16's first fully connected layer; vectors and kernels need a convolution: one of as many
weights.
"""
FIRST = 3.0
RELEASE = 0.5
MESSAGE = 2**20
BYTES_PER_WEIGHT = 6
RATIOS = (0.3, 0.62, 0.9, 0.15, 0.5)
FIND = """const lab = () => [...document.querySelectorAll('*')].find(each => each.shadowRoot?.querySelector('.lab'))
  ?.shadowRoot.querySelector('.lab').lab
const frame = () => new Promise(requestAnimationFrame)
const until = async (done, limit = 60000) => {
  const start = performance.now()
  while (!done()) {
    if (performance.now() - start > limit) throw new Error('never done')
    await frame()
  }
  return performance.now() - start
}
"""
SHOW = f"""async () => {{
  {FIND}
  document.querySelector('[data-testid=stCheckbox] input').click()
  return await until(() => lab()?.root.dataset.drawn)
}}"""
DROP = f"""async ratio => {{
  {FIND}
  const shown = lab()
  const fixed = shown.layer.keepOf !== null
  const input = shown.find(fixed ? '.fixed input' : '.slider input')
  if (fixed) input.checked = !input.checked
  else input.value = String(1000 * ratio)
  input.dispatchEvent(new Event('input'))
  await frame()
  const said = () => [...document.querySelectorAll('[data-testid=stText]')].map(each => each.textContent).join()
  const start = performance.now()
  input.dispatchEvent(new Event('change'))
  const gone = () => `Python counts ${{shown.mask.counts().weights.toLocaleString('en-US')}} weights`
  await until(() => shown.pending === null && !shown.held && said().includes(gone()))
  return [performance.now() - start, shown.mask.counts().weights]
}}"""
ZOOM = f"""async () => {{
  {FIND}
  const shown = lab()
  shown.zoom(3 * Math.max(...shown.mask.unit) / Math.min(shown.stage.view.sx, shown.stage.view.sy))
  return [await until(() => shown.stage.near && !shown.asked), shown.stage.near.rows * shown.stage.near.cols]
}}"""


class Server(NamedTuple):
    """What Linux tells of a process."""

    pid: int

    def cpu(self) -> float:
        """Seconds that all its threads have worked."""
        fields = (
            Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        )
        return (int(fields[11]) + int(fields[12])) / 100

    def memory(self, key: str) -> int:
        """VmRSS or VmHWM, in bytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024

    def reset(self) -> int:
        """Forgets the peak; returns what is resident now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")
        return self.memory("VmRSS")


class Seen(NamedTuple):
    """Seconds by the clock and of the server, one pair per try; sizes in bytes."""

    first: list[Seconds]
    release: list[Seconds]
    window: list[Seconds]
    message: int
    memory: int
    window_weights: int


def timed(page: Page, server: Server, script: str, argument: object = None) -> tuple[Seconds, Any]:
    """A script that returns milliseconds, or a list that begins with them."""
    before = server.cpu()
    found = page.evaluate(script, argument)
    wall, rest = (found[0], found[1]) if isinstance(found, list) else (found, None)
    return Seconds(wall / 1000, server.cpu() - before), rest


def measured(browser: Browser, url: str, server: Server, query: str, rounds: int) -> Seen:
    """All that happens to one layer; every round begins with a view that is not there yet."""
    seen = Seen([], [], [], 0, 0, 0)
    sizes = [0]

    def listen(wire: WebSocket) -> None:
        wire.on("framereceived", lambda data: sizes.append(len(data)))

    for turn in range(rounds):
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.on("websocket", listen)
        page.goto(f"{url}/?{query}&wait=1&turn={turn}")
        page.locator("[data-testid=stCheckbox]").wait_for(timeout=120_000)
        page.wait_for_timeout(1500)
        held = server.reset()
        seen.first.append(timed(page, server, SHOW)[0])
        page.wait_for_timeout(1000)
        for ratio in RATIOS:
            seen.release.append(timed(page, server, DROP, ratio)[0])
            page.wait_for_timeout(300)
        took, weights = timed(page, server, ZOOM)
        seen.window.append(took)
        memory = max(seen.memory, server.memory("VmHWM") - held)
        seen = seen._replace(memory=memory, window_weights=weights)
        page.close()
    return seen._replace(message=max(sizes))


def case(shape: str, g: str, rounds: int) -> list[Row]:
    """First view and releases of one layer under one granularity."""
    with chromium() as browser, served() as (url, pid):
        seen = measured(browser, url, Server(pid), f"shape={shape}&g={g}", rounds)
    weights = 1
    for side in shape.split("x"):
        weights *= int(side)
    what = f"103M-weight layer, {g}"
    sizes: dict[str, float | int | str] = {"message_bytes": seen.message, "message_limit": MESSAGE}
    sizes |= {"bytes_per_weight": seen.memory / weights, "limit": BYTES_PER_WEIGHT}
    window: dict[str, float | int | str] = {
        "window_s": slowest(seen.window).wall,
        "window_weights": seen.window_weights,
    }
    return [
        row(
            f"{what}: first view", seen.first, FIRST, seen.memory, BYTES_PER_WEIGHT * weights, sizes
        ),
        row(f"{what}: release", seen.release, RELEASE, None, None, window),
    ]


def row(
    what: str,
    tries: list[Seconds],
    limit: float,
    memory: int | None,
    most: int | None,
    more: dict[str, Any],
) -> Row:
    """The slowest of the tries beside the limit."""
    usual = {"median_s": median(each.wall for each in tries), "tries": len(tries)}
    return Row(
        what, slowest(tries), Seconds(limit, limit), "the limit", 1, memory, most, usual | more
    )


def slowest(tries: list[Seconds]) -> Seconds:
    return max(tries, key=lambda each: each.wall)


def rows(rounds: int = 3) -> list[Row]:
    """The layer as it is usually cut."""
    return case(*CASES[0], rounds)


def main() -> None:
    """Prints rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", action="store_true")
    options = parser.parse_args()
    for found in rows(options.rounds):
        print(found, flush=True)
    for shape, g in CASES[1:] if options.every else []:
        for found in case(shape, g, 1):
            print(found, flush=True)


if __name__ == "__main__":
    main()
