"""Loss and accuracy over the epochs of a training, also while it runs."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.charts.palette import CHOSEN, KEPT, PRUNED_MODEL, TUNED, translucent
from explorer.charts.style import finish, interval_bars, level, state_label, state_look, whole_ticks
from explorer.texts.formats import axis_title, scale, value_text
from explorer.texts.translate import _, from_core
from pruning_core.tasks import CLASSIFICATION, Task
from pruning_core.types import Epoch, Step

MAX_STEPS = 1500
"""Most points of the curve of the batch loss; each is a mean of several steps."""


def training_curves(
    events: Iterable[object],
    references: Mapping[str, float] | None = None,
    pruned: Mapping[float, float] | None = None,
    *,
    epochs: int | None = None,
    task: Task = CLASSIFICATION,
) -> go.Figure:
    """Two panels over the epochs: loss per step and per epoch, and the validation value.

    The value has its 95% interval.

    events: Step and Epoch; others are ignored.
    references: values of states such as "dense" and "pruned", drawn as levels.
    pruned: value after each pruning step, by the number of epochs done before it.
    epochs: of the whole run; the axis then has its final length from the start. task: of the
    values.
    """
    steps = []
    finished = []
    for event in events:
        if isinstance(event, Step):
            steps.append(event)
        elif isinstance(event, Epoch):
            finished.append(event)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07)
    _add_step_losses(figure, steps)
    if finished:
        _add_epoch_losses(figure, finished)
        _add_values(figure, finished, task)
    if pruned:
        _add_pruned(figure, pruned, task)
    if references:
        _add_references(figure, references, task, alone=not (finished or pruned))
    last = max((*(step.epoch for step in steps), len(finished), 1))
    _set_axes(figure, epochs or last, task)
    if epochs:
        figure.update_xaxes(range=[-0.03 * epochs, 1.03 * epochs])
    return finish(figure, _sentence(finished, task), 480, "training")


def _set_axes(figure: go.Figure, epochs: int, task: Task) -> None:
    figure.update_yaxes(title_text=_("loss"), row=1, col=1, rangemode="tozero")
    figure.update_yaxes(title_text=axis_title(task), row=2, col=1)
    figure.update_xaxes(whole_ticks(epochs))
    figure.update_xaxes(title_text=_("epoch"), row=2, col=1)


def _sentence(epochs: Sequence[Epoch], task: Task) -> str:
    if not epochs:
        return _("Training: no epoch is finished yet.")
    best = task.sign * max(task.sign * epoch.evaluation.value for epoch in epochs)
    value = f"{from_core(task.value_label)} {value_text(best, task)}"
    return _("Training: {n} epochs finished, best {value}.", n=len(epochs), value=value)


def _add_pruned(figure: go.Figure, pruned: Mapping[float, float], task: Task) -> None:
    colour = state_look("pruned")[0]
    figure.add_scatter(
        x=list(pruned),
        y=[scale(task) * value for value in pruned.values()],
        mode="markers",
        marker={"symbol": "x-thin-open", "size": 10, "color": colour, "line_width": 2},
        name=_("after pruning"),
        row=2,
        col=1,
    )


def _add_references(
    figure: go.Figure, references: Mapping[str, float], task: Task, *, alone: bool
) -> None:
    """Levels of states. alone: the panel has nothing else.

    Plotly does not draw a panel that has only lines without data, so it gets an invisible point.
    """
    if alone:
        figure.add_scatter(
            x=[0],
            y=[scale(task) * max(references.values())],
            mode="markers",
            opacity=0,
            showlegend=False,
            hoverinfo="skip",
            name="none",
            row=2,
            col=1,
        )
    for state, value in references.items():
        text = f"{state_label(state)} {value_text(value, task)}"
        level(figure, scale(task) * value, text, state_look(state)[0], row=2, col=1)


def _add_step_losses(figure: go.Figure, steps: Sequence[Step]) -> None:
    if not steps:
        return
    starts = np.arange(0, len(steps), -(-len(steps) // MAX_STEPS))
    counts = np.diff(np.append(starts, len(steps)))
    epochs = np.array([step.epoch - 1 + step.step / step.steps for step in steps])
    losses = np.array([step.loss for step in steps])
    hover = _("epoch {n}", n="%{x:.2f}") + "<br>" + _("batch loss {loss}", loss="%{y:.3f}")
    figure.add_scatter(
        x=np.add.reduceat(epochs, starts) / counts,
        y=np.add.reduceat(losses, starts) / counts,
        mode="lines",
        line={"color": translucent(KEPT, 0.6), "width": 1},
        name=_("batch loss"),
        hovertemplate=f"{hover}<extra></extra>",
        row=1,
        col=1,
    )


def _add_epoch_losses(figure: go.Figure, epochs: Sequence[Epoch]) -> None:
    training = [epoch.train_loss for epoch in epochs]
    validation = [epoch.evaluation.loss for epoch in epochs]
    for name, losses, colour, dash, symbol in (
        (_("training loss"), training, KEPT, "solid", "circle"),
        (_("validation loss"), validation, PRUNED_MODEL, "dash", "square"),
    ):
        figure.add_scatter(
            x=[epoch.epoch for epoch in epochs],
            y=losses,
            mode="lines+markers",
            name=name,
            line={"color": colour, "width": 2, "dash": dash},
            marker={"symbol": symbol, "size": 7},
            row=1,
            col=1,
        )


def _add_values(figure: go.Figure, epochs: Sequence[Epoch], task: Task) -> None:
    """Validation values with their 95% intervals, and a star at the best epoch."""
    x = [epoch.epoch for epoch in epochs]
    unit = scale(task)
    evaluations = [epoch.evaluation for epoch in epochs]
    values = [unit * evaluation.value for evaluation in evaluations]
    figure.add_scatter(
        x=x,
        y=values,
        mode="lines+markers",
        name=_("validation {value}", value=from_core(task.value_label)),
        line={"color": TUNED, "width": 2},
        marker={"symbol": "diamond", "size": 8},
        error_y=interval_bars(evaluations, unit, thickness=1.2, width=4),
        row=2,
        col=1,
    )
    best = max(range(len(epochs)), key=lambda index: (epochs[index].best, index))
    figure.add_scatter(
        x=[x[best]],
        y=[values[best]],
        mode="markers",
        marker={"symbol": "star", "size": 16, "color": CHOSEN},
        name=_("best epoch"),
        row=2,
        col=1,
    )
