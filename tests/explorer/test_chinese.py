"""The app in Chinese: no page shows English, in any of its states."""

from collections.abc import Iterator

import pytest

from explorer.session import cache, page_language
from explorer.texts import translate
from tests.explorer.shown import english, shown
from tests.explorer.visits import VISITS


@pytest.fixture(scope="module", autouse=True)
def _chinese(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Also outside of a page's run, where AppTest formats options."""
    folder = tmp_path_factory.mktemp("chinese")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNING_EXPLORER_HISTORY", str(folder / "history"))
        patch.setenv("PRUNING_EXPLORER_DATA", str(folder))
        translate.follow(page_language.language)  # its module, imported later, would set this
        patch.setattr(translate, "_current", [lambda: "zh"])
        yield
        cache.jobs().close()
        cache.jobs.cache_clear()


@pytest.mark.parametrize("name", VISITS)
def test_a_page_shows_no_english(name: str) -> None:
    found = {
        f"{where}: {words}": state
        for state, at in VISITS[name]("zh")
        for where, text in shown(at)
        for words in english(text)
    }
    assert not found
