"""The common look of all figures, and the sentence that says what each figure shows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from explorer.charts.palette import AXIS, CHOSEN, GRID, STATES, translucent
from explorer.texts.translate import N_, _
from pruning_core.types import Evaluation

CLEAR = "rgba(0, 0, 0, 0)"
WIDE = 100.0
"""An axis whose largest value is more than this many times the smallest one is logarithmic."""
MAX_TICKS = 16
"""An axis of at most this many whole numbers has a tick for each."""
TOP = 28
"""The margin above a plot without a legend, in pixels."""
RIGHT = 16
"""The margin at the right: half of the last number of an axis, which is centred below its tick."""
NARROW = 480
"""A chart is about so wide in a window of 800 pixels."""
LINE = 20
LETTERS = (7, 12)
MARK = 45
"""Sizes in a legend, in pixels: a line's height, the width of a Latin and of a Chinese letter, and
that of a mark with its gaps.
"""
LEGEND: dict[str, Any] = {
    "orientation": "h",
    "yref": "container",
    "yanchor": "top",
    "y": 1,
    "x": 0,
    "title": {"text": ""},
}
"""At the top of the chart. Above the plot, Plotly would move it over the plot after a change of the
window's width.
"""
LABELS = {
    "dense": N_("dense"),
    "pruned": N_("pruned"),
    "recalibrated": N_("BN recalibrated"),
    "tuned": N_("fine-tuned"),
}
"""A state of a network -> its label in English."""
AXES: dict[str, Any] = {
    "gridcolor": GRID,
    "linecolor": AXIS,
    "zerolinecolor": AXIS,
    "zeroline": False,
    "showline": True,
    "ticks": "outside",
    "tickcolor": AXIS,
    "ticklen": 4,
    "title": {"standoff": 14},
    "automargin": True,
}


def finish(figure: go.Figure, sentence: str, height: int, revision: str) -> go.Figure:
    """Sets the common look, with a transparent background, after all traces.

    revision: as long as it stays the same, new data keep the zoom and the hidden legend entries.
    """
    layout = figure.layout._props
    look = {
        "height": height,
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "margin": {"l": 8, "r": RIGHT, "t": max(TOP, _legend_of(figure)), "b": 8},
        "legend": LEGEND,
        "font": {"size": 13},
        "hoverlabel": {"align": "left"},
        "dragmode": "pan",
        "uirevision": revision,
    }
    _set(layout, look)
    layout["meta"] = {"alt": sentence}
    for letter in "xy":
        axes = [name for name in layout if name.startswith(f"{letter}axis")]
        for name in dict.fromkeys((f"{letter}axis", *axes)):
            _set(layout, {name: AXES})
    return figure


def _set(properties: dict[str, Any], look: Mapping[str, Any]) -> None:
    """Sets properties of a figure, and those of its parts, to values that Plotly takes as they are.

    Plotly's own way checks each value again for every figure: ten times the time.
    """
    for name, value in look.items():
        if isinstance(value, dict):
            _set(properties.setdefault(name, {}), value)
        else:
            properties[name] = value


def log_where_wide(figure: go.Figure) -> None:
    """Makes the y axis logarithmic where the largest value is over `WIDE` times the smallest.

    Call it after `level` and before `label_ends`.
    """
    values = _finite_values(figure)
    if not values or min(values) <= 0 or max(values) <= WIDE * min(values):
        return
    figure.update_yaxes(type="log", rangemode="normal")
    for note in figure.layout.annotations:
        if note.yref == "y":
            note.y = _place(note.y, figure.layout.yaxis)


def _place(value: float, axis: Any) -> float:
    """Where an annotation for the value is on the axis: its logarithm on a logarithmic one."""
    return math.log10(value) if axis.type == "log" else value


def _finite_values(figure: go.Figure) -> list[float]:
    drawn = (y for trace in figure.data if trace.y is not None for y in trace.y)
    return [float(y) for y in drawn if y is not None and math.isfinite(y)]


def label_ends(figure: go.Figure, ends: Sequence[tuple[str, float, float, str]]) -> go.Figure:
    """Writes the name of a curve beside its right end, in its colour.

    Names that would cover each other, or the end of another curve, move apart. Call it after
    `finish`.

    ends: name, x, y and colour of each curve.
    """
    across = figure.layout.xaxis
    up = figure.layout.yaxis
    heights = [_place(y, up) for y in _finite_values(figure)]
    top = max(heights, default=1.0)
    bottom = min(heights, default=0.0)
    gap = 0.05 * (top - (bottom if up.type == "log" else min(0.0, bottom)))
    place = top + 2 * gap
    for name, x, y, colour in sorted(ends, key=lambda end: -end[2]):
        place = min(_place(y, up), place - gap)
        beside = [end[1] for end in ends if abs(_place(end[2], up) - place) < gap]
        figure.add_annotation(
            text=name,
            x=_place(max([x, *beside]), across),
            y=place,
            xanchor="left",
            xshift=9,
            showarrow=False,
            align="left",
            font={"color": colour, "size": 12},
        )
    longest = max((len(name) for name, *_ in ends), default=0)
    return figure.update_layout(margin_r=min(190, 20 + 7 * longest))


def alt(figure: go.Figure) -> str:
    """What the figure shows, in one sentence, for people who cannot see it."""
    return str(figure.layout.meta["alt"])


def state_label(state: str) -> str:
    """The label of a network's state in the page's language."""
    return _(LABELS.get(state, state))


def state_look(state: str) -> tuple[str, str]:
    """Colour and pattern of a network's state. Raises KeyError if `STATES` does not have it."""
    return STATES[state]


