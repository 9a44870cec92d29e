"""Every keyed widget of every page has its value again after other pages were shown."""

from collections.abc import Iterator
from itertools import pairwise, permutations
from typing import Any

from streamlit.testing.v1 import AppTest

from tests.explorer.driven import run

PAGES = ("explore", "sensitivity", "search", "finetune", "flows", "methods", "runs", "export")
KINDS = ("number_input", "slider", "select_slider", "checkbox", "toggle", "selectbox")
SLOW = ("whole_network",)
"""It measures the whole network with every granularity."""


def shown() -> None:
    import streamlit as st

    from tests.explorer.driven import page

    page(st.session_state["shown page"])


def switched(at: AppTest, name: str) -> AppTest:
    at.session_state["shown page"] = name
    return run(at)


def widgets(at: AppTest) -> dict[str, Any]:
    """Those of the page that can be changed, outside the side bar."""
    found: list[Any] = [each for kind in KINDS for each in at.main.get(kind)]
    return {each.key: each for each in found if each.key not in (None, *SLOW) and not each.disabled}


def values(at: AppTest) -> dict[str, Any]:
    return {key: each.value for key, each in widgets(at).items()}


def change(widget: Any) -> None:
    """Gives the widget another value; a range and an empty number stay."""
    if widget.type in ("checkbox", "toggle"):
        widget.set_value(not widget.value)
    elif widget.type == "selectbox":
        widget.select_index((widget.index + 1) % len(widget.options))
    elif widget.type == "select_slider":
        widget.set_value(widget.options[0])
    elif isinstance(widget.value, (int, float)):
        up = widget.value + (widget.step or 1)
        widget.set_value(up if widget.max is None or up <= widget.max else widget.min)


def all_switches() -> Iterator[str]:
    """A walk that goes once from every page to every other one."""
    for number, first in enumerate(PAGES):
        for second in PAGES[number + 1 :]:
            yield from (first, second)
    yield PAGES[0]


def test_every_widget_keeps_its_value_over_every_switch_of_pages() -> None:
    at = AppTest.from_function(shown, default_timeout=60)
    at.query_params["model"] = "lenet5"
    first: dict[str, Any] = {}
    wanted: dict[str, Any] = {}
    for name in PAGES:
        first = values(switched(at, name)) | first
        for key, widget in widgets(at).items():
            if key not in wanted:
                change(widget)
        wanted = values(run(at)) | wanted
    same = [key for key, value in first.items() if wanted.get(key) == value]
    assert len(same) < len(first) / 4, same
    walk = list(all_switches())
    assert sorted(pairwise(walk)) == sorted(permutations(PAGES, 2))
    wrong = []
    for before, after in pairwise(walk):
        now = values(switched(at, after))
        wrong += [
            f"{before} -> {after}: {key} is {value}, not {wanted[key]}"
            for key, value in now.items()
            if value != wanted.get(key, value)
        ]
    assert not wrong
