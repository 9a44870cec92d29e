"""The end of the side bar: the page's language, and a link to what is shown."""

from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import quote, urlencode, urlsplit

import streamlit as st

from explorer.session import page_language, state
from explorer.session.url import OPENING, PARAMS
from explorer.texts.translate import LANGUAGES, _


def language_and_link() -> None:
    """One button for each language, and the link."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        language_control("language")
        popover = st.popover(_("Link"), icon=":material/link:", key="link", on_change="rerun")
        if popover.open:  # with the address of that moment
            popover.caption(_("Copy the link. It opens this page with this plan and layer."))
            popover.code(page_link(state.parameters()), language=None, wrap_lines=True)
    name_language()


def name_language() -> None:
    """Sets the language of the browser's document, which screen readers and fonts follow.

    Streamlit sets English. The script takes no space at the end of a page or of the side bar.
    """
    script = f'document.documentElement.lang = "{page_language.language()}"'
    st.html(f"<script>{script}</script>", unsafe_allow_javascript=True)


def language_control(
    key: str, *, label_visibility: Literal["visible", "collapsed"] = "visible"
) -> None:
    """One button for each language. The address carries the choice."""
    state.set_widget(key, page_language.language())
    st.segmented_control(
        _("Language"),
        LANGUAGES,
        format_func=LANGUAGES.__getitem__,
        key=key,
        required=True,
        label_visibility=label_visibility,
        on_change=_set_language,
        args=(key,),
    )


def _set_language(key: str) -> None:
    page_language.set_language(state.widget_value(key, page_language.language()))


def page_link(parameters: Mapping[str, str | Sequence[str]]) -> str:
    """The whole address of this page with those parameters; it always names a plan."""
    address = urlsplit(str(st.context.url or ""))
    named = parameters if parameters.keys() & set(PARAMS) else {**OPENING, **parameters}
    query = urlencode(named, doseq=True, quote_via=quote)
    return address._replace(path=address.path or "/", query=query, fragment="").geturl()
