"""Every keyed widget of every page has its value again after other pages were shown.

The whole app runs, so that widgets have the ids that they have in a browser: a page's own.
"""

from collections.abc import Iterator
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from explorer.session import cache
from tests.explorer.driven import run
from tests.explorer.visits import SCRIPT, press

PAGES = ("", "sensitivity", "search", "finetune", "flows", "methods", "runs", "export", "learn")
"""The paths of the pages; Explore has the empty one."""
START = {
    "": {
        "model": "lenet5",
        "probe": "16",
        "granularity": "filter",
        "flow": "lottery",
        "fine_tune": "penalty~group_lasso:filter",
        "closer": "Dropout",
    },
    "sensitivity": {"grid": "Own choice"},
    "search": {"search": "method~random~evaluations~3"},
    "learn": {"lesson": "granularity"},
}
"""Page -> its address at the first visit: few computations, and many widgets."""
UNFOLDED = ("how_far", "own_lesson_form")
"""The parts of Explore that are opened for more widgets."""
JOBS = {"sensitivity": "scan_start", "search": "search_start"}
"""Page -> the button whose result has more widgets."""
KINDS = (
    "button_group",
    "checkbox",
    "multiselect",
    "number_input",
    "radio",
    "select_slider",
    "selectbox",
    "slider",
    "text_area",
    "text_input",
    "toggle",
)
LEFT = {
    "whole_network": "measures the whole network with every granularity",
    "model": "another network has other widgets",
    "dataset": "as the network",
    "language": "another language has other labels",
    "learn_language": "as the language",
    "granularity": "others have other widgets",
    "flow": "as the granularity",
    "grid": "as the granularity",
    "closer": "as the granularity",
    "farthest_limit": "as the granularity",
    "tune_schedule": "shows the schedule of the side bar",
    "tune_penalty_name": "as the granularity",
    "search_method": "as the granularity",
    "highlight": "shows the layer that Explore chose",
    "flow_layer": "as the highlight",
}
"""Widgets that are not changed, and why."""
CHOSEN = {
    "lesson_granularity": 0.75,
    "slice": 95,
    "ratios_how": "Inverse cost",
    "runs_text": "on",
}
"""The other value where the next label is not taken for an option, takes long, or hides all."""
ONE_OPTION = {"export_weights"}
HIDDEN = {"tune_momentum"}
"""Widgets that the changes of others disable."""
GIVEN = ("raw_values", "raw_value", "value")
"""The fields of a message that have a value that the script sets."""
Values = dict[str, tuple[object, ...]]


def switch(at: AppTest, path: str, **address: str) -> AppTest:
    """As a click on a link to that page, whose address says no more."""
    pages = at._registered_pages.items()
    at._page_hash = next(key for key, page in pages if page["url_pathname"] == path)
    at.query_params.clear()
    for key, text in address.items():
        at.query_params[key] = text
    if not path:
        for part in UNFOLDED:
            at.session_state[part] = True
    return run(at)


def widgets(at: AppTest) -> dict[str, Any]:
    """Those that can be changed, of the page and of the side bar."""
    found: list[Any] = [each for kind in KINDS for each in at.get(kind)]
    return {each.key: each for each in found if each.key is not None and not each.disabled}


def held(widget: Any) -> tuple[object, ...]:
    """The widget's value on the server, as a browser would report it; () for none."""
    state = widget._widget_state
    kind = state.WhichOneof("value")
    return () if kind is None else _plain(getattr(state, kind))


def drawn(widget: Any) -> tuple[object, ...]:
    """The value that a browser gives to a widget that it draws for the first time; () for none."""
    proto = widget.proto
    fields = {field.name for field, _value in proto.ListFields()}
    if proto.set_value:
        given = next((name for name in GIVEN if name in fields), "")
        return _plain(getattr(proto, given)) if given else _plain(proto.value)
    default: tuple[Any, ...] = _plain(proto.default)
    if not hasattr(proto, "options") or not len(proto.options):
        return default
    names = [getattr(option, "content", option) for option in proto.options]
    return tuple(names[number] for number in default)


def _plain(value: Any) -> tuple[object, ...]:
    """A message's field as numbers or texts."""
    value = getattr(value, "data", value)
    return (value,) if isinstance(value, (str, int, float)) else tuple(value)


def change(widget: Any) -> None:
    """Gives the widget another value, where it can have one."""
    kind = widget.type
    now = held(widget)
    if widget.key in CHOSEN:
        widget.set_value(CHOSEN[widget.key])
    elif kind in ("checkbox", "toggle"):
        widget.set_value(not widget.value)
    elif kind in ("text_input", "text_area"):
        widget.set_value("run")
    elif kind == "multiselect" or (kind == "button_group" and not widget._is_single_select):
        others = [name for name in widget.options if name not in now]
        widget.set_value([*now[1:], *others[:1]])
    elif kind in ("button_group", "radio", "selectbox", "select_slider"):
        for name in [name for name in widget.options if (name,) != now][:1]:
            widget.set_value(name)
    elif kind == "slider" and len(now) == 2:
        low, high = widget.value
        widget.set_value((low + widget.step, high - widget.step))
    else:
        up = (widget.value or 0) + (widget.step or 1)
        widget.set_value(up if widget.max is None or up <= widget.max else widget.min)


def changed(at: AppTest, wanted: Values) -> list[str]:
    """Changes all widgets that are not known; the keys of those that have the value of before."""
    same = []
    while new := {key: each for key, each in widgets(at).items() if key not in wanted}:
        before = {key: held(widget) for key, widget in new.items()}
        for key, widget in new.items():
            if key not in LEFT:
                change(widget)
        after = {key: held(widget) for key, widget in widgets(run(at)).items()}
        same += [key for key in new if after.get(key) == before[key] and key not in LEFT]
        wanted |= {key: value for key, value in after.items() if key in wanted or key in new}
        wanted |= {key: value for key, value in before.items() if key not in after}
    return same


def wrong_values(at: AppTest, wanted: Values) -> list[str]:
    return [
        f"{key} is {held(widget)}, is drawn as {drawn(widget)}, not {wanted[key]}"
        for key, widget in widgets(at).items()
        if key in wanted and {held(widget), drawn(widget)} != {wanted[key]}
    ]


def all_switches() -> Iterator[str]:
    """A walk that goes once from every page to every other one."""
    for number, first in enumerate(PAGES):
        for second in PAGES[number + 1 :]:
            yield from (first, second)
    yield PAGES[0]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The whole app, with an empty history."""
    monkeypatch.setenv("PRUNING_EXPLORER_HISTORY", str(tmp_path))
    at = AppTest.from_file(str(SCRIPT), default_timeout=60)
    for key, text in START[""].items():
        at.query_params[key] = text
    yield run(at)
    cache.jobs().close()
    cache.jobs.cache_clear()


def test_every_widget_keeps_its_value_over_every_switch_of_pages(app: AppTest) -> None:
    wanted: Values = {}
    same = []
    for path in PAGES:
        switch(app, path, **START.get(path, {}))
        if path in JOBS:
            press(app, JOBS[path])
        same += changed(app, wanted)
    assert set(same) <= ONE_OPTION
    walk = list(all_switches())
    assert sorted(pairwise(walk)) == sorted(permutations(PAGES, 2))
    wrong = []
    seen: set[str] = set()
    for before, after in pairwise(walk):
        wrong += [
            f"{before} -> {after}: {each}" for each in wrong_values(switch(app, after), wanted)
        ]
        seen |= widgets(app).keys()
    assert not wrong, "\n".join(wrong)
    assert wanted.keys() - seen <= HIDDEN
