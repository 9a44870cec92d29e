"""The Streamlit elements of the mask lab, and what the browser reports."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from explorer.components.data_numbers import data_number, numbered
from explorer.components.mask_lab.view import LabView
from explorer.components.mask_lab.window import LabDetail, LabWindow, Window
from explorer.components.mask_lab.words import words
from explorer.components.scripts import joined
from explorer.session import state
from pruning_core.hand_edits import MAX_GROUPS

FOLDER = Path(__file__).parent
SCRIPTS = {
    "feed": ("../latest_call.js", "unpacking.js", "feed.js"),
    "window": ("../latest_call.js", "unpacking.js", "window.js"),
    "lab": (
        "../latest_call.js",
        "unpacking.js",
        "mask.js",
        "paint.js",
        "../numbers.js",
        "../words.js",
        "texts.js",
        "marks.js",
        "stage.js",
        "detail.js",
        "pointer.js",
        "history.js",
        "legend.js",
        "controls.js",
        "lab.js",
    ),
}


class Edit(NamedTuple):
    """A group kept or removed by hand."""

    scope: int
    group: int
    keep: bool


@dataclass(frozen=True)
class Result:
    """What the user did last; None for what did not change.

    ratio: the slider's value at its release; edits: all hand edits of the layer; selected: the
    (scope, group) that was edited or selected last.
    """

    ratio: float | None = None
    edits: tuple[Edit, ...] | None = None
    selected: tuple[int, int] | None = None


def source(name: str) -> str:
    """The script of "feed", "window" or "lab": its files joined into one module."""
    return joined(FOLDER, SCRIPTS[name])


_FEED = st.components.v2.component("pruning_mask_feed", js=source("feed"))
_WINDOW = st.components.v2.component("pruning_mask_window", js=source("window"))
_LAB = st.components.v2.component(
    "pruning_mask_lab",
    html=(FOLDER / "lab.html").read_text(encoding="utf-8"),
    css=(FOLDER / "lab.css").read_text(encoding="utf-8"),
    js=source("lab"),
)


def mask_lab(
    view: LabView,
    *,
    ratio: float,
    edits: Iterable[Edit] = (),
    key: str,
    on_report: Callable[[Result], None] | None = None,
    show: str = "side",
    detail: LabDetail | None = None,
    waiting: int = 0,
    network: str = "",
) -> Result:
    """Draws the layer pruned at `ratio`, with hand edits; returns what the user did since then.

    Python owns ratio and edits: the lab shows what Python passes in the next run.

    on_report: called once per report, before the script runs; it may change the plan.
    show: "side", "weights", "scores" or "mask", until the user chooses.
    detail: the same layer as the view. Without it, a reduced layer shows no single weights and has
    no hand edits.
    waiting: hand edits without effect now, of this layer; *Clear edits* deletes them too.
    network: the layer's network. Undo belongs to it, because layers of two networks may have equal
    names.
    """
    last = _last(key)
    edits = tuple(edits)
    deep = detail if view.reduced else None
    data = {
        "key": key,
        "of": view.id,
        "ratio": float(ratio),
        "echo": last.get("n"),
        "show": show,
        "edits": [list(edit) for edit in edits],
        "deep": deep is not None,
        "waiting": waiting,
        "network": network,
    }
    _mount(view, deep, data, edits, key, on_report)
    return _unseen(last, view, key)


def _unseen(last: Mapping[str, Any], view: LabView, key: str) -> Result:
    """The last report, the first time it is asked for; then an empty result."""
    if last.get("n") == state.stored(f"{key}_seen", None):
        return Result()
    state.store(f"{key}_seen", last.get("n"))
    return _read(last, view)


def _mount(
    view: LabView,
    detail: LabDetail | None,
    data: dict[str, Any],
    edits: tuple[Edit, ...],
    key: str,
    on_report: Callable[[Result], None] | None,
) -> None:
    """Mounts the elements: the layer's bytes, the window of a reduced layer, the lab."""

    def reported() -> None:
        if on_report is not None:
            on_report(_read(_last(key), view))

    with st.container(gap=None, key=f"{key}_place"):
        number = data_number(f"{key}_feed", view.id)
        _FEED(data=numbered(number, view.data), key=f"{key}_feed")
        places = None
        if detail is not None:
            _window(view, detail, key)
            places = _places(view, detail, edits, key)
        data |= {"places": places, "words": words()}
        number = data_number(key, data)
        _LAB(data=data | {"number": number}, key=key, on_report_change=reported)


