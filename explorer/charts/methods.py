"""Methods against each other: accuracy over compression or over the theoretical speed-up, with the
spread over seeds.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import plotly.graph_objects as go

from explorer.charts.curves import DASHES, MARKS, MAX_BANDS
from explorer.charts.palette import BASELINE, DEPTH, LAYERS, between
from explorer.charts.style import finish, level, percent
from pruning_core.studies import Row

AXES = {
    "compression": "compression: parameters / parameters left",
    "speedup": "theoretical speed-up: MACs / MACs left",
}
"""What the rows can be drawn over."""
LONG_DASHES = ("longdash", "longdashdot")


def tradeoff(
    rows: Mapping[str, Sequence[Row]], over: str = "compression", state: str = "after"
) -> go.Figure:
    """One line per method: mean top-1 in %, "before" or "after" fine-tuning, over a logarithmic
    axis (`AXES`).

    rows: by the method's name, by rising compression; whiskers: one standard deviation over seeds;
    dashed: the dense network. Raises KeyError for another axis.
    """
    figure = go.Figure()
    title = AXES[over]
    colours = LAYERS if len(rows) <= len(LAYERS) else between(DEPTH, len(rows))
    for (name, curve), colour, dash, mark in zip(
        rows.items(), cycle(colours), cycle((*DASHES, *LONG_DASHES)), cycle(MARKS), strict=False
    ):
        _method(
            figure, name, curve, over, state, {"color": colour, "dash": dash, "width": 2.2}, mark
        )
    everything = [row for curve in rows.values() for row in curve]
    if everything:
        dense = everything[0].initial
        level(figure, 100 * dense, f"dense {percent(dense)}", BASELINE)
    _powers_of_two(figure, max((getattr(row, over) for row in everything), default=2.0))
    figure.update_xaxes(title_text=title)
    figure.update_yaxes(title_text="top-1 accuracy, %")
    finish(figure, _told(rows, over, state), 440, f"methods {over} {state}")
    if len(rows) > MAX_BANDS:
        figure.update_layout(
            legend={"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top", "font_size": 11},
            height=520,
        )
    return figure


def _value(row: Row, state: str) -> tuple[float, float | None]:
    return (row.after, row.spread) if state == "after" else (row.before, row.before_spread)


def _method(
    figure: go.Figure,
    name: str,
    curve: Sequence[Row],
    over: str,
    state: str,
    line: Mapping[str, object],
    mark: str,
) -> None:
    values = [_value(row, state) for row in curve]
    spreads = [100 * (spread or 0.0) for _, spread in values]
    facts = [
        [
            f"± {100 * spread:.1f}" if spread is not None else "(one seed)",
            row.compression,
            row.speedup,
            f"{row.macs:,.0f}",
            row.seeds,
        ]
        for row, (_, spread) in zip(curve, values, strict=True)
    ]
    figure.add_scatter(
        x=[getattr(row, over) for row in curve],
        y=[100 * mean for mean, _ in values],
        error_y={
            "type": "data",
            "array": spreads,
            "thickness": 1.4,
            "width": 5,
            "color": line["color"],
        },
        mode="lines+markers",
        name=name,
        line=line,
        marker={"symbol": mark, "size": 8},
        customdata=facts,
        hovertemplate=f"<b>{name}</b><br>top-1 %{{y:.1f}}% %{{customdata[0]}}<br>compression %{{customdata[1]:.2f}}×, "
        "speed-up %{customdata[2]:.2f}× (%{customdata[3]} MACs left)<br>seeds: %{customdata[4]}<extra></extra>",
    )


def _powers_of_two(figure: go.Figure, most: float) -> None:
    """A logarithmic axis from the dense network, at 1, on, with a tick at each power of two."""
    ticks = [2**k for k in range(max(1, int(most * 1.2)).bit_length())]
    figure.update_xaxes(
        type="log", tickvals=ticks, ticktext=[f"{tick}×" for tick in ticks], minor_showgrid=False
    )


def _told(rows: Mapping[str, Sequence[Row]], over: str, state: str) -> str:
    """The best method at the most demanding point that all methods with results have in common, or
    else just the count.
    """
    if not any(rows.values()):
        return "No method is measured yet."
    common = set.intersection(*({row.asked for row in curve} for curve in rows.values() if curve))
    start = (
        f"Accuracy of {len(rows)} methods over {AXES[over].partition(':')[0]}, {state} fine-tuning"
    )
    if not common:
        return f"{start}."
    at = max(common)
    best = max(
        ((name, row) for name, curve in rows.items() for row in curve if row.asked == at),
        key=lambda e: _value(e[1], state)[0],
    )
    return f"{start}; at {at:g}× {best[0]} is highest, {percent(_value(best[1], state)[0])}."
