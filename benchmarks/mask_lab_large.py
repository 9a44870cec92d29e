"""A layer of 103 million weights in the mask lab, in headless Chromium, against fixed limits.

Run: python -m benchmarks.mask_lab_large [--rounds 3] [--every]. --every: all granularities, one
round each. The figures are those of the slowest try. cpu: of the server.
First view: from the click that selects the layer (weights and float32 scores exist) until the lab
has drawn it; Python, message and drawing included.
Release: from the end of a drag until the page shows Python's count of removed weights and the lab
shows the same.
Window: from the end of zooming until every visible weight is drawn.
Memory: the server's peak of resident memory above that before the click.
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
"""VGG-16's first fully connected layer; for vectors and kernels, a convolution of equal size."""
FIRST = 3.0
RELEASE = 0.5
MESSAGE = 2**20
BYTES_PER_WEIGHT = 6
RATIOS = (0.3, 0.62, 0.9, 0.15, 0.5)
FIND = """const all = () => [...document.querySelectorAll('*')]
const lab = () => all().find(each => each.shadowRoot?.querySelector('.lab'))
  ?.shadowRoot.querySelector('.lab').lab
const frame = () => new Promise(requestAnimationFrame)
const until = async (done, limit = 60000) => {
  const start = performance.now()
  while (!done()) {
    if (performance.now() - start > limit) throw new Error('not finished in time')
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
  const texts = () => [...document.querySelectorAll('[data-testid=stText]')]
  const said = () => texts().map(each => each.textContent).join()
  const start = performance.now()
  input.dispatchEvent(new Event('change'))
  const removed = () => shown.mask.counts().weights.toLocaleString('en-US')
  const gone = () => `Python counts ${{removed()}} weights`
  await until(() => shown.pending === null && !shown.held && said().includes(gone()))
  return [performance.now() - start, shown.mask.counts().weights]
}}"""
ZOOM = f"""async () => {{
  {FIND}
  const shown = lab()
  shown.zoom(3 * Math.max(...shown.mask.unit) / Math.min(shown.stage.view.sx, shown.stage.view.sy))
  const ms = await until(() => shown.stage.near && !shown.asked)
  return [ms, shown.stage.near.rows * shown.stage.near.cols]
}}"""


class Server(NamedTuple):
    """Processor time and memory of a process, as Linux reports them."""

    pid: int

    def cpu(self) -> float:
        """Seconds of processor time of all its threads."""
        fields = (
            Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        )
        return (int(fields[11]) + int(fields[12])) / 100

    def memory(self, key: str) -> int:
        """VmRSS or VmHWM, in bytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024

    def reset(self) -> int:
        """Resets the peak; returns the resident memory now, in bytes."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")
        return self.memory("VmRSS")


class Measured(NamedTuple):
    """Clock time and the server's processor time of every try; sizes in bytes."""

    first: list[Seconds]
    release: list[Seconds]
    window: list[Seconds]
    message: int
    memory: int
    window_weights: int


def timed(page: Page, server: Server, script: str, argument: object = None) -> tuple[Seconds, Any]:
    """Runs a script that returns milliseconds, or a list that starts with them."""
    before = server.cpu()
    answer = page.evaluate(script, argument)
    wall, rest = (answer[0], answer[1]) if isinstance(answer, list) else (answer, None)
    return Seconds(wall / 1000, server.cpu() - before), rest


def measured(browser: Browser, url: str, server: Server, query: str, rounds: int) -> Measured:
    """Measures one layer. Every round opens a new page."""
    seen = Measured([], [], [], 0, 0, 0)
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
    """First view and releases of one layer at one granularity."""
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
    """The slowest try against the limit."""
    usual = {"median_s": median(seconds.wall for seconds in tries), "tries": len(tries)}
    return Row(
        what, slowest(tries), Seconds(limit, limit), "the limit", 1, memory, most, usual | more
    )


def slowest(tries: list[Seconds]) -> Seconds:
    return max(tries, key=lambda seconds: seconds.wall)


def rows(rounds: int = 3) -> list[Row]:
    """The fully connected layer with single weights as groups."""
    return case(*CASES[0], rounds)


def main() -> None:
    """Prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", action="store_true")
    options = parser.parse_args()
    for made in rows(options.rounds):
        print(made, flush=True)
    for shape, g in CASES[1:] if options.every else []:
        for made in case(shape, g, 1):
            print(made, flush=True)


if __name__ == "__main__":
    main()
