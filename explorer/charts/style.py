"""What all figures have in common: no background of their own, quiet grids, and a sentence that
says what they show.
"""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from explorer.charts.palette import AXIS, GRID, STATES, translucent

CLEAR = "rgba(0, 0, 0, 0)"
MOST_TICKS = 16
"""So many whole numbers have a tick each."""
LABELS = {
    "dense": "dense",
    "pruned": "pruned",
    "recalibrated": "BN recalibrated",
    "tuned": "fine-tuned",
}
AXES: dict[str, Any] = {
    "gridcolor": GRID,
    "linecolor": AXIS,
    "zerolinecolor": AXIS,
    "zeroline": False,
    "showline": True,
    "ticks": "outside",
    "tickcolor": AXIS,
    "ticklen": 4,
    "title_standoff": 14,
    "automargin": True,
}


def finish(figure: go.Figure, sentence: str, height: int, revision: str) -> go.Figure:
    """The common look. revision: while it stays the same, zoom and hidden legend entries survive
    new data.
    """
    figure.update_layout(
        height=height,
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "title_text": ""},
        font_size=13,
        hoverlabel_align="left",
        dragmode="pan",
        uirevision=revision,
        meta={"alt": sentence},
    )
    figure.update_xaxes(AXES, overwrite=False)
    figure.update_yaxes(AXES, overwrite=False)
    return figure


def alt(figure: go.Figure) -> str:
    """What the figure shows, in one sentence."""
    return str(figure.layout.meta["alt"])


def state_label(state: str) -> str:
    """How a model's state is called on the page."""
    return LABELS.get(state, state)


def state_look(state: str) -> tuple[str, str]:
    """Colour and pattern of a model's state. Raises KeyError for a state that palette.STATES does
    not name.
    """
    return STATES[state]


def patterned(colour: str | list[str], shape: str | list[str]) -> dict[str, Any]:
    """A bar's look: pale body, full outline, and a pattern that says the same as the colour."""
    body = (
        translucent(colour, 0.35)
        if isinstance(colour, str)
        else [translucent(one, 0.35) for one in colour]
    )
    pattern = {"shape": shape, "fgcolor": colour, "fillmode": "overlay", "size": 7, "solidity": 0.2}
    return {"color": body, "line": {"color": colour, "width": 1.5}, "pattern": pattern}


def level(figure: go.Figure, y: float, text: str, colour: str, **place: int) -> None:
    """A dashed line across with its name. place: row and column of a figure that has several."""
    note = {"text": text, "font_color": colour, "yanchor": "bottom"}
    line = {"color": colour, "width": 1.5, "dash": "dash"}
    figure.add_hline(y=y, line=line, annotation=note, annotation_position="top right", **place)


def robust_limit(*weights: np.ndarray, percentile: float = 99.5) -> float:
    """The |weight| of full colour: a percentile over all the tensors, so that before and after
    share one scale; never 0.
    """
    magnitudes = np.concatenate([np.abs(w[np.isfinite(w)]).ravel() for w in weights])
    limit = float(np.percentile(magnitudes, percentile)) if magnitudes.size else 0.0
    return limit if limit > 0 else 1.0


def percent(fraction: float) -> str:
    """0.9234 -> "92.3%"; never 100.0% for what is not quite."""
    text = f"{100 * fraction:.1f}"
    return f"{100 * fraction:.3f}%" if float(text) >= 100 and fraction < 1 else f"{text}%"
