"""Runs of the history: value against cost with the Pareto front, ratios, and training curves."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import plotly.graph_objects as go

from explorer.charts.curves import DASHES, MARKS
from explorer.charts.kept import kept
from explorer.charts.palette import CHOSEN, DENSE, KEPT, LAYERS
from explorer.charts.pareto import non_dominated
from explorer.charts.style import finish, level, whiskers, whole_ticks
from explorer.texts.formats import axis_title, scale, value_text
from explorer.texts.run_words import COSTS, SPLITS, kind_words, run_title
from explorer.texts.translate import _, from_core, n_
from pruning_core.history import Run, Value
from pruning_core.history.run import TEST
from pruning_core.history.tensors import Curves
from pruning_core.tasks import Task

KINDS = ("plan", "tune", "flow", "run", "study_run", "search", "candidate")
"""Kinds of runs that have a value, each with its own colour and mark."""
MOST_WHISKERS = 60
"""Above this number of runs, intervals are in the hover text only."""


@kept
def cost_chart(runs: Sequence[Run], cost: str, task: Task, chosen: Sequence[str] = ()) -> go.Figure:
    """The value of every run over what remains of a cost, with the Pareto front.

    A filled mark was measured on the test split, an open one on the probe; the front
    is that of the split with more runs. A point's customdata is the run's id.
    runs: those with a value and this cost; chosen: ids of runs to mark.
    """
    figure = go.Figure()
    unit = scale(task)
    shown = [run for run in runs if run.final is not None and cost in run.costs]
    looks = dict(zip(KINDS, zip(cycle(LAYERS), cycle(MARKS), strict=False), strict=False))
    for kind in KINDS:
        for split in SPLITS:
            alike = [run for run in shown if run.kind == kind and _split(run) == split]
            if alike:
                _add_runs(figure, alike, cost, task, looks[kind], len(shown) <= MOST_WHISKERS)
    front = pareto_front(shown, cost, task)
    figure.add_scatter(
        x=[100 * run.costs[cost] for run in front],
        y=[unit * _value(run) for run in front],
        mode="lines",
        name=_("Pareto front"),
        line={"color": KEPT, "width": 1.5, "shape": "hv"},
        hoverinfo="skip",
    )
    _mark(figure, [run for run in shown if run.id in chosen], cost, unit)
    dense = [run.values["dense"] for run in front if "dense" in run.values]
    if dense:
        value = value_text(dense[0].value, task)
        words = _("dense {value}, {split}", value=value, split=_(SPLITS[dense[0].split]))
        level(figure, unit * dense[0].value, words, DENSE, at="left")  # runs are at the right
    figure.update_xaxes(
        title_text=_("remaining {cost}, %", cost=_cost_words(cost)), rangemode="tozero"
    )
    figure.update_yaxes(title_text=axis_title(task))
    sentence = _cost_sentence(shown, front, cost, task)
    return finish(figure, sentence, 400, f"runs {cost} {task.name}")


def _cost_sentence(shown: Sequence[Run], front: Sequence[Run], cost: str, task: Task) -> str:
    values = {"cost": _cost_words(cost), "front": len(front)}
    if not front:
        return n_(
            "{n} run over the remaining {cost}, {front} on the front.",
            "{n} runs over the remaining {cost}, {front} on the front.",
            len(shown),
            **values,
        )
    best = max(front, key=lambda run: task.sign * _value(run))
    return n_(
        "{n} run over the remaining {cost}, {front} on the front; the best value is {best}.",
        "{n} runs over the remaining {cost}, {front} on the front; the best value is {best}.",
        len(shown),
        best=value_text(_value(best), task),
        **values,
    )


def _mark(figure: go.Figure, runs: Sequence[Run], cost: str, unit: float) -> None:
    """A ring around each of these runs."""
    if runs:
        figure.add_scatter(
            x=[100 * run.costs[cost] for run in runs],
            y=[unit * _value(run) for run in runs],
            mode="markers",
            name=_("selected"),
            marker={"symbol": "circle-open", "size": 17, "color": CHOSEN, "line": {"width": 2.5}},
            hoverinfo="skip",
        )


def _cost_words(cost: str) -> str:
    label = _(COSTS[cost])
    return label if label == "MACs" else label.lower()


def _value(run: Run) -> float:
    assert run.final is not None
    return run.final.value


def _split(run: Run) -> str:
    return "" if run.final is None else run.final.split


def _add_runs(
    figure: go.Figure,
    runs: Sequence[Run],
    cost: str,
    task: Task,
    look: tuple[str, str],
    intervals: bool,
) -> None:
    """The runs of one kind and split. intervals: draw them too."""
    unit = scale(task)
    colour, mark = look
    split = _split(runs[0])
    test = split == TEST
    kind = kind_words(runs[0])
    share = _("{ratio} of the {cost}", ratio="%{x:.1f}%", cost=_cost_words(cost))
    finals = [run.final for run in runs if run.final is not None]
    spans = [(final.value, final.low, final.high) for final in finals]
    figure.add_scatter(
        x=[100 * run.costs[cost] for run in runs],
        y=[unit * final.value for final in finals],
        error_y=whiskers(spans, unit, width=3, color=colour) if intervals else None,
        mode="markers",
        name=_("{kind}, {split}", kind=kind, split=_(SPLITS[split])),
        marker={"color": colour, "symbol": mark if test else f"{mark}-open", "size": 9},
        customdata=[[run.id] for run in runs],
        text=[_run_words(run, final, task) for run, final in zip(runs, finals, strict=True)],
        hovertemplate=f"%{{text}}<br>{share}<extra></extra>",
    )


def _run_words(run: Run, final: Value, task: Task) -> str:
    """What a run is and its value, for the hover text."""
    value = _(
        "{value} (95%: {low} to {high}), n = {n}",
        value=value_text(final.value, task),
        low=value_text(final.low, task),
        high=value_text(final.high, task),
        n=f"{final.n:,}",
    )
    return f"<b>{run_title(run)}</b><br>{from_core(task.short_label)} {value}"


def pareto_front(runs: Sequence[Run], cost: str, task: Task) -> list[Run]:
    """The runs that no other one beats in both value and cost, by rising cost.

    Of the split that more of them were measured on: values of two splits are not comparable.
    """
    splits = [_split(run) for run in runs]
    split = max(SPLITS, key=splits.count)
    comparable = [run for run in runs if _split(run) == split]
    return non_dominated(
        comparable, lambda run: run.costs[cost], lambda run: task.sign * _value(run)
    )


@kept
def removed_lines(removed: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """The fraction removed from each layer, a line per run. removed: run -> layer -> fraction."""
    figure = go.Figure()
    share = _("{ratio} removed", ratio="%{y:.1f}%")
    layers = list(dict.fromkeys(name for ratios in removed.values() for name in ratios))
    looks = zip(cycle(LAYERS), cycle(DASHES), cycle(MARKS), strict=False)
    for (name, ratios), (colour, dash, mark) in zip(removed.items(), looks, strict=False):
        figure.add_scatter(
            x=layers,
            y=[100 * ratios[layer] if layer in ratios else None for layer in layers],
            mode="lines+markers",
            name=name,
            line={"color": colour, "dash": dash, "width": 2},
            marker={"symbol": mark, "size": 7},
            hovertemplate=f"<b>{name}</b><br>%{{x}}: {share}<extra></extra>",
        )
    figure.update_yaxes(title_text=_("removed, %"), range=[0, 102])
    figure.update_xaxes(type="category", tickangle=-40)
    sentence = _(
        "The fraction removed from each of {layers} layers in {n} runs.",
        layers=len(layers),
        n=len(removed),
    )
    return finish(figure, sentence, 360, "runs ratios")


@kept
def epoch_lines(curves: Mapping[str, Curves], task: Task) -> go.Figure:
    """The validation value after each epoch, a line per run."""
    figure = go.Figure()
    unit = scale(task)
    looks = zip(cycle(LAYERS), cycle(DASHES), cycle(MARKS), strict=False)
    for (name, curve), (colour, dash, mark) in zip(curves.items(), looks, strict=False):
        spans = [(row[3], row[4], row[5]) for row in curve.epochs]
        figure.add_scatter(
            x=[row[0] for row in curve.epochs],
            y=[unit * row[3] for row in curve.epochs],
            error_y=whiskers(spans, unit, width=3, color=colour),
            mode="lines+markers",
            name=name,
            line={"color": colour, "dash": dash, "width": 2},
            marker={"symbol": mark, "size": 7},
        )
    most = max((len(curve.epochs) for curve in curves.values()), default=0)
    figure.update_xaxes(whole_ticks(most), title_text=_("epoch"))
    figure.update_yaxes(title_text=_("validation {value}", value=axis_title(task)))
    sentence = _(
        "The validation value of {n} runs over up to {epochs} epochs.",
        n=len(curves),
        epochs=most,
    )
    return finish(figure, sentence, 360, "runs epochs")
