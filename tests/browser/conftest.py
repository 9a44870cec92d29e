"""The real app in a real Chromium: a server on a free port, pages, and what the console complained
about.

One browser profile serves all pages of a test process, so that the app's JavaScript is fetched and
compiled once; its cookies are forgotten between tests. A second one (`another=True`) is another
person's browser. One server shows the app to all of them, with a data folder of its own and a
network of somebody else. All is closed after the last test of the folder: until then, an event loop
of Playwright runs in the main thread.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from benchmarks.mask_lab_drag import FEATURES, executable
from benchmarks.timing import Unmeasured
from pruning_core.subjects import VARIABLE as SUBJECTS
from pruning_core.zoo.request import VARIABLE as DATA
from tests.browser.lab_page import CHANGE_ADDRESS, Lab, Wire
from tests.third_party import write_package

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / ".shots"
SHOTS_ASKED_FOR = os.environ.get("PRUNING_EXPLORER_SHOTS") == "1"
REQUIRED = os.environ.get("PRUNING_EXPLORER_REQUIRE_BROWSER") == "1"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # The last two are pages of Chromium's own window, which nobody sees: 1 second of each start.
    f"--disable-features={FEATURES},WebUIOmniboxPopup,WebUIOmniboxAimPopup",
    # A page lives for seconds: to optimise its code well takes more time than it saves.
    "--js-flags=--no-opt",
]
# Transitions are drawn 60 times per second, also while a page waits for the server.
MOTION: Literal["reduce"] = "reduce"
START_SECONDS = 240
SETTLE_SECONDS = 240
# Milliseconds that a busy machine may take: for what the page does at once, and for what waits for
# a scan or a training.
USUAL = 120_000
LONG = 240_000
OpenPage = Callable[..., Page]
OpenMap = Callable[[str], Page]


def chromium() -> str:
    """Path of the system's Chromium; without one the tests are skipped, or fail where a browser is
    required.
    """
    try:
        return executable()
    except Unmeasured:
        refuse = pytest.fail if REQUIRED else pytest.skip
        refuse(
            "No Chromium on this machine: "
            "install one (apt-get install chromium) to run the browser tests."
        )


FINISHED = (
    "[data-testid=stApp][data-test-connection-state=CONNECTED][data-test-script-state=notRunning]"
)


def settled(page: Page, timeout: float = SETTLE_SECONDS) -> Page:
    """Waits until the app is connected and its script has finished. The short pause lets an action
    reach the server first, as Streamlit's own end-to-end tests do.
    """
    page.wait_for_timeout(210)
    return finished(page, timeout)


def finished(page: Page, timeout: float = SETTLE_SECONDS) -> Page:
    """As `settled`, where something of the server's answer is shown already."""
    # Not by `expect`: until it is true, it describes the whole page at each try.
    page.locator(FINISHED).wait_for(state="attached", timeout=timeout * 1000)
    return page


def shot(page: Page, name: str) -> None:
    """A full-page screenshot in the git-ignored `.shots/`, if PRUNING_EXPLORER_SHOTS=1 is set."""
    if SHOTS_ASKED_FOR:
        SHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


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
            output = log.read_text(errors="replace")[-2000:]
            pytest.fail(f"The app did not start; its output ends with:\n{output}")
        time.sleep(0.05)


@pytest.fixture(scope="package")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """The browser profile that all pages share."""
    executable = chromium()
    folder = tmp_path_factory.mktemp("profile")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder, executable_path=executable, args=FLAGS, reduced_motion=MOTION
        )
        context.set_default_timeout(USUAL)
        expect.set_options(timeout=USUAL)
        yield context
        context.close()


@pytest.fixture(scope="package")
def browser(profile: BrowserContext) -> Browser:
    """The same Chromium, for contexts that share nothing with the profile."""
    assert profile.browser
    return profile.browser


@contextmanager
def served(script: str, log: Path, **environment: str) -> Iterator[str]:
    """Address of a script of this repository, run by Streamlit on a free port, and killed when the
    context ends.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-m", "streamlit", "run", script, "--server.port", port)
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_healthy(url, server, log)
        yield url
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="package")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the app keeps uploads and runs."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="package")
def third_party(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of `write_package`, whose networks the app offers."""
    return write_package(tmp_path_factory.mktemp("third"), "browser_package", every=True)


