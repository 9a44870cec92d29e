"""A page without a browser: Streamlit's AppTest, opened at an address. No run may raise."""

from collections.abc import Callable, Mapping
from typing import Any

from streamlit.testing.v1 import AppTest

from pruning_core.plan import Plan


def page(view: str) -> None:
    """The page of that name with the side bar, as `app.py` shows it."""
    import importlib

    import streamlit as st

    from explorer.session import page_language, sidebar, state
    from explorer.session.notices import show_errors, show_notes
    from explorer.session.unavailable import show_unavailable

    page_language.read_language()
    state.read_address(view, sidebar.known_names())
    with st.sidebar:
        choice = sidebar.render(view)
    state.write_address()
    show_notes(choice.notes)
    if choice.space is None:
        show_unavailable(choice.plan)
        return
    with show_errors():
        importlib.import_module(f"explorer.pages.{view}.page").render(choice.plan, choice.space)


def side_bar(view: str = "explore") -> None:
    """The side bar beside that page; then its plan, whether the network is open, and its notes."""
    import streamlit as st

    from explorer.session import page_language, sidebar, state

    page_language.read_language()
    state.read_address(view, sidebar.known_names())
    with st.sidebar:
        choice = sidebar.render(view)
    state.write_address()
    st.json(choice.plan.to_json())
    st.text("open" if choice.space is not None else "closed")
    for kind, sentence in choice.notes:
        st.text(f"{kind}: {sentence}")


def plan(at: AppTest) -> Plan:
    """The plan that `side_bar` shows."""
    return Plan.from_json(at.json[0].value)


def run(at: AppTest) -> AppTest:
    """Runs the script once more."""
    at.run()
    assert not at.exception
    return at


def opened(script: Callable[..., None], address: Mapping[str, str], *args: object) -> AppTest:
    """The script after one run at that address."""
    at = AppTest.from_function(script, default_timeout=60, args=args)
    for key, value in address.items():
        at.query_params[key] = value
    return run(at)


def unfolded(at: AppTest, *keys: str) -> AppTest:
    """The script after the parts with these keys were opened."""
    for key in keys:
        at.session_state[key] = True
    return run(at)


def by_key(at: AppTest, key: str) -> Any:
    """The element with that key. Streamlit gives elements and blocks, so its type is open."""
    return at.get_by_key(key)


def text(at: AppTest) -> str:
    """What the page says in words, outside the side bar."""
    elements: list[Any] = [
        element
        for kind in ("caption", "info", "warning", "error", "markdown")
        for element in at.main.get(kind)
    ]
    return "\n".join(element.value for element in elements)
