"""The mask lab: one layer's weights, group scores and mask on a canvas, cut again in the browser on
every frame of a drag.

    view = lab_view(layer, weight, scores, g)      # slow for large layers, depends on no ratio: cache it
    detail = LabDetail(layer, weight, scores, g)   # copies nothing; only looked at where the view is reduced
    found = mask_lab(view, ratio=0.5, edits=(), key="lab", on_report=..., detail=detail)

Two elements are mounted: one takes the layer's bytes, which Streamlit sends once as long as they
stay the same, the other draws. Releasing the slider, flipping a group, undo and redo are reported
to Python; dragging is not. For a reduced layer a third element, a fragment of its own, asks for the
weights that are zoomed to: `LabDetail.window` answers, and nothing else runs.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from explorer.components.mask_lab.view import MAX_CELLS, LabView, lab_view
from explorer.components.mask_lab.window import LabDetail, LabWindow, Window, lab_window
from explorer.session import state
from pruning_core.hand_edits import MAX_GROUPS

__all__ = [
    "MAX_CELLS",
    "Edit",
    "LabDetail",
    "LabView",
    "LabWindow",
    "Result",
    "Window",
    "lab_view",
    "lab_window",
    "mask_lab",
    "source",
]

FOLDER = Path(__file__).parent
SCRIPTS = {
    "feed": ("wire.js", "feed.js"),
    "window": ("wire.js", "window.js"),
    "lab": (
        "wire.js",
        "mask.js",
        "paint.js",
        "../numbers.js",
        "words.js",
        "marks.js",
        "stage.js",
        "near.js",
        "hands.js",
        "history.js",
        "legend.js",
        "controls.js",
        "lab.js",
    ),
}


class Edit(NamedTuple):
    """A group kept or pruned by hand."""

    scope: int
    group: int
    keep: bool


@dataclass(frozen=True)
class Result:
    """What the user just did; None for what did not change.

    ratio: the share released at; edits: all hand edits of the layer now; selected: (scope, group)
    flipped or selected last.
    """

    ratio: float | None = None
    edits: tuple[Edit, ...] | None = None
    selected: tuple[int, int] | None = None


def source(name: str) -> str:
    """The script of "feed", "window" or "lab": its files one after the other, as one module."""
    return "\n".join((FOLDER / file).read_text(encoding="utf-8") for file in SCRIPTS[name])


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
    """Draws the layer cut at `ratio` with hand edits on top; returns what the user did since the
    last run.

    on_report: called once per report before the script runs, the place to change the plan; show:
    "side", "weights", "scores" or "mask", until the user chooses. Ratio and edits are Python's:
    what it does not take over, the lab gives up. detail: of the same layer as the view; without it
    a reduced layer shows no single weights and takes no hand edits. waiting: edits that Python
    holds for this layer and granularity but cannot use; Clear edits asks it to forget them.
    network: whose layer it is; what can be undone stays with it, since layers of two networks may
    have one name.
    """

    def reported() -> None:
        if on_report is not None:
            on_report(_read(_last(key), view))

    last = _last(key)
    edits = tuple(edits)
    deep = detail if view.reduced else None
    given = {"of": view.id, "ratio": float(ratio), "echo": last.get("n"), "show": show}
    given |= {
        "edits": [list(edit) for edit in edits],
        "deep": deep is not None,
        "waiting": waiting,
        "network": network,
    }
    with st.container(gap=None, key=f"{key}_place"):
        _FEED(data=view.data, key=f"{key}_feed")
        if deep is not None:
            _window(view, deep, key)
        places = None if deep is None else _places(view, deep, edits, key)
        _LAB(data=given | {"places": places}, key=key, on_report_change=reported)
    if last.get("n") == state.stored(f"{key}_seen", None):
        return Result()
    state.store(f"{key}_seen", last.get("n"))
    return _read(last, view)


@st.fragment
def _window(view: LabView, detail: LabDetail, key: str) -> None:
    """Sends the window that the browser asks for; when it asks, only this runs again."""
    asked = _last(f"{key}_window", "want")
    window = Window.read(asked.get("at"), detail.layer) if asked.get("of") == view.id else None
    held = _held(view, key)
    if window is not None and (held is None or held.window != window):
        held = detail.window(window)
        state.store(f"{key}_held", (view.id, held))
    _WINDOW(
        data=view.id.encode() + (held.data if held else b""),
        key=f"{key}_window",
        on_want_change=_nothing,
    )


def _nothing() -> None:
    """Streamlit makes a state of what has a callback."""


def _held(view: LabView, key: str) -> LabWindow | None:
    """The last window of this layer."""
    of, window = state.stored(f"{key}_held", ("", None))
    return window if of == view.id else None


def _places(view: LabView, detail: LabDetail, edits: tuple[Edit, ...], key: str) -> list[int]:
    """The places of the edited groups: known from the last run, seen in the window, or looked up."""
    if not view.groups:
        return []
    nothing: dict[int, int] = {}
    of, before = state.stored(f"{key}_places", ("", nothing))
    numbers = [edit[0] * view.groups + edit[1] for edit in edits]
    held = _held(view, key)
    known = dict(before) if of == view.id else {}
    if held is not None:
        known |= held.places_of(number for number in numbers if number not in known)
    missing = [number for number in numbers if number not in known]
    known |= zip(missing, detail.places(missing), strict=True)
    state.store(f"{key}_places", (view.id, known))
    return [known[number] for number in numbers]


def _last(key: str, name: str = "report") -> Mapping[str, Any]:
    """The last report, as it came from the browser; empty before the first."""
    found: object = state.widget_value(key, None)
    report = found.get(name) if isinstance(found, Mapping) else None
    return report if isinstance(report, Mapping) else {}


def _read(report: Mapping[str, Any], view: LabView) -> Result:
    """A report, believed only as far as it makes sense: it may be forged, or about a layer that is
    no longer shown.
    """
    changed = report.get("changed")
    if report.get("of") != view.id or not isinstance(changed, list):
        return Result()
    ratio, edits, selected = (
        report.get(name) if name in changed else None for name in ("ratio", "edits", "selected")
    )
    return Result(
        ratio=_share(ratio),
        edits=_edits(edits, view) if isinstance(edits, list) else None,
        selected=(selected[0], selected[1])
        if isinstance(selected, list) and _is_group(selected, view)
        else None,
    )


def _share(ratio: object) -> float | None:
    sane = isinstance(ratio, int | float) and not isinstance(ratio, bool) and 0 <= ratio <= 1
    return float(ratio) if isinstance(ratio, int | float) and sane else None


def _edits(edits: list[Any], view: LabView) -> tuple[Edit, ...] | None:
    sane = len(edits) <= MAX_GROUPS + 1 and all(
        _is_edit(edit, view) for edit in edits
    )  # one too many: the plan tells the user
    return tuple(Edit(*edit) for edit in edits) if sane else None


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
