"""Searches for ratios: the best value so far, every candidate with the Pareto front, ratios."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle

import plotly.graph_objects as go

from explorer.charts.curves import DASHES, MARKS
from explorer.charts.kept import kept
from explorer.charts.palette import (
    BASELINE,
    CHOSEN,
    DENSE,
    KEPT,
    LAYERS,
    PRUNED_MODEL,
    RECALIBRATED,
)
from explorer.charts.pareto import non_dominated
from explorer.charts.style import (
    budget,
    finish,
    legend_height,
    level,
    patterned,
    whole_ticks,
)
from explorer.texts.formats import axis_title, decimal_percent, listed, scale, value_text
from explorer.texts.translate import N_, _, from_core
from pruning_core.search import Candidate
from pruning_core.search.correlation import Trial
from pruning_core.tasks import Task

Searches = Mapping[str, Sequence[Candidate]]
"""Name of a search -> its candidates, in the order of measurement."""
FRONT = N_("Pareto front")
SHOWN = N_("shown below")
PLOT = 324
"""Height of a plot without its legend, in pixels."""
NARROW = 350
"""A chart may be so narrow, in pixels: two are side by side."""
BASELINE_DASHES = ("dot", "dashdot")


def best_so_far_chart(
    searches: Searches, baselines: Mapping[str, float], dense: float, task: Task
) -> go.Figure:
    """The value of the best candidate within the budget, over the evaluations of each search.

    baselines: values at the same budget without a search, by name; dense: of the whole network.
    """
    unit = scale(task)
    figure = go.Figure()
    looks = zip(cycle(LAYERS), cycle(DASHES), strict=True)
    for (name, candidates), (colour, dash) in zip(searches.items(), looks, strict=False):
        numbers, values = _best_so_far(candidates)
        figure.add_scatter(
            x=numbers,
            y=[unit * value for value in values],
            name=name,
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2.5, "shape": "hv"},
        )
    last = max((len(candidates) for candidates in searches.values()), default=1)
    for (name, value), dash in zip(baselines.items(), cycle(BASELINE_DASHES), strict=False):
        figure.add_scatter(
            x=[1, max(2, last)],
            y=[unit * value] * 2,
            name=name,
            mode="lines",
            line={"color": BASELINE, "dash": dash, "width": 2},
        )
    level(figure, unit * dense, _("dense"), DENSE)
    figure.update_xaxes(whole_ticks(last), title_text=_("evaluations"))
    figure.update_yaxes(title_text=_("best so far, {value}", value=axis_title(task)))
    sentence = _best_sentence(searches, baselines, task)
    return _finish(figure, sentence, (*searches, *baselines), "search best")


def _finish(figure: go.Figure, sentence: str, named: Iterable[str], revision: str) -> go.Figure:
    """`finish`, with the legend above the plot of a narrow chart.

    Without it a legend of many lines covers the plot. Charts with the same names have the same
    height, because they are side by side.
    """
    height = legend_height((*named, _(FRONT), _(SHOWN)), NARROW)
    return finish(figure, sentence, PLOT + height, revision).update_layout(margin_t=height)


def _best_so_far(candidates: Sequence[Candidate]) -> tuple[list[int], list[float]]:
    """Evaluations and values at each improvement, then at the last evaluation."""
    better = [candidate for candidate in candidates if candidate.best]
    numbers = [candidate.number for candidate in better]
    values = [candidate.judged.value for candidate in better]
    if better:
        numbers.append(candidates[-1].number)
        values.append(values[-1])
    return numbers, values


def _best_sentence(searches: Searches, baselines: Mapping[str, float], task: Task) -> str:
    parts = [
        _(
            "{name} {value} after {n}",
            name=name,
            value=value_text(values[-1], task),
            n=len(candidates),
        )
        for name, candidates in searches.items()
        if (values := _best_so_far(candidates)[1])
    ]
    parts += [f"{name} {value_text(value, task)}" for name, value in baselines.items()]
    return _(
        "Best {name} of {n} searches: {values}.",
        name=from_core(task.short_label),
        n=len(searches),
        values=listed(parts),
    )


def candidates_chart(
    searches: Searches,
    baselines: Mapping[str, Candidate],
    cost: tuple[str, str],
    keep: float | None,
    chosen: Candidate | None,
    task: Task,
) -> go.Figure:
    """Every candidate's value over what remains of a cost, with the Pareto front of them all.

    A point's customdata is the place of its search and the candidate's number.
    cost: its name in `Candidate.costs`, and its words; keep: the budget of this cost, if it has
    one; chosen: the candidate that the page shows.
    """
    unit = scale(task)
    figure = go.Figure()
    _add_points(figure, searches, cost, task)
    every = [c for candidates in searches.values() for c in candidates]
    front = pareto_front(every, cost[0])
    figure.add_scatter(
        x=[100 * c.costs[cost[0]] for c in front],
        y=[unit * c.judged.value for c in front],
        name=_(FRONT),
        mode="lines",
        line={"color": KEPT, "width": 1.5, "shape": "hv"},
        hoverinfo="skip",
    )
    _add_baselines(figure, baselines, cost[0], unit)
    if chosen is not None:
        _add_star(figure, chosen, cost[0], unit)
    if keep is not None:
        budget(figure, 100 * keep)
    figure.update_xaxes(title_text=_("remaining {cost}, %", cost=cost[1]))
    figure.update_yaxes(title_text=axis_title(task))
    sentence = _candidates_sentence(len(every), cost[1], len(front))
    return _finish(figure, sentence, (*searches, *baselines), f"search candidates {cost[0]}")


def _candidates_sentence(n: int, cost: str, front: int) -> str:
    return _(
        "{n} candidates over the remaining {cost}; {front} on the front.",
        n=n,
        cost=cost,
        front=front,
    )


def _add_points(figure: go.Figure, searches: Searches, cost: tuple[str, str], task: Task) -> None:
    unit = scale(task)
    candidate = _("candidate {n} ({origin})", n="%{customdata[1]}", origin="%{customdata[2]}")
    share = _("{ratio} of the {cost}", ratio="%{x:.1f}%", cost=cost[1])
    looks = zip(cycle(LAYERS), cycle(MARKS), strict=True)
    for place, ((name, candidates), (colour, mark)) in enumerate(
        zip(searches.items(), looks, strict=False)
    ):
        figure.add_scatter(
            x=[100 * c.costs[cost[0]] for c in candidates],
            y=[unit * c.judged.value for c in candidates],
            customdata=[[place, c.number, from_core(c.origin)] for c in candidates],
            name=name,
            mode="markers",
            marker={"color": colour, "symbol": mark, "size": 7, "opacity": 0.6},
            hovertemplate=f"<b>{name}</b>, {candidate}<br>"
            f"{from_core(task.short_label)} %{{y:.4g}}, {share}<extra></extra>",
        )


def pareto_front(candidates: Sequence[Candidate], cost: str) -> list[Candidate]:
    """The candidates that no other one beats in both value and cost, by rising cost."""
    return non_dominated(candidates, lambda c: c.costs[cost], lambda c: c.judged.score)


def _add_baselines(
    figure: go.Figure, baselines: Mapping[str, Candidate], cost: str, unit: float
) -> None:
    for (name, candidate), symbol in zip(
        baselines.items(), cycle(("diamond", "square")), strict=False
    ):
        figure.add_scatter(
            x=[100 * candidate.costs[cost]],
            y=[unit * candidate.judged.value],
            name=name,
            mode="markers",
            marker={"color": BASELINE, "symbol": symbol, "size": 11},
        )


def _add_star(figure: go.Figure, candidate: Candidate, cost: str, unit: float) -> None:
    figure.add_scatter(
        x=[100 * candidate.costs[cost]],
        y=[unit * candidate.judged.value],
        name=_(SHOWN),
        mode="markers",
        marker={"symbol": "star", "size": 15, "color": CHOSEN},
        hoverinfo="skip",
    )


def extra_chart(searches: Searches, name: str) -> go.Figure:
    """A method's own number, such as the agent's reward, over the evaluations."""
    figure = go.Figure()
    for (search, candidates), colour in zip(searches.items(), cycle(LAYERS), strict=False):
        own = [c for c in candidates if name in c.extra]
        if own:
            figure.add_scatter(
                x=[c.number for c in own],
                y=[c.extra[name] for c in own],
                name=search,
                mode="lines",
                line={"color": colour, "width": 1.5},
            )
    last = max((len(candidates) for candidates in searches.values()), default=1)
    figure.update_xaxes(whole_ticks(last), title_text=_("evaluations"))
    label = from_core(name)
    figure.update_yaxes(title_text=label)
    values = [c.extra[name] for cs in searches.values() for c in cs if name in c.extra]
    sentence = _("{name} over {n} evaluations.", name=label, n=len(values))
    if values:
        sentence = _(
            "{name} over {n} evaluations from {low} to {high}.",
            name=label,
            n=len(values),
            low=f"{min(values):.3g}",
            high=f"{max(values):.3g}",
        )
    return finish(figure, sentence, 240, f"search {name}")


@kept
def correlation_chart(trials: Sequence[Trial], task: Task) -> go.Figure:
    """The value after a short fine-tune over the value before it, with and without repair."""
    unit = scale(task)
    figure = go.Figure()
    looks = (
        (_("with repair"), [t.repaired for t in trials], RECALIBRATED, "circle"),
        (_("without repair"), [t.masked for t in trials], PRUNED_MODEL, "x"),
    )
    hover = _("{old} before, {new} after", old="%{x:.4g}", new="%{y:.4g}")
    for name, before, colour, symbol in looks:
        figure.add_scatter(
            x=[unit * value for value in before],
            y=[unit * t.tuned for t in trials],
            name=name,
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 9},
            text=[_("candidate {n}", n=t.number) for t in trials],
            hovertemplate=f"%{{text}}: {hover}<extra></extra>",
        )
    figure.update_xaxes(title_text=_("before training, {value}", value=axis_title(task)))
    figure.update_yaxes(title_text=_("fine-tuned, {value}", value=axis_title(task)))
    sentence = _("{n} candidates before and after a short fine-tune.", n=len(trials))
    return finish(figure, sentence, 340, "search correlation")


@kept
def ratio_bars(ratios: Mapping[str, float], others: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """The fraction removed from each part as a bar, and that of other ratios as marks.

    others: such as the uniform ratios, by name.
    """
    figure = go.Figure()
    names = list(ratios)
    share = _("{ratio} removed", ratio="%{x:.1f}%")
    figure.add_bar(
        x=[100 * ratios[name] for name in names],
        y=names,
        orientation="h",
        marker=patterned(KEPT, "/"),
        name=_("this candidate"),
        hovertemplate=f"<b>%{{y}}</b>: {share}<extra></extra>",
    )
    for (other, own), symbol in zip(
        others.items(), cycle(("diamond-open", "square-open")), strict=False
    ):
        figure.add_scatter(
            x=[100 * own[name] for name in names],
            y=names,
            mode="markers",
            name=other,
            marker={"symbol": symbol, "size": 9, "color": BASELINE, "line": {"width": 2}},
        )
    figure.update_layout(bargap=0.3)
    figure.update_xaxes(title_text=_("removed, %"), range=[0, 100])
    figure.update_yaxes(
        type="category", autorange="reversed", showgrid=False, ticks="", showline=False
    )
    most = max(names, key=lambda name: ratios[name]) if names else ""
    sentence = _(
        "Ratios of {n} parts: the highest is {name}, {ratio}.",
        n=len(names),
        name=most,
        ratio=decimal_percent(ratios[most]),
    )
    return finish(figure, sentence, 110 + 22 * len(names), "search ratios")
