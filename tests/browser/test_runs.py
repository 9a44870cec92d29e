"""Runs in the background: stopped, found after a reload, continued after a restart of the app."""

import time
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.app_page import go, no_traceback
from tests.browser.conftest import LONG, Console, OpenPage, Serve, settled

ENDLESS = "model=vgg&fine_tune=epochs~200"
# Random, magnitude and Wanda, at two compressions: 6 runs of a fraction of a second each.
STUDY = "methods?model=lenet5&study=seeds~1~criteria~wanda~compressions~2%2C8&fine_tune=epochs~2"
RUNS = 6


def button(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{key}").get_by_role("button")


def started(page: Page) -> Locator:
    """Starts a fine-tuning run and returns its stop button."""
    button(page, "tune_start").click()
    button(page, "tune_stop").wait_for(timeout=LONG)
    return button(page, "tune_stop")


def test_a_run_goes_on_until_its_browser_stops_it(open_page: OpenPage, console: Console) -> None:
    """While other widgets are used, after a reload and in a new tab; another browser has no run."""
    page = open_page(f"?{ENDLESS}")
    go(page, "Fine-tune & compare")
    stop = started(page)
    page.locator(".st-key-sparsity").get_by_role("slider").press("ArrowRight")
    go(page, "Explore")
    go(page, "Fine-tune & compare")
    stop.wait_for()
    no_traceback(page, console)
    page.reload()
    stop.wait_for(timeout=LONG)
    reopened = page.context.new_page()
    reopened.goto(page.url)
    page.close()
    stop = button(reopened, "tune_stop")
    stop.wait_for(timeout=LONG)
    other = open_page("finetune?" + reopened.url.partition("?")[2], another=True)
    other.get_by_text("No run yet").wait_for(timeout=LONG)
    console.listen(reopened)
    console.clear()  # Streamlit asks for its files below a page's address first
    stop.click()
    reopened.get_by_text("The run was stopped").wait_for(timeout=LONG)
    other.get_by_text("No run yet").wait_for()
    no_traceback(reopened, console)
    no_traceback(other, console)
    reopened.close()


def measured(folder: Path) -> dict[Path, int]:
    """The finished runs on disk, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in (folder / "studies").glob("*/*-*.json")}


def press(page: Page, url: str, name: str) -> None:
    page.goto(f"{url}/{STUDY}")
    settled(page).get_by_role("button", name=name, exact=True).click()


def test_a_study_survives_a_restart_of_the_app(
    profile: BrowserContext, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))
    page = profile.new_page()
    with serve("app.py", tmp_path / "first.log") as url:
        press(page, url, "Start")
        deadline = time.monotonic() + LONG / 1000
        while not measured(tmp_path):
            assert time.monotonic() < deadline, "no run was ever finished"
            page.wait_for_timeout(20)
    before = measured(tmp_path)
    assert 0 < len(before) < RUNS
    with serve("app.py", tmp_path / "second.log", int(url.rpartition(":")[2])) as url:
        press(page, url, "Continue")
        page.get_by_text(f"{RUNS} runs, all measured.").wait_for(timeout=LONG)
        settled(page)
        expect(page.get_by_test_id("stPlotlyChart")).to_have_count(1)
    page.close()
    after = measured(tmp_path)
    assert len(after) == RUNS
    assert {path: after[path] for path in before} == before
