"""The side bar shows this browser's runs of other pages: how far they are, and their end."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.session import cache
from explorer.training.elsewhere import PAGE_OF
from tests.test_architecture import EXPLORER

APP = Path(__file__).resolve().parents[3] / "explorer" / "script" / "visit.py"
OWNER = "test session id"
KIND = re.compile(r'^(?:KIND|JOB) = "([^"]+)"', re.MULTILINE)


def test_every_kind_of_run_has_a_page() -> None:
    sources = [path.read_text() for path in EXPLORER if "pages" in path.parts]
    kinds = {kind for source in sources for kind in KIND.findall(source)}
    assert kinds <= set(PAGE_OF)
    assert {Path(page).name for page in PAGE_OF.values()} <= {
        path.parent.name for path in EXPLORER if path.name == "page.py"
    }


@pytest.fixture
def no_jobs() -> Iterator[None]:
    yield
    cache.jobs().close()
    cache.jobs.cache_clear()


@pytest.mark.usefixtures("no_jobs")
def test_a_run_of_another_page_is_shown_until_its_page_is_opened() -> None:
    go_on = threading.Event()

    def events() -> Iterator[object]:
        yield "started"
        assert go_on.wait(60)

    job = cache.jobs().start(OWNER, "study", "Study of *two* criteria", events)
    at = AppTest.from_file(str(APP), default_timeout=60).run()
    words = [entry.value for entry in at.sidebar.caption]
    assert any(r"Study of \*two\* criteria · running for" in entry for entry in words)
    assert {"Open Methods", "Stop"} <= {button.label for button in at.sidebar.button}
    go_on.set()
    while job.active:
        threading.Event().wait(0.01)
    at.run()
    assert any("criteria · finished" in entry.value for entry in at.sidebar.caption)
    assert "Stop" not in {button.label for button in at.sidebar.button}
    next(button for button in at.sidebar.button if button.label == "Open Methods").click().run()
    assert not at.exception
    assert not any("Study of" in entry.value for entry in at.sidebar.caption)
