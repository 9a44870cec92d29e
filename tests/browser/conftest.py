"""The real app in a real Chromium: a server on a free port, a page per test, and what the console complained about."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / ".shots"
REQUIRED = os.environ.get("PRUNING_EXPLORER_REQUIRE_BROWSER") == "1"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
START_SECONDS = 120
SETTLE_SECONDS = 120


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is a browser test, and runs last: Playwright leaves an event loop running in the main thread."""

    def here(item: pytest.Item) -> bool:
        return Path(__file__).parent in item.path.parents

    for item in filter(here, items):
        item.add_marker(pytest.mark.browser)
    items.sort(key=here)


def chromium() -> str:
    """Path of the system's Chromium; without one the tests are skipped, or fail where a browser is required."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        refuse = pytest.fail if REQUIRED else pytest.skip
        refuse("No Chromium on this machine: install one (apt-get install chromium) to run the browser tests.")
    return found


def settled(page: Page, timeout: float = SETTLE_SECONDS) -> Page:
    """Wait until the app is connected and its script has come to rest.

    The short pause lets an action reach the server first, as Streamlit's own end-to-end tests do.
    """
    page.wait_for_timeout(210)
    app = page.locator("[data-testid=stApp]")
    expect(app).to_have_attribute("data-test-connection-state", "CONNECTED", timeout=timeout * 1000)
    expect(app).to_have_attribute("data-test-script-state", re.compile("^notRunning$"), timeout=timeout * 1000)
    return page


def shot(page: Page, name: str) -> Path:
    """A full-page screenshot in the git-ignored `.shots/`."""
    SHOTS.mkdir(exist_ok=True)
    path = SHOTS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:
            return answer.read() == b"ok"
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not healthy(url):
        if server.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"The app did not start; its output ends with:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.2)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = chromium()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield running
        running.close()


@contextmanager
def served(script: str, log: Path) -> Iterator[str]:
    """Address of a script of this repository, run by Streamlit on a free port until the context ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.port", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until_healthy(url, server, log)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture(scope="session")
def app_url(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the real app; it depends on `browser` so that a skipped run starts no server."""
    with served("app.py", tmp_path_factory.mktemp("server") / "server.log") as url:
        yield url


class Console(list[str]):
    """Errors of the pages, as they came."""

    def listen(self, page: Page) -> None:
        page.on("console", self._message)
        page.on("pageerror", lambda error: self.append(str(error)))

    def _message(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.append(message.text)


@pytest.fixture
def console() -> Console:
    return Console()


@pytest.fixture
def open_page(browser: Browser, app_url: str, console: Console) -> Iterator[Callable[..., Page]]:
    """`open_page(path="", theme="light", width=1440)`: the app in a browser context (a session) of its own, settled."""
    contexts = []

    def open_(path: str = "", theme: str = "light", width: int = 1440, height: int = 1000) -> Page:
        context = browser.new_context(
            color_scheme="dark" if theme == "dark" else "light",
            viewport={"width": width, "height": height},
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        console.listen(page)
        page.goto(f"{app_url}/{path.lstrip('/')}")
        return settled(page)

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()
