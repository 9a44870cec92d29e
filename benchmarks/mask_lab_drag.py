"""Drag frames of the mask lab against go.Heatmap of the same array, in headless Chromium.

Run: python -m benchmarks.mask_lab_drag [--rounds 3] [--side 512] [--frames 200] [--steps 5]
[--show side]. The two run in turn.
Mask lab: a script moves the slider. A frame lasts from the input event until it is drawn (the task
after the next animation frame). Plotly: a Streamlit slider moves by one step, until the heatmap's
picture has changed; also how long the page was blocked. cpu: processor time of the page's main
thread per frame or step, without the server; other programs disturb it less. A message to the
server during a drag is an error.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, WebSocket, sync_playwright

from benchmarks.timing import Row, Seconds, Unmeasured

ROOT = Path(__file__).resolve().parents[1]
APP = "tests/browser/mask_lab_app.py"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
FEATURES = "HttpsFirstBalancedModeAutoEnable,HttpsUpgrades,MediaRouter,PaintHolding"
"""Features of Chromium that are off in a browser with a profile, in place of Playwright's list:
while ThirdPartyStoragePartitioning is in it, Chromium does not use the code that it compiled at an
earlier load, and compiles Streamlit and Plotly again."""
UNLIMITED = (*FLAGS, "--disable-frame-rate-limit", "--disable-gpu-vsync")
"""Without the limit of 60 frames a second, which would be measured else."""
DRAG = """async ([frames]) => {
  const all = [...document.querySelectorAll('*')]
  const host = all.find(each => each.shadowRoot?.querySelector('.lab'))
  const { lab } = host.shadowRoot.querySelector('.lab')
  const slider = lab.find('.slider input')
  const channel = new MessageChannel()
  const frame = () => new Promise(done => requestAnimationFrame(() => {
    channel.port1.onmessage = done
    channel.port2.postMessage(0)
  }))
  const painted = [], whole = [], drawn = new Set()
  const draw = lab.draw.bind(lab)
  lab.draw = () => {
    const start = performance.now()
    draw()
    painted.push(performance.now() - start)
  }
  await frame()
  for (let n = 0; n < frames; n++) {
    slider.value = String(Math.round(1000 * (0.05 + 0.9 * n / frames)))
    const start = performance.now()
    slider.dispatchEvent(new Event('input'))
    await frame()
    whole.push(performance.now() - start)
    drawn.add(lab.root.dataset.drawn)
  }
  lab.draw = draw
  return { painted, whole, drawn: drawn.size }
}"""
WATCH = """() => {
  globalThis.blocked = []
  const note = list => list.getEntries().forEach(each => globalThis.blocked.push(each.duration))
  new PerformanceObserver(note).observe({ type: 'longtask' })
  globalThis.image = () => {
    const found = document.querySelector('.heatmaplayer image')
    return found?.getAttribute('href') ?? found?.getAttribute('xlink:href')
  }
  addEventListener('keydown', () => (globalThis.start = performance.now()), { capture: true })
}"""
ARM = "() => { globalThis.before = globalThis.image(); globalThis.blocked.length = 0 }"
STEP = """async () => {
  const frame = () => new Promise(requestAnimationFrame)
  const waited = () => performance.now() - globalThis.start
  while (globalThis.image() === globalThis.before && waited() < 30000) await frame()
  const took = performance.now() - globalThis.start
  await new Promise(done => setTimeout(done, 500))
  return [took, globalThis.blocked.reduce((a, b) => a + b, 0)]
}"""


@contextmanager
def chromium(flags: Sequence[str] = FLAGS) -> Iterator[Browser]:
    """A headless Chromium. Raises Unmeasured where none is installed."""
    path = executable()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*flags])
        yield browser
        browser.close()


def executable() -> str:
    """Path of Chromium. Raises Unmeasured where none is installed."""
    path = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if path is None:
        raise Unmeasured(
            "It needs Chromium, and there is none on this machine: "
            "install one (apt-get install chromium)."
        )
    return path


@contextmanager
def served(app: str = APP, folder: Path = ROOT) -> Iterator[tuple[str, int]]:
    """Serves a page on a free port; yields its address and the server's process id.

    folder: the checkout whose app is served. Python keeps compiled files, as with `make run`.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", app, "--server.port", str(port)]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    server = subprocess.Popen(
        command, cwd=folder, env=kept, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while not healthy(url):
            if server.poll() is not None:
                raise RuntimeError("the page did not start")
            time.sleep(0.2)
        yield url, server.pid
    finally:
        server.terminate()
        server.wait(20)


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:
            return answer.read() == b"ok"
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def opened(browser: Browser, url: str, ready: str) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.add_init_script(f"({WATCH})()")
    page.goto(url)
    page.locator(ready).first.wait_for(timeout=120_000)
    page.wait_for_timeout(1500)
    return page


