"""Drag frames of the mask lab against go.Heatmap of the same array, in headless Chromium, in one run.

Lab: the slider is moved by script; from the input event until the frame is drawn (the task after the next animation frame).
Plotly: a Streamlit slider moved by one step, until the heatmap's picture has changed; and how long the page was blocked.
cpu: main-thread time alone, per frame or step: what stays the same on a machine that is busy with other things.
Run: python benchmarks/mask_lab_drag.py [--side 512] [--frames 200] [--show side]; prints one row.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, WebSocket, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
APP = "tests/browser/mask_lab_app.py"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-frame-rate-limit", "--disable-gpu-vsync"]
"""Frames as fast as they can be made: with the screen's 60 a second, waiting would be measured."""
DRAG = """async ([frames]) => {
  const hosts = [...document.querySelectorAll('*')].filter(each => each.shadowRoot?.querySelector('.lab'))
  const { lab } = hosts[0].shadowRoot.querySelector('.lab')
  const slider = lab.find('.slider input')
  const channel = new MessageChannel()
  const frame = () => new Promise(done => requestAnimationFrame(() => {
    channel.port1.onmessage = done
    channel.port2.postMessage(0)
  }))
  const painted = [], whole = [], drawn = new Set()
  const draw = lab.draw.bind(lab)
  lab.draw = () => { const start = performance.now(); draw(); painted.push(performance.now() - start) }
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
  while (globalThis.image() === globalThis.before && performance.now() - globalThis.start < 30000) await frame()
  const took = performance.now() - globalThis.start
  await new Promise(done => setTimeout(done, 500))
  return [took, globalThis.blocked.reduce((a, b) => a + b, 0)]
}"""


@contextmanager
def served(app: str = APP) -> Iterator[tuple[str, int]]:
    """A page, the harness if no other, on a free port: its address, and the server's process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", app, "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while not healthy(url):
            if server.poll() is not None:
                raise RuntimeError("the harness page did not start")
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
    """A session that reads the main thread's own time."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return session


def cpu(session: CDPSession) -> float:
    """Milliseconds that the main thread has worked so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(1000 * float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


def drag(browser: Browser, url: str, frames: int, show: str) -> dict[str, float]:
    """Milliseconds per frame of the lab, and messages to the server meanwhile."""
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
    before, session = len(sent), main_thread(page)
    start = cpu(session)
    found = page.evaluate(DRAG, [frames])
    worked, messages = (cpu(session) - start) / frames, len(sent) - before
    page.close()
    script, whole = found["painted"], found["whole"]
    return {
        "median": statistics.median(whole), "p95": sorted(whole)[int(0.95 * len(whole))], "script": statistics.median(script),
        "script_p95": sorted(script)[int(0.95 * len(script))], "cpu": worked, "frames": found["drawn"], "messages": messages,
    }  # fmt: skip


def steps(browser: Browser, url: str, count: int) -> dict[str, float]:
    """Milliseconds from a step of the Streamlit slider to the redrawn heatmap, and how long the page was blocked."""
    page = opened(browser, url, ".heatmaplayer image")
    page.get_by_role("slider").focus()
    found, session, start = [], main_thread(page), 0.0
    for n in range(count + 1):
        start = cpu(session) if n == 1 else start
        page.evaluate(ARM)
        page.keyboard.press("ArrowRight")
        found.append(page.evaluate(STEP))
    took, blocked = zip(*found[1:], strict=True)
    worked = (cpu(session) - start) / count
    page.close()
    return {"median": statistics.median(took), "blocked": statistics.median(blocked), "cpu": worked}


def main() -> None:
    """Prints one row of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--show", default="side", choices=["side", "weights", "scores", "mask"])
    options = parser.parse_args()
    query = f"shape={options.side}x{options.side}x1x1&g=fine"
    with served() as (url, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        lab = drag(browser, f"{url}/?{query}", options.frames, options.show)
        heatmap = steps(browser, f"{url}/?{query}&plotly=1", options.steps)
        browser.close()
    if lab["messages"]:
        raise SystemExit(f"{lab['messages']:.0f} messages went to the server during the drag; there must be none.")
    row: dict[str, object] = {"cells": options.side**2, "show": options.show}
    row |= {f"lab_{name}": round(value, 2) for name, value in lab.items()}
    row |= {f"heatmap_{name}": round(value, 1) for name, value in heatmap.items()}
    row["times_faster"] = round(heatmap["median"] / lab["median"], 1)
    row["times_less_cpu"] = round(heatmap["cpu"] / lab["cpu"], 1)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
