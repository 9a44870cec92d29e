"""Training as it goes on: loss and accuracy over epochs."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.charts.palette import CHOSEN, KEPT, PRUNED_MODEL, TUNED, translucent
from explorer.charts.style import MOST_TICKS, finish, level, percent, state_label, state_look
from pruning_core.types import Epoch, Step

MAX_STEPS = 1500


def training_curves(
    events: Iterable[object],
    references: Mapping[str, float] | None = None,
    cuts: Mapping[float, float] | None = None,
    *,
    epochs: int | None = None,
) -> go.Figure:
    """Loss (each step, and per epoch) above accuracy on the validation split (with its 95%
    interval), over epochs.

    events: Step and Epoch, others are passed over; references: top-1 of states such as "dense" and
    "pruned", drawn as levels; cuts: top-1 right after each cut, by the epoch (epochs done by then)
    at which it was made; epochs: of the whole run, so that the axis does not grow while it goes on.
    """
    steps = []
    done = []
    for event in events:
        if isinstance(event, Step):
            steps.append(event)
        elif isinstance(event, Epoch):
            done.append(event)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07)
    _step_losses(figure, steps)
    _epoch_curves(figure, done)
    if cuts:
        mark = {
            "symbol": "x-thin-open",
            "size": 10,
            "color": state_look("pruned")[0],
            "line_width": 2,
        }
        figure.add_scatter(
            x=list(cuts),
            y=[100 * top1 for top1 in cuts.values()],
            mode="markers",
            marker=mark,
            name="after a cut",
            row=2,
            col=1,
        )
    if references:
        _references(figure, references, alone=not (done or cuts))
    figure.update_yaxes(title_text="loss", row=1, col=1, rangemode="tozero")
    figure.update_yaxes(title_text="top-1 accuracy, %", row=2, col=1)
    figure.update_xaxes(title_text="epoch", row=2, col=1)
    if epochs:
        figure.update_xaxes(
            range=[-0.03 * epochs, 1.03 * epochs], dtick=1 if 2 < epochs <= MOST_TICKS else None
        )
    best = max((e.evaluation.top1 for e in done), default=None)
    told = (
        "no epoch is done yet"
        if best is None
        else f"{len(done)} epochs done, best accuracy {percent(best)}"
    )
    return finish(figure, f"Training: {told}.", 480, "training")


def _references(figure: go.Figure, references: Mapping[str, float], *, alone: bool) -> None:
    """Levels of states. alone: there is nothing else yet, and lines by themselves do not make a
    panel be drawn.
    """
    if alone:
        top = 100 * max(references.values())
        figure.add_scatter(
            x=[0],
            y=[top],
            mode="markers",
            opacity=0,
            showlegend=False,
            hoverinfo="skip",
            name="none",
            row=2,
            col=1,
        )
    for state, top1 in references.items():
        text = f"{state_label(state)} {percent(top1)}"
        level(figure, 100 * top1, text, state_look(state)[0], row=2, col=1)


def _step_losses(figure: go.Figure, steps: Sequence[Step]) -> None:
    if not steps:
        return
    x = np.array([step.epoch - 1 + step.step / step.steps for step in steps])
    y = np.array([step.loss for step in steps])
    starts = np.arange(0, len(x), -(-len(x) // MAX_STEPS))
    counts = np.diff(np.append(starts, len(x)))
    x, y = (np.add.reduceat(values, starts) / counts for values in (x, y))
    line = {"color": translucent(KEPT, 0.6), "width": 1}
    text = "epoch %{x:.2f}<br>batch loss %{y:.3f}<extra></extra>"
    figure.add_scatter(
        x=x, y=y, mode="lines", line=line, name="batch loss", hovertemplate=text, row=1, col=1
    )


def _epoch_curves(figure: go.Figure, epochs: Sequence[Epoch]) -> None:
    if not epochs:
        return
    x = [e.epoch for e in epochs]
    losses = (
        ("training loss", [e.train_loss for e in epochs], KEPT, "solid", "circle"),
        ("validation loss", [e.evaluation.loss for e in epochs], PRUNED_MODEL, "dash", "square"),
    )
    for name, y, colour, dash, symbol in losses:
        look = {
            "line": {"color": colour, "width": 2, "dash": dash},
            "marker": {"symbol": symbol, "size": 7},
        }
        figure.add_scatter(x=x, y=y, mode="lines+markers", name=name, row=1, col=1, **look)
    top1 = np.array([e.evaluation.top1 for e in epochs])
    low, high = (np.array([e.evaluation.interval[side] for e in epochs]) for side in (0, 1))
    whisker = {
        "type": "data",
        "array": 100 * (high - top1),
        "arrayminus": 100 * (top1 - low),
        "thickness": 1.2,
        "width": 4,
    }
    look = {
        "line": {"color": TUNED, "width": 2},
        "marker": {"symbol": "diamond", "size": 8},
        "error_y": whisker,
    }
    figure.add_scatter(
        x=x, y=100 * top1, mode="lines+markers", name="validation accuracy", row=2, col=1, **look
    )
    best = max(range(len(epochs)), key=lambda n: (epochs[n].best, n))
    star = {"symbol": "star", "size": 16, "color": CHOSEN}
    figure.add_scatter(
        x=[x[best]],
        y=[100 * top1[best]],
        mode="markers",
        marker=star,
        name="best epoch",
        row=2,
        col=1,
    )