def main_thread(page: Page) -> CDPSession:
    """A session that reads the processor time of the main thread."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return session


def cpu(session: CDPSession) -> float:
    """Milliseconds of processor time of the main thread so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(
        1000 * float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration"
    )


def drag(browser: Browser, url: str, frames: int, show: str) -> dict[str, float]:
    """Milliseconds per frame of the lab, and the number of messages to the server."""
    sent = []

    def listen(wire: WebSocket) -> None:
        wire.on("framesent", lambda _: sent.append(1))

    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.on("websocket", listen)
    page.goto(url)
    page.locator(".lab[data-drawn]").wait_for(timeout=120_000)
    page.locator(f".lab [value={show}]").check(force=True)
    page.wait_for_timeout(1500)
    page.evaluate(DRAG, [20])
    before = len(sent)
    session = main_thread(page)
    start = cpu(session)
    drag_times = page.evaluate(DRAG, [frames])
    worked = (cpu(session) - start) / frames
    messages = len(sent) - before
    page.close()
    script = drag_times["painted"]
    whole = drag_times["whole"]
    return {
        "median": statistics.median(whole),
        "p95": sorted(whole)[int(0.95 * len(whole))],
        "script": statistics.median(script),
        "script_p95": sorted(script)[int(0.95 * len(script))],
        "cpu": worked,
        "frames": drag_times["drawn"],
        "messages": messages,
    }


def steps(browser: Browser, url: str, count: int) -> dict[str, float]:
    """Milliseconds from a step of the Streamlit slider to the redrawn heatmap, and blocked time."""
    page = opened(browser, url, ".heatmaplayer image")
    page.get_by_role("slider").focus()
    answers = []
    session = main_thread(page)
    start = 0.0
    for n in range(count + 1):
        start = cpu(session) if n == 1 else start
        page.evaluate(ARM)
        page.keyboard.press("ArrowRight")
        answers.append(page.evaluate(STEP))
    took, blocked = zip(*answers[1:], strict=True)
    worked = (cpu(session) - start) / count
    page.close()
    return {"median": statistics.median(took), "blocked": statistics.median(blocked), "cpu": worked}


def rows(
    rounds: int = 3, side: int = 512, frames: int = 200, count: int = 5, show: str = "side"
) -> list[Row]:
    """One row: medians over the rounds. A round is a drag and `count` steps, on new pages."""
    query = f"shape={side}x{side}x1x1&g=fine"
    labs = []
    heatmaps = []
    with chromium(UNLIMITED) as browser, served() as (url, _):
        for _ in range(rounds):
            labs.append(drag(browser, f"{url}/?{query}", frames, show))
            heatmaps.append(steps(browser, f"{url}/?{query}&plotly=1", count))
    if sent := sum(lab["messages"] for lab in labs):
        raise RuntimeError(
            f"{sent:.0f} messages went to the server during the drag; there must be none."
        )
    more: dict[str, float | int | str] = {
        "show": show,
        "frames": int(min(lab["frames"] for lab in labs)),
        "messages": 0,
        "p95_ms": max(lab["p95"] for lab in labs),
        "script_ms": middle(labs, "script"),
        "heatmap_blocked_ms": middle(heatmaps, "blocked"),
        "rounds": rounds,
    }
    ours, peer = (
        Seconds(middle(runs, "median") / 1000, middle(runs, "cpu") / 1000)
        for runs in (labs, heatmaps)
    )
    return [
        Row(
            f"frame of a drag, {side} x {side} weights",
            ours,
            peer,
            "Streamlit slider, go.Heatmap",
            40,
            more=more,
        )
    ]


def middle(runs: Sequence[dict[str, float]], name: str) -> float:
    """The median of one figure over the runs."""
    return statistics.median(run[name] for run in runs)


def main() -> None:
    """Prints the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--show", default="side", choices=["side", "weights", "scores", "mask"])
    options = parser.parse_args()
    try:
        print(*rows(options.rounds, options.side, options.frames, options.steps, options.show))
    except Unmeasured as why:
        raise SystemExit(str(why)) from why


if __name__ == "__main__":
    main()