def patterned(colour: str | list[str], shape: str | list[str]) -> dict[str, Any]:
    """The look of a bar: pale fill, full outline, and a pattern with the same meaning."""
    fill = (
        translucent(colour, 0.35)
        if isinstance(colour, str)
        else [translucent(bar_colour, 0.35) for bar_colour in colour]
    )
    pattern = {"shape": shape, "fgcolor": colour, "fillmode": "overlay", "size": 7, "solidity": 0.2}
    return {"color": fill, "line": {"color": colour, "width": 1.5}, "pattern": pattern}


def level(
    figure: go.Figure, y: float, text: str, colour: str, at: str = "right", **panel: int
) -> None:
    """A dashed horizontal line with its name at one end.

    at: left or right; panel: row and col, in a figure with subplots.
    """
    label = {"text": text, "font_color": colour, "yanchor": "bottom"}
    line = {"color": colour, "width": 1.5, "dash": "dash"}
    figure.add_hline(y=y, line=line, annotation=label, annotation_position=f"top {at}", **panel)


def limit(figure: go.Figure, y: float, text: str) -> None:
    """A dashed horizontal line with its name: the worst value that the user allows."""
    label = {"text": text, "font_color": CHOSEN, "yanchor": "top"}
    line = {"color": CHOSEN, "width": 1.5, "dash": "dash"}
    figure.add_hline(y=y, line=line, annotation=label, annotation_position="bottom left")


def budget(figure: go.Figure, x: float) -> None:
    """A dashed vertical line with its name: how much may remain, or must be removed."""
    label = {"text": _("budget"), "font_color": CHOSEN, "xanchor": "left"}
    line = {"color": CHOSEN, "width": 1.5, "dash": "dash"}
    figure.add_vline(x=x, line=line, annotation=label, annotation_position="top right")


def whiskers(
    spans: Iterable[tuple[float, float, float]], unit: float, **look: object
) -> dict[str, Any]:
    """Intervals as error bars. spans: value, low and high end of each; unit: multiplies them all.

    look: of Plotly's error bars; `thickness` is 1 without it.
    """
    reach = [(unit * (high - value), unit * (value - low)) for value, low, high in spans]
    return {
        "array": [up for up, _ in reach],
        "arrayminus": [down for _, down in reach],
        "thickness": 1,
        **look,
    }


def interval_bars(evaluations: Iterable[Evaluation], unit: float, **look: object) -> dict[str, Any]:
    """The 95% intervals of evaluations as error bars, as `whiskers`."""
    return whiskers(
        ((evaluation.value, *evaluation.interval) for evaluation in evaluations), unit, **look
    )


def robust_limit(*weights: np.ndarray, percentile: float = 99.5) -> float:
    """The |weight| that gets the full colour: a percentile over all the tensors; never 0.

    One limit for several tensors gives them the same colour scale.
    """
    magnitudes = np.concatenate([np.abs(w[np.isfinite(w)]).ravel() for w in weights])
    limit = float(np.percentile(magnitudes, percentile)) if magnitudes.size else 0.0
    return limit if limit > 0 else 1.0


def _legend_of(figure: go.Figure) -> int:
    """The height of the figure's legend, in pixels; 0 without one."""
    names = [trace.name for trace in figure.data if trace.name and trace.showlegend is not False]
    asked = any(trace.showlegend for trace in figure.data)
    if figure.layout.showlegend is False or not names or (len(figure.data) < 2 and not asked):
        return 0
    return legend_height(names)


def legend_height(names: Sequence[str], width: int = NARROW) -> int:
    """The height of a legend with these names in a chart of that width, in pixels."""
    longest = max(sum(LETTERS[not letter.isascii()] for letter in name) for name in names)
    columns = max(1, width // (MARK + longest))
    return LINE * (1 + -(-len(names) // columns))


def whole_ticks(most: float) -> dict[str, Any]:
    """Looks of an axis of whole numbers, such as epochs, up to `most`: no tick between two."""
    return {"tickformat": "d", "dtick": 1 if most <= MAX_TICKS else None}
