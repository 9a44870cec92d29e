"""What a user opened is open again after another page; what he closed stays closed."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

import explorer
from explorer.session import cache
from tests.explorer.driven import run, unfolded
from tests.explorer.visits import SCRIPT

OWN = {"foldable.py", "upload_dialog.py", "upload_form.py"}
"""The helper itself, and a dialog, which is closed as a whole."""


def two_parts() -> None:
    """Two foldable parts on each of two pages: one closed at first, one open."""
    import streamlit as st

    from explorer.session.foldable import foldable

    def draw() -> None:
        shown = foldable("first", "one", ":material/info:")
        other = foldable("second", "two", ":material/info:", opened=True)
        st.text(f"{shown.open} {other.open}")

    def first() -> None:
        draw()

    def bare() -> None:
        st.text("nothing")

    pages = [st.Page(first, url_path="first", default=True), st.Page(bare, url_path="bare")]
    st.navigation(pages).run()


def show(at: AppTest, path: str) -> AppTest:
    pages = at._registered_pages.items()
    at._page_hash = next(key for key, page in pages if page["url_pathname"] == path)
    return run(at)


def test_a_part_stays_as_the_user_left_it() -> None:
    at = run(AppTest.from_function(two_parts, default_timeout=60))
    assert at.text[0].value == "False True"
    at.session_state["one"] = True
    at.session_state["two"] = False
    assert run(at).text[0].value == "True False"
    assert show(at, "bare").text[0].value == "nothing"
    assert show(at, "").text[0].value == "True False"


def opened(at: AppTest) -> dict[str, bool]:
    """Label -> is it open? of every part of the page and of the side bar."""
    return {each.label: each.proto.expanded for each in at.expander}


def test_the_parts_of_explore_and_of_the_side_bar_stay_open() -> None:
    at = AppTest.from_file(str(SCRIPT), default_timeout=60)
    at.query_params["model"] = "lenet5"
    at.query_params["probe"] = "16"
    unfolded(run(at), "how_far", "guide", "fixed_parameters", "own_lesson_form", "more_settings")
    before = opened(at)
    assert len(before) == 5
    assert all(before.values()), before
    assert opened(show(at, "learn")) != before
    assert opened(show(at, "")) == before
    cache.jobs().close()
    cache.jobs.cache_clear()


def test_no_page_has_a_part_of_another_kind() -> None:
    folder = Path(explorer.__file__).parent
    others = [
        str(file.relative_to(folder))
        for file in folder.rglob("*.py")
        if ".expander(" in file.read_text(encoding="utf-8")
        and file.name not in OWN
        and "learn" not in file.parts
    ]
    assert not others, "use explorer.session.foldable"
