"""Lesson 8: sampled sub-nets before and after their batch norms are measured again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import nn

from explorer.charts.palette import BASELINE, CHOSEN, PRUNED_MODEL, RECALIBRATED, translucent
from explorer.charts.style import finish, whiskers
from explorer.pages.learn.lesson import Drawn, address, network
from explorer.pages.learn.stored import stored
from explorer.session import cache
from explorer.texts.formats import decimal_percent, percent
from explorer.texts.lessons import Words
from pruning_core.evaluation.accuracy import Judge
from pruning_core.intervals import wilson_interval
from pruning_core.pipeline import choose_masks, pruned_copy
from pruning_core.plan import Plan
from pruning_core.repairs import BN
from pruning_core.search import Judged, search_method
from pruning_core.search.plan_space import PlanSpace
from pruning_core.training.batch_norm import tracked_norms
from pruning_core.types import Ratios
from pruning_core.workspaces import Workspace

RUN = "subnets"
COUNT = 12
KEEP = 0.6
"""Every sub-net keeps this share of the multiply-adds."""
SEED = 0


@dataclass(frozen=True)
class SubNet:
    """One sampled network. before, after: its accuracy with old and new batch-norm statistics."""

    ratios: Ratios
    before: float
    after: float
    n: int

    def plan(self) -> Plan:
        """Whole filters, by these ratios, tied as in the search."""
        overrides = tuple(self.ratios.items())
        return Plan(granularity="filter", tied=True, allocation="manual", overrides=overrides)


def sample(space: Workspace, number: int = COUNT) -> list[SubNet]:
    """The first sub-nets of a random search, each measured twice."""
    parts = PlanSpace(Plan(granularity="filter"), space, budget="macs", keep=KEEP)
    every = search_method("random")(parts, lambda _: Judged(0.0, 0.0), number, SEED, {})
    return [measure(space, parts.all_ratios(candidate.ratios)) for candidate in every]


def measure(space: Workspace, ratios: Ratios) -> SubNet:
    """The accuracies on the validation images."""
    before, after = (
        Judge.of(space.dataset).evaluate(network, space.dataset.val)
        for network in networks(space, SubNet(ratios, 0, 0, 0).plan())
    )
    return SubNet(ratios, before.value, after.value, before.n)


def networks(space: Workspace, plan: Plan) -> tuple[nn.Module, nn.Module]:
    """The pruned network with old and with new batch-norm statistics."""
    masks = choose_masks(plan, space)[1]
    new = replace(plan, repair=BN)
    return pruned_copy(plan, space, masks), pruned_copy(new, space, masks)


def deviations(model: nn.Module) -> np.ndarray:
    """The standard deviations that the batch norms divide by, of all channels."""
    variances = [norm.running_var for norm in tracked_norms(model) if norm.running_var is not None]
    return np.concatenate([variance.sqrt().numpy() for variance in variances])


def draw(number: int, words: Words) -> Drawn:
    """All sub-nets as pairs of dots; the statistics of the chosen one beside them."""
    subnets = [SubNet(**one) for one in stored(RUN)["subnets"]]
    chosen = subnets[number - 1]
    space = network()
    old, new = cache.cached_detail(
        lambda: tuple(deviations(model) for model in networks(space, chosen.plan())),
        space,
        "lesson subnets",
        number,
    )
    values = {
        "number": number,
        "before": decimal_percent(chosen.before),
        "after": decimal_percent(chosen.after),
        "count": len(subnets),
        "keep": percent(KEEP),
        "n": chosen.n,
        "smaller": percent(float((new < old).mean()), 0),
        **order(subnets),
    }
    figure = finish(
        _figure(subnets, number, old, new, words), words("alt", **values), 470, "subnets"
    )
    figure.update_layout(margin_t=40, legend={"y": -0.2, "yref": "paper"})
    return Drawn(figure, values, 1, address(chosen.plan()))


def order(subnets: Sequence[SubNet]) -> dict[str, Any]:
    """How well the order before agrees with the order after: numbers for the texts."""
    from scipy.stats import spearmanr  # takes 1 s to import, so not before it is needed

    before = np.array([one.before for one in subnets])
    after = np.array([one.after for one in subnets])
    last = int(after.argmin())
    return {
        "correlation": f"{spearmanr(before, after).statistic:.2f}",
        "last": last + 1,
        "last_after": decimal_percent(float(after[last])),
        "place": int((before > before[last]).sum()) + 1,
    }


def _figure(
    subnets: Sequence[SubNet], number: int, old: np.ndarray, new: np.ndarray, words: Words
) -> go.Figure:
    figure = make_subplots(
        1,
        2,
        subplot_titles=[words("left", n=subnets[0].n), words("right")],
        horizontal_spacing=0.12,
    )
    _pairs(figure, subnets, number, words)
    _statistics(figure, old, new, words)
    figure.update_xaxes(title_text=words("subnet"), dtick=1, showgrid=False, row=1, col=1)
    figure.update_yaxes(title_text=words("accuracy"), range=[0, 103], row=1, col=1)
    return figure


def _pairs(figure: go.Figure, subnets: Sequence[SubNet], number: int, words: Words) -> None:
    """Every sub-net's two accuracies, joined by a line; the chosen one is strong."""
    numbers = list(range(1, len(subnets) + 1))
    for one, subnet in zip(numbers, subnets, strict=True):
        strong = one == number
        figure.add_scatter(
            x=[one, one],
            y=[100 * subnet.before, 100 * subnet.after],
            mode="lines",
            line={"color": CHOSEN if strong else BASELINE, "width": 4 if strong else 1.5},
            showlegend=False,
            hoverinfo="skip",
            row=1,
            col=1,
        )
    looks = {"before": (PRUNED_MODEL, "circle-open"), "after": (RECALIBRATED, "circle")}
    for name, (colour, mark) in looks.items():
        figure.add_scatter(
            x=numbers,
            y=[100 * getattr(subnet, name) for subnet in subnets],
            error_y=whiskers(_spans(subnets, name), 100, thickness=1.5, width=0),
            mode="markers",
            name=words(name),
            marker={
                "color": colour,
                "symbol": mark,
                "size": 12,
                "line": {"width": 2.5, "color": colour},
            },
            hovertemplate="%{y:.1f}%<extra></extra>",
            row=1,
            col=1,
        )


def _spans(subnets: Sequence[SubNet], name: str) -> Iterator[tuple[float, float, float]]:
    """The accuracies by that field, each with its 95% interval."""
    for subnet in subnets:
        value: float = getattr(subnet, name)
        yield value, *wilson_interval(round(value * subnet.n), subnet.n)


def _statistics(figure: go.Figure, old: np.ndarray, new: np.ndarray, words: Words) -> None:
    """The deviation of every channel, as stored and as it is now."""
    ends = [float(min(old.min(), new[new > 0].min())), float(max(old.max(), new.max()))]
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": BASELINE, "dash": "dash"},
        showlegend=False,
        hoverinfo="skip",
        row=1,
        col=2,
    )
    figure.add_scatter(
        x=old,
        y=new,
        mode="markers",
        marker={"color": translucent(RECALIBRATED, 0.55), "size": 5},
        showlegend=False,
        hovertemplate="%{x:.2f} → %{y:.2f}<extra></extra>",
        row=1,
        col=2,
    )
    figure.update_xaxes(title_text=words("stored"), type="log", row=1, col=2)
    figure.update_yaxes(title_text=words("measured"), type="log", row=1, col=2)
