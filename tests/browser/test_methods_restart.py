"""The app ends in the middle of a study: started again, it finds what was measured and goes on."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import served, settled

ADDRESS = "methods?model=lenet5&study=seeds~20~criteria~wanda~compressions~2%2C8&fine_tune=epochs~2"
LONG = 180_000


def start(page: Page, url: str, button: str) -> None:
    page.goto(f"{url}/{ADDRESS}")
    settled(page)
    page.get_by_role("button", name=button, exact=True).click()


def test_a_study_survives_a_restart_of_the_app(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))
    with browser.new_context() as context:
        page = context.new_page()
        with served("app.py", tmp_path / "first.log") as url:
            start(page, url, "Start")
            expect(page.get_by_text("of 120 runs are measured")).to_be_visible(timeout=LONG)
        measured = sorted((tmp_path / "studies").glob("*/*-*.json"))
        times = [path.stat().st_mtime_ns for path in measured]
        assert 0 < len(measured) < 120
        with served("app.py", tmp_path / "second.log") as url:
            start(page, url, "Go on")
            expect(page.get_by_text("120 runs, all measured.")).to_be_visible(timeout=LONG)
            settled(page)
            expect(page.get_by_test_id("stPlotlyChart")).to_have_count(2)
        assert [path.stat().st_mtime_ns for path in measured] == times
        assert len(list((tmp_path / "studies").glob("*/*-*.json"))) == 120
