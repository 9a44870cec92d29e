"""The page Learn: every lesson in both languages, and links to the real pages."""

import re
from typing import Any
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

from explorer.pages.learn.lessons import LESSONS
from explorer.session.url import PARAMS, read
from explorer.texts.lessons import LANGUAGES, Words, text
from tests.cases import check_each
from tests.explorer import driven

OWN_KEYS = {"closer", "filter"}
"""Parameters of pages that are not fields of a plan."""


def learn() -> None:
    """The page inside the app's navigation."""
    import streamlit as st

    from explorer.app import LEARN, PAGES
    from explorer.pages.learn import page

    def empty() -> None:
        st.empty()

    pages = {path: st.Page(empty, title=title, url_path=path) for _, title, _, path in PAGES}
    pages[LEARN] = st.Page(lambda: page.render(pages), url_path=LEARN, default=True)
    st.navigation(list(pages.values()), position="top").run()


def opened(**address: str) -> AppTest:
    return driven.opened(learn, address)


def htmls(at: AppTest) -> list[str]:
    elements: list[Any] = list(at.get("html"))
    return [element.value for element in elements]


def figures(at: AppTest) -> int:
    return len(at.get("plotly_chart")) + sum("<div" in html for html in htmls(at))


def test_every_lesson_in_both_languages() -> None:
    at = opened(lang="en")

    def check(name: str, language: str) -> None:
        at.query_params["lesson"] = name
        at.query_params["lang"] = language
        driven.run(at)
        own = Words(language, name)
        assert any(own("title") in header.value for header in at.header)
        assert figures(at) == 1
        (slider,) = at.select_slider
        assert slider.label == own("drag")
        slider.set_value(LESSONS[name].positions[0 if language == "en" else -1])
        at.radio[0].set_value(1)
        driven.run(at)
        words = re.sub(r"\$\$.*?\$\$", "", driven.text(at))
        assert not re.search(r"\{\w*\}", words), "a place has no value"
        verdict = (at.success or at.info)[0].value
        assert any(own(f"answer{number}") in verdict for number in range(3))
        links: list[Any] = list(at.get("page_link"))
        (link,) = links
        assert link.proto.label == own("link")
        opens = dict(parse_qsl(link.proto.query_string))
        assert set(opens) <= {*PARAMS, *OWN_KEYS}
        assert not read(opens)[1]

    check_each([(name, language) for name in LESSONS for language in LANGUAGES], check)


def test_the_list_opens_a_lesson_and_the_address_carries_it() -> None:
    at = opened(lesson="no such lesson", lang="zh", projector="1")
    assert "no such lesson" in at.warning[0].value
    assert any("font-size" in html for html in htmls(at))
    assert text("page.title", "zh") == at.title[0].value
    at.button(key="open_storage").click()
    driven.run(at)
    assert at.query_params["lesson"] == "storage"
    driven.by_key(at, "learn_language").set_value("en")
    driven.run(at)
    assert at.query_params["lang"] == "en"
    assert any(text("storage.title", "en") in header.value for header in at.header)


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_tables_have_the_same_texts(language: str) -> None:
    from explorer.texts.lessons import texts

    mine, english = texts(language), texts("en")
    assert mine.keys() == english.keys()
    places = {key: set(re.findall(r"\{(\w+)\}", value)) for key, value in mine.items()}
    wanted = {key: set(re.findall(r"\{(\w+)\}", value)) for key, value in english.items()}
    assert places == wanted
    chinese = {key for key, value in mine.items() if re.search(r"[\u4e00-\u9fff]", value)}
    names = {key for key in mine if mine[key] == english[key]}
    assert chinese == (set() if language == "en" else mine.keys() - names)
    assert language == "en" or all(len(mine[key]) < 16 for key in names), "English in the table"
