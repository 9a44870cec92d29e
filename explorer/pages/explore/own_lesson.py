"""A lesson of a teacher's own: any view of Explore, with a title, a task and a question above it.

The address carries all three. They are the words of whoever made the link, so they are shown as
plain text, and cut at a length.
"""

import streamlit as st

from explorer.pages.explore.folded import folded
from explorer.session import state
from explorer.session.language_and_link import page_link
from explorer.session.notices import plain
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _

FIELDS = {
    "lesson_title": (N_("Title"), 80),
    "lesson_task": (N_("Task"), 400),
    "lesson_question": (N_("Question"), 300),
}
"""Parameter of the address -> the label of its field, and its most characters."""
FORM = "own_lesson_form"


def own_texts() -> dict[str, str]:
    """The texts of the address, on one line each and not too long."""
    return {
        key: " ".join(state.page_text(key).split())[:most] for key, (_label, most) in FIELDS.items()
    }


def show_own_lesson() -> None:
    """Draws the lesson above the page, where the address has one."""
    title, task, question = own_texts().values()
    if not title and not task and not question:
        return
    st.set_page_config(initial_sidebar_state="collapsed")  # its controls are one click away
    with st.container(border=True, key="own_lesson"):
        if title:
            st.subheader(plain(title), anchor=False)
        if task:
            st.markdown(plain(task))
        if question:
            st.markdown(f":material/help: **{plain(question)}**")


def own_lesson_form(parameters: dict[str, str]) -> None:
    """The fields, and the link to copy. parameters: of the view that is shown."""
    place = folded(_("Make a lesson of this view"), FORM, ":material/school:")
    if place is None:
        return
    with place:
        texts = own_texts()
        for key, (label, most) in FIELDS.items():
            state.set_widget(f"{key}_field", texts[key])
            st.text_input(
                _(label),
                key=f"{key}_field",
                max_chars=most,
                help=HELP[key],
                on_change=_set,
                args=(key,),
            )
        given = {key: text for key, text in texts.items() if text}
        if given:
            st.caption(_("Copy this link. It opens this view, with your words above it."))
            st.code(page_link(parameters | given), language=None, wrap_lines=True)


def _set(key: str) -> None:
    state.set_page_text(key, state.widget_value(f"{key}_field", ""))
