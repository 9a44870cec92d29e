"""The value of pruning methods over compression or speed-up, with the spread over seeds."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import cycle

import plotly.graph_objects as go

from explorer.charts.curves import DASHES, MARKS
from explorer.charts.kept import kept
from explorer.charts.palette import BASELINE, of_lines
from explorer.charts.style import finish, label_ends, level
from explorer.texts.formats import axis_title, scale, value_text
from explorer.texts.formats import title as title_of
from explorer.texts.translate import N_, _, from_core
from pruning_core.studies import Row
from pruning_core.tasks import CLASSIFICATION, Task

AXES = {
    "compression": N_("compression: parameters / parameters left"),
    "speedup": N_("theoretical speed-up: MACs / MACs left"),
    "storage": N_("storage: dense bytes / bytes in the smallest sparse format"),
    "measured_speedup": N_("measured: dense time / time of the pruned network"),
}
"""A field of Row that can be the x axis -> its title in English."""
LONG_DASHES = ("longdash", "longdashdot")


@kept
def tradeoff(
    rows: Mapping[str, Sequence[Row]], over: str = "compression", state: str = "after"
) -> go.Figure:
    """One line per method, with its name at the end: the task's mean value, on a logarithmic axis.

    Whiskers: one standard deviation over seeds. Dashed line: the dense network.

    rows: by the method's name, by increasing compression.
    over: a key of `AXES`. Raises KeyError for another one.
    state: "before" or "after" fine-tuning.
    """
    figure = go.Figure()
    title = _(AXES[over])
    looks = zip(of_lines(len(rows)), cycle((*DASHES, *LONG_DASHES)), cycle(MARKS), strict=False)
    ends = []
    for (name, curve), (colour, dash, mark) in zip(rows.items(), looks, strict=False):
        line = {"color": colour, "dash": dash, "width": 2.2}
        _add_method(figure, name, curve, over, state, line, mark)
        if curve:
            last = scale(curve[-1].task) * _value(curve[-1], state)[0]
            ends.append((name, float(getattr(curve[-1], over)), last, colour))
    all_rows = [row for curve in rows.values() for row in curve]
    task = all_rows[0].task if all_rows else CLASSIFICATION
    if all_rows:
        dense = all_rows[0].initial
        level(
            figure, scale(task) * dense, _("dense {value}", value=value_text(dense, task)), BASELINE
        )
    _set_log_axis(figure, [float(getattr(row, over)) for row in all_rows])
    figure.update_xaxes(title_text=title)
    figure.update_yaxes(title_text=axis_title(task))
    figure.update_layout(showlegend=False)
    finish(figure, _sentence(rows, over, state, task), 440, f"methods {over} {state}")
    label_ends(figure, ends)
    return figure


def _value(row: Row, state: str) -> tuple[float, float | None]:
    """Mean value and its standard deviation, before or after fine-tuning."""
    return (row.after, row.spread) if state == "after" else (row.before, row.before_spread)


def _add_method(
    figure: go.Figure,
    name: str,
    curve: Sequence[Row],
    over: str,
    state: str,
    line: Mapping[str, object],
    mark: str,
) -> None:
    values = [_value(row, state) for row in curve]
    task = curve[0].task if curve else CLASSIFICATION
    shown = "%{y:.1f}%" if task.percent else "%{y:.4g}"
    costs = _(
        "compression {compression}, speed-up {speedup} ({macs} MACs left)",
        compression="%{customdata[1]:.2f}×",
        speedup="%{customdata[2]:.2f}×",
        macs="%{customdata[3]}",
    )
    seeds = _("seeds: {seeds}", seeds="%{customdata[4]}")
    whisker = {
        "type": "data",
        "array": [scale(task) * (spread or 0.0) for _, spread in values],
        "thickness": 1.4,
        "width": 5,
        "color": line["color"],
    }
    figure.add_scatter(
        x=[getattr(row, over) for row in curve],
        y=[scale(task) * mean for mean, _ in values],
        error_y=whisker,
        mode="lines+markers",
        name=name,
        line=line,
        marker={"symbol": mark, "size": 8},
        customdata=[_hover_values(row, state) for row in curve],
        hovertemplate=f"<b>{name}</b><br>{from_core(task.short_label)} {shown} %{{customdata[0]}}"
        f"<br>{costs}<br>{seeds}<extra></extra>",
    )


def _hover_values(row: Row, state: str) -> list[object]:
    spread = _value(row, state)[1]
    digits = ".1f" if row.task.percent else ".3g"
    deviation = _("(one seed)") if spread is None else f"± {scale(row.task) * spread:{digits}}"
    return [deviation, row.compression, row.speedup, f"{row.macs:,.0f}", row.seeds]


def _set_log_axis(figure: go.Figure, values: Sequence[float]) -> None:
    """A logarithmic x axis with ticks at powers of two, the dense network's 1 among them."""
    first = math.floor(math.log2(min(1.0, *values) if values else 1.0))
    last = max(1, int(max(values, default=2.0) * 1.2)).bit_length()
    ticks = [2.0**power for power in range(first, last)]
    figure.update_xaxes(
        type="log", tickvals=ticks, ticktext=[f"{tick:g}×" for tick in ticks], minor_showgrid=False
    )


def _sentence(rows: Mapping[str, Sequence[Row]], over: str, state: str, task: Task) -> str:
    """The best method at the highest compression that all methods with results have."""
    if not any(rows.values()):
        return _("No method is measured yet.")
    values = {
        "value": title_of(task),
        "n": len(rows),
        "axis": re.split("[:：]", _(AXES[over]))[0],
    }
    start = (
        _("{value} of {n} methods over {axis}, after fine-tuning", **values)
        if state == "after"
        else _("{value} of {n} methods over {axis}, before fine-tuning", **values)
    )
    common = set.intersection(*({row.asked for row in curve} for curve in rows.values() if curve))
    if not common:
        return _("{start}.", start=start)
    highest = max(common)
    candidates = {
        name: _value(row, state)[0]
        for name, curve in rows.items()
        for row in curve
        if row.asked == highest
    }
    best = max(candidates, key=lambda name: task.sign * candidates[name])
    ends = {"start": start, "compression": f"{highest:g}×", "name": best}
    ends["value"] = value_text(candidates[best], task)
    if task.higher_is_better:
        return _("{start}; at {compression} {name} is highest, {value}.", **ends)
    return _("{start}; at {compression} {name} is lowest, {value}.", **ends)