@pytest.fixture(scope="package")
def app_url(
    browser: Browser,
    data_folder: Path,
    third_party: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """Address of the real app, which also offers the networks of `write_package`. A skipped run
    starts no server, as `browser` comes first.
    """
    folder = tmp_path_factory.mktemp("server")
    environment = {DATA: str(data_folder), SUBJECTS: str(third_party)}
    with served("app.py", folder / "server.log", **environment) as url:
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


def dressed(page: Page, theme: str, width: int, height: int = 1000) -> Page:
    """The page in that light, in a window of that size."""
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    return page


@pytest.fixture(scope="package")
def other_profile(browser: Browser) -> Iterator[BrowserContext]:
    """Another person's browser."""
    context = browser.new_context(reduced_motion=MOTION)
    yield context
    context.close()


@pytest.fixture
def open_page(
    profile: BrowserContext, other_profile: BrowserContext, app_url: str, console: Console
) -> Iterator[OpenPage]:
    """`open_page(path="", another=False, width=1440)`: the app on a new page, settled; another: in
    another person's browser.

    The cookies of a browser are forgotten before its first page of the test, whose load sets new
    ones: without any, the page of `keep_page` could upload no file.
    """
    pages: list[Page] = []

    def open_(path: str = "", another: bool = False, width: int = 1440) -> Page:
        context = other_profile if another else profile
        if all(page.context != context for page in pages):
            context.clear_cookies()
        page = context.new_page()
        pages.append(page)
        return loaded(page, app_url, path, console, width)

    yield open_
    for page in pages:
        page.close()


def loaded(page: Page, url: str, path: str, console: Console, width: int = 1440) -> Page:
    page.set_default_timeout(USUAL)
    console.listen(page)
    dressed(page, "light", width)
    page.goto(f"{url}/{path.lstrip('/')}")
    return finished(page)


@pytest.fixture(scope="package")
def kept_pages() -> Iterator[list[Page]]:
    """The page that tests hand on to the next test: none or one."""
    pages: list[Page] = []
    yield pages
    for page in pages:
        page.close()


@pytest.fixture
def keep_page(
    profile: BrowserContext,
    app_url: str,
    console: Console,
    kept_pages: list[Page],
    request: pytest.FixtureRequest,
) -> OpenPage:
    """`keep_page("?model=lenet5")`: the app at that address, on the page that the last test left,
    because a load takes 4 seconds. On a new page for the first test, and after a failure.
    """

    def open_(path: str) -> Page:
        if kept_pages and request.session.testsfailed:
            kept_pages.pop().close()
        if not kept_pages:
            kept_pages.append(profile.new_page())
            return loaded(kept_pages[0], app_url, path, console)
        console.listen(kept_pages[0])
        return change_address(dressed(kept_pages[0], "light", 1440), f"/{path.lstrip('/')}")

    return open_


DRAWN = {"mask_lab": ".lab[data-drawn]", "net_map": ".net-map[data-drawn]"}
"""A component -> what is there once it is drawn."""


class Parts:
    """One page for all components, each alone on it. Every visit has a number of its own, by which
    the script starts from nothing; only the first visit loads the page.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.visits = 0
        self.console = Console()
        self.wire = Wire()
        self.console.listen(page)
        self.wire.listen(page)

    def visit(self, part: str, query: str, theme: str, width: int, height: int) -> Page:
        """The component as the query describes it, drawn and settled."""
        self.visits += 1
        dressed(self.page, theme, width, height)
        if self.visits == 1:
            self.page.goto(f"{self.url}/?part={part}&{query}&visit=1")
        else:
            self.page.mouse.up()
            self.page.mouse.move(0, 0)
            self._show(f"part={part}&blank=1", "blank")
            self.wire.forget()
            self._show(f"part={part}&{query}", "visit")
        finished(self.page)
        self.page.locator(DRAWN[part]).wait_for()
        return self.page

    def _show(self, query: str, word: str) -> None:
        """Changes the address, and waits for the script's last word."""
        self.page.evaluate(CHANGE_ADDRESS, f"{self.url}/?{query}&visit={self.visits}")
        self.page.get_by_text(f"{word} {self.visits}", exact=True).wait_for()


def change_address(page: Page, address: str) -> Page:
    """Another address without loading the page, as Back and Forward change it: Streamlit runs the
    script for it. Settled.
    """
    page.evaluate(CHANGE_ADDRESS, address)
    return settled(page)


@pytest.fixture(scope="package")
def parts_url(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the components, each alone on a page."""
    with served("tests/browser/parts_app.py", tmp_path_factory.mktemp("parts") / "log") as url:
        yield url


@pytest.fixture(scope="package")
def parts(profile: BrowserContext, parts_url: str) -> Iterator[Parts]:
    page = profile.new_page()
    yield Parts(page, parts_url)
    page.close()


@pytest.fixture
def lab(parts: Parts) -> Iterator[Lab]:
    """`lab("shape=8x4x3x3&g=kernel", theme, width)`: the lab alone on a page; its console must stay
    clean.
    """

    def open_(query: str, theme: str = "light", width: int = 1280) -> tuple[Page, Wire]:
        return parts.visit("mask_lab", query, theme, width, 1000), parts.wire

    parts.console.clear()
    yield open_
    assert not parts.console


@pytest.fixture
def open_map(parts: Parts) -> Iterator[OpenMap]:
    """`open_map("model=resnet50")`: the map alone on a page; its console must stay clean."""

    def open_(query: str) -> Page:
        return parts.visit("net_map", query, "light", 1280, 900)

    parts.console.clear()
    yield open_
    assert not parts.console