@st.fragment
def _window(view: LabView, detail: LabDetail, key: str) -> None:
    """Sends the window that the browser requests; a request runs only this fragment."""
    asked = _last(f"{key}_window", "want")
    window = Window.read(asked.get("at"), detail.layer) if asked.get("of") == view.id else None
    sent = _sent_window(view, key)
    if window is not None and (sent is None or sent.window != window):
        sent = detail.window(window)
        state.store(f"{key}_held", (view.id, sent))
    number = data_number(f"{key}_window", (view.id, sent and sent.window))
    _WINDOW(
        data=numbered(number, view.id.encode() + (sent.data if sent else b"")),
        key=f"{key}_window",
        on_want_change=_nothing,
    )


def _nothing() -> None:
    """Streamlit keeps a state only for what has a callback."""


def _sent_window(view: LabView, key: str) -> LabWindow | None:
    """The window of this layer that was sent last."""
    of, window = state.stored(f"{key}_held", ("", None))
    return window if of == view.id else None


def _places(view: LabView, detail: LabDetail, edits: tuple[Edit, ...], key: str) -> list[int]:
    """The ranks of the edited groups: known from the last run, in the window, or looked up."""
    if not view.groups:
        return []
    nothing: dict[int, int] = {}
    of, before = state.stored(f"{key}_places", ("", nothing))
    numbers = [edit[0] * view.groups + edit[1] for edit in edits]
    window = _sent_window(view, key)
    known = dict(before) if of == view.id else {}
    if window is not None:
        known |= window.places_of(number for number in numbers if number not in known)
    missing = [number for number in numbers if number not in known]
    known |= zip(missing, detail.places(missing), strict=True)
    state.store(f"{key}_places", (view.id, known))
    return [known[number] for number in numbers]


def _last(key: str, name: str = "report") -> Mapping[str, Any]:
    """The last report, as the browser sent it; empty before the first."""
    value: object = state.widget_value(key, None)
    report = value.get(name) if isinstance(value, Mapping) else None
    return report if isinstance(report, Mapping) else {}


def _read(report: Mapping[str, Any], view: LabView) -> Result:
    """The valid parts of a report: it may be forged, or about a layer that is not shown now."""
    changed = report.get("changed")
    if report.get("of") != view.id or not isinstance(changed, list):
        return Result()
    ratio, edits, selected = (
        report.get(name) if name in changed else None for name in ("ratio", "edits", "selected")
    )
    valid = isinstance(selected, list) and _is_group(selected, view)
    return Result(
        ratio=_valid_ratio(ratio),
        edits=_valid_edits(edits, view) if isinstance(edits, list) else None,
        selected=(selected[0], selected[1]) if isinstance(selected, list) and valid else None,
    )


def _valid_ratio(ratio: object) -> float | None:
    valid = isinstance(ratio, int | float) and not isinstance(ratio, bool) and 0 <= ratio <= 1
    return float(ratio) if isinstance(ratio, int | float) and valid else None


def _valid_edits(edits: list[Any], view: LabView) -> tuple[Edit, ...] | None:
    # One more than a plan holds is valid: the plan then shows the reason.
    valid = len(edits) <= MAX_GROUPS + 1 and all(_is_edit(edit, view) for edit in edits)
    return tuple(Edit(*edit) for edit in edits) if valid else None


def _is_edit(edit: object, view: LabView) -> bool:
    return (
        isinstance(edit, list)
        and len(edit) == 3
        and isinstance(edit[2], bool)
        and _is_group(edit[:2], view)
    )


def _is_group(group: list[Any], view: LabView) -> bool:
    if len(group) != 2 or any(type(number) is not int for number in group):
        return False
    scope, index = group
    return bool(0 <= scope < view.scopes and 0 <= index < view.groups)
