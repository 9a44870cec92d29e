"""The Learn page: a list of short lessons, and one screen for each."""

from collections.abc import Mapping
from html import escape

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.pages.learn.glossary import show_terms
from explorer.pages.learn.lesson import Drawn, Lesson
from explorer.pages.learn.lessons import LESSONS
from explorer.session import page_language, state
from explorer.session.language_and_link import language_control
from explorer.session.notices import plain
from explorer.texts.lessons import Words, text
from explorer.texts.lessons.terms import TERMS

PROJECTOR = "<style>html { font-size: 20px !important; }</style>"
"""All sizes of the app are multiples of this one."""
LARGE = 18
"""The size of the letters of charts for a projector, in pixels."""


def render(pages: Mapping[str, st.Page]) -> None:
    """Draws the list, or the lesson that the address names. pages: of the app, by path."""
    language = page_language.language()
    words = Words(language, "page")
    name = state.page_text("lesson")
    _top(words, name)
    if name in LESSONS:
        _lesson(name, language, pages)
        return
    if name:
        st.warning(plain(words("unknown", name=name[:80])), icon=":material/info:")
    _list(language, state.page_text("glossary"))


def _top(words: Words, name: str) -> None:
    """The way back to the list, the language, and large letters."""
    row = st.container(horizontal=True, vertical_alignment="center", key="learn_top")
    if name:
        row.button(words("all"), icon=":material/arrow_back:", on_click=_open, args=("",))
    row.space("stretch")
    with row:
        language_control("learn_language", label_visibility="collapsed")
    large = state.page_text("projector") == "1"
    state.set_widget("learn_projector", large)
    row.toggle(words("projector"), key="learn_projector", on_change=_set_projector)
    if large:
        st.html(PROJECTOR)


def _set_projector() -> None:
    state.set_page_text("projector", "1" if state.widget_value("learn_projector", False) else "")


def _open(name: str) -> None:
    state.set_page_text("lesson", name)


def _list(language: str, term: str) -> None:
    """One card for each lesson. term: of the glossary, where a help mark led to it."""
    words = Words(language, "page")
    st.title(words("title"), anchor=False)
    if term:
        _glossary(words, term)
    st.markdown(words("lead"))
    grid = st.grid(5, min_column_width=220)
    for number, (name, lesson) in enumerate(LESSONS.items(), 1):
        card = grid.container(border=True, height="stretch", key=f"lesson_card_{name}")
        own = Words(language, name)
        card.markdown(f"#### :material/{lesson.icon}: {number} · {own('title')}", anchors=False)
        card.markdown(own("lead"))
        card.button(words("start"), key=f"open_{name}", on_click=_open, args=(name,))
    if not term:
        _glossary(words, "")


def _glossary(words: Words, first: str) -> None:
    """All terms; open, with that term first, where one is given."""
    with st.expander(words("glossary"), icon=":material/dictionary:", expanded=bool(first)):
        show_terms(words.language, sorted(TERMS, key=lambda name: name != first))


def _lesson(name: str, language: str, pages: Mapping[str, st.Page]) -> None:
    """The figure with its control, three sentences, the question and the link."""
    lesson = LESSONS[name]
    words = Words(language, name)
    number = list(LESSONS).index(name) + 1
    st.header(f"{number} · {words('title')}", anchor=False)
    place, points, question = _places(lesson)
    with place:
        above = st.container()
        drawn = lesson.draw(_position(name, lesson, words), words)
        with above:
            _figure(name, drawn, words("alt", **drawn.values))
    with points:
        for point in ("first", "second", "third"):
            st.markdown(words(point, **drawn.values))
    with question:
        _question(name, drawn, words)
        st.page_link(
            pages[lesson.page],
            label=words("link"),
            icon=":material/open_in_new:",
            query_params=dict(drawn.opens),
        )
        with st.expander(text("page.terms", language), icon=":material/dictionary:"):
            show_terms(language, lesson.terms)
    _neighbours(name, Words(language, "page"))


def _places(lesson: Lesson) -> tuple[DeltaGenerator, DeltaGenerator, DeltaGenerator]:
    """Where the figure, the sentences and the question are. A narrow page has one below the other.

    A wide figure is above both; else they are at its right.
    """
    body = st.container(key="lesson_body")
    if lesson.wide:
        figure = body.container()
        points, question = body.columns(2, gap="medium")
        return figure, points, question
    figure, beside = body.columns([2, 1], gap="medium")
    return figure, beside.container(), beside.container()


def _position(name: str, lesson: Lesson, words: Words) -> object:
    """The one thing to drag."""
    key = f"lesson_{name}"
    state.keep_widget(key)
    positions = list(lesson.positions)
    if state.widget_value(key, None) not in positions:
        state.set_widget(key, lesson.start)
    return st.select_slider(
        words("drag"),
        positions,
        key=key,
        format_func=lambda position: lesson.label(position, words),
    )


def _figure(name: str, drawn: Drawn, sentence: str) -> None:
    """sentence: what the figure shows, for people who cannot see it."""
    if isinstance(drawn.figure, str):
        st.html(f'<div role="figure" aria-label="{escape(sentence)}">{drawn.figure}</div>')
        return
    figure: go.Figure = drawn.figure
    if state.page_text("projector"):
        figure.update_layout(font_size=LARGE)
    st.plotly_chart(figure, key=f"chart_{name}", alt=sentence, config={"displayModeBar": False})


def _question(name: str, drawn: Drawn, words: Words) -> None:
    """The question; an answer reveals the right one."""
    key = f"predict_{name}"
    state.keep_widget(key)
    answers = [words(f"answer{number}") for number in range(3)]
    chosen = st.radio(
        f"**{words('question', **drawn.values)}**",
        range(3),
        index=None,
        format_func=answers.__getitem__,
        key=key,
    )
    if chosen is None:
        st.caption(text("page.predict", words.language))
        return
    right = chosen == drawn.correct
    verdict = text("page.right" if right else "page.wrong", words.language)
    sentence = f"**{verdict} {answers[drawn.correct]}** — {words('reveal', **drawn.values)}"
    (st.success if right else st.info)(sentence, icon=":material/lightbulb:")


def _neighbours(name: str, words: Words) -> None:
    """The lessons before and after."""
    names = list(LESSONS)
    at = names.index(name)
    row = st.container(horizontal=True)
    if at > 0:
        before = names[at - 1]
        label = words("before", title=text(f"{before}.title", words.language))
        row.button(label, icon=":material/chevron_left:", on_click=_open, args=(before,))
    row.space("stretch")
    if at + 1 < len(names):
        after = names[at + 1]
        label = words("after", title=text(f"{after}.title", words.language))
        row.button(
            label,
            icon=":material/chevron_right:",
            icon_position="right",
            on_click=_open,
            args=(after,),
            type="primary",
        )
