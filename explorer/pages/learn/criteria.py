"""Lesson 5: the filters of one layer ranked by several criteria, ranks joined by lines."""

import numpy as np
import plotly.graph_objects as go

from explorer.charts.palette import CHOSEN, PRUNED, translucent
from explorer.charts.style import finish
from explorer.pages.learn.lesson import Drawn, address, layer_of, network
from explorer.session import cache
from explorer.texts.lessons import Words
from pruning_core.criteria import criterion
from pruning_core.masks import ranks
from pruning_core.plan import Plan
from pruning_core.resolved_plan import criterion_inputs, criterion_model
from pruning_core.sensitivity.compare_granularities import filter_scores

LAYER = "layer1.0.conv1.weight"
FILTERS = 16
START = 0
"""The filter that is drawn strong at first: criteria disagree about it."""
CRITERIA = ("magnitude_l1", "magnitude_l2", "fpgm", "bn_scale", "taylor", "apoz", "random")
IMAGES = 256
"""Training images that a criterion with gradients or activations reads."""


def ranking(name: str) -> np.ndarray:
    """The rank of every filter, from 1, which is removed first."""
    space = network()
    how = criterion(name, 0)
    layers = (layer_of(LAYER),)
    inputs = criterion_inputs(how, space, IMAGES)
    scores = filter_scores(how, criterion_model(how, space), layers, inputs)[LAYER]
    return ranks(scores[None])[0].numpy() + 1


def rankings() -> np.ndarray:
    """All ranks, criteria x filters, cached."""
    return cache.cached_detail(
        lambda: np.stack([ranking(name) for name in CRITERIA]), network(), "lesson criteria"
    )


def draw(chosen: int, words: Words) -> Drawn:
    """One line per filter; the chosen one is strong."""
    table = rankings()
    first = [int(row.argmin()) for row in table[:-1]]
    own = table[:-1, chosen]
    values = {
        "filter": chosen,
        "lowest": int(own.min()),
        "highest": int(own.max()),
        "firsts": len(set(first)),
        "criteria": len(first),
        "count": FILTERS,
    }
    figure = finish(_lines(table, chosen, words), words("alt", **values), 520, "criteria")
    plan = Plan(granularity="filter", sparsity=0.2)
    opens = address(plan, LAYER, closer="Filters", filter=str(chosen))
    return Drawn(figure, values, 0 if len(set(first)) == 1 else 2, opens)


def _lines(table: np.ndarray, chosen: int, words: Words) -> go.Figure:
    figure = go.Figure()
    names = [words(name) for name in CRITERIA]
    order = [*(number for number in range(FILTERS) if number != chosen), chosen]
    for number in order:
        strong = number == chosen
        colour = CHOSEN if strong else translucent(PRUNED, 0.55)
        figure.add_scatter(
            x=names,
            y=table[:, number],
            mode="lines+markers+text" if strong else "lines+markers",
            text=[f"<b>{rank}</b>" for rank in table[:, number]] if strong else None,
            textposition="top center",
            textfont={"color": CHOSEN, "size": 15},
            line={"color": colour, "width": 4 if strong else 1.5},
            marker={"size": 12 if strong else 8, "color": colour},
            hovertemplate=words("hover", number=number) + "<extra></extra>",
        )
    figure.update_layout(showlegend=False)
    figure.update_yaxes(title_text=words("y"), range=[FILTERS + 0.7, 0.1], dtick=3, tick0=1)
    figure.update_xaxes(showgrid=True, range=[-0.4, len(names) - 0.6])
    return figure
