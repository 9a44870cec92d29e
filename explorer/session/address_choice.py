"""Choices of a page whose labels are in the page's language and whose address is always English."""

from collections.abc import Mapping
from typing import Any

from explorer.session import state


def address_choice(key: str, names: Mapping[Any, str], usual: Any) -> dict[str, Any]:
    """Arguments of the widget that is drawn next: its key, and what writes it to the address.

    Streamlit's `bind="query-params"` would write labels in the page's language. names: of each
    option in the address; usual: the option without a name there, None where nothing is chosen.
    The choice survives a page switch. A name that no option has is dropped.
    """
    options = {name: option for option, name in names.items()}
    text = state.page_text(key)
    if text and text not in options:
        state.set_page_text(key, "")
        text = state.page_text(key)
    state.set_widget(key, options.get(text, usual))
    return {"key": key, "on_change": _write, "args": (key, names, usual)}


def choose(key: str, option: Any, names: Mapping[Any, str], usual: Any) -> None:
    """Chooses an option before its widget is drawn."""
    state.set_page_text(key, "" if option == usual else names[option])


def _write(key: str, names: Mapping[Any, str], usual: Any) -> None:
    choose(key, state.widget_value(key, usual), names, usual)
