"""Lesson 9: the accuracy over two layers' ratios, and the path of a real search on it."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from explorer.charts.palette import CHOSEN, DARK_PAGE, MAGNITUDE, PRUNED_MODEL, scale
from explorer.charts.style import finish
from explorer.pages.learn.lesson import Drawn, address
from explorer.pages.learn.stored import stored
from explorer.pages.learn.two_layers import KEEP, MOST, NAMES, judge, two_layers
from explorer.texts.formats import decimal_percent, percent
from explorer.texts.lessons import Words
from pruning_core.plan import Plan
from pruning_core.search import search_method
from pruning_core.workspaces import Workspace

RUN = "search"
GRID = tuple(round(0.4 + 0.03 * step, 2) for step in range(20))
"""Ratios of each layer at which the landscape is measured."""
AXIS = [100 * GRID[0], 100 * MOST]
METHOD = "annealing:first=4,step=0.2"
EVALUATIONS = 24
SEED = 2


def height(space: Workspace, first: float, second: float) -> float:
    """The accuracy at one point of the landscape."""
    return judge(space, dict(zip(NAMES, (first, second), strict=True))).value


def path(space: Workspace, evaluations: int = EVALUATIONS) -> list[dict[str, Any]]:
    """Every candidate of the search: its two ratios, its accuracy, and whether it is the best."""
    search = search_method(METHOD)
    parts = two_layers(space)
    candidates = search(parts, lambda ratios: judge(space, ratios), evaluations, SEED, {})
    return [
        {
            "ratios": [candidate.ratios[name] for name in NAMES],
            "accuracy": candidate.judged.value,
            "best": candidate.best,
        }
        for candidate in candidates
    ]


def draw(shown: int, words: Words) -> Drawn:
    """The landscape, the budget, and the candidates measured up to now."""
    run = stored(RUN)
    candidates = run["path"]
    until = candidates[:shown]
    best = [candidate for candidate in until if candidate["best"]]
    overall = [candidate for candidate in candidates if candidate["best"]][-1]
    top = best[-1]
    uniform = run["uniform"]
    values = {
        "shown": shown,
        "accuracy": decimal_percent(top["accuracy"]),
        "first": percent(top["ratios"][0], 0),
        "second": percent(top["ratios"][1], 0),
        "final": decimal_percent(overall["accuracy"]),
        "final_first": percent(overall["ratios"][0], 0),
        "final_second": percent(overall["ratios"][1], 0),
        "uniform": decimal_percent(uniform),
        "keep": percent(KEEP),
        "count": len(candidates),
        "n": run["n"],
    }
    figure = finish(
        _figure(run["landscape"], until, best, words), words("alt", **values), 520, "search"
    )
    return Drawn(figure, values, 2, address(Plan(granularity="kernel")))


def _figure(
    landscape: list[list[float]],
    until: list[dict[str, Any]],
    best: list[dict[str, Any]],
    words: Words,
) -> go.Figure:
    percents = [100 * ratio for ratio in GRID]
    figure = go.Figure(
        go.Contour(
            x=percents,
            y=percents,
            z=100 * np.array(landscape),
            colorscale=scale(MAGNITUDE),
            contours={"start": 10, "end": 100, "size": 10},
            line={"width": 0.5, "color": "rgba(127, 135, 147, 0.5)"},
            colorbar={"title": {"text": words("accuracy"), "font_size": 13}, "thickness": 12},
            hovertemplate="%{x:.0f}%, %{y:.0f}%: %{z:.1f}%<extra></extra>",
        )
    )
    total = 200 * (1 - KEEP)
    ends = (total - 100 * MOST, 100 * MOST)
    figure.add_scatter(
        x=ends,
        y=[total - end for end in ends],
        mode="lines",
        name=words("budget"),
        line={"color": CHOSEN, "width": 2, "dash": "dash"},
        hoverinfo="skip",
    )
    _dots(figure, until, best, words)
    figure.update_xaxes(title_text=words("x"), range=AXIS, ticksuffix="%", constrain="domain")
    figure.update_yaxes(title_text=words("y"), range=AXIS, ticksuffix="%")
    return figure


def _dots(
    figure: go.Figure, until: list[dict[str, Any]], best: list[dict[str, Any]], words: Words
) -> None:
    """All candidates, and the sequence of the best ones with its end."""
    for name, candidates, look in (
        ("tried", until, {"size": 8, "color": "white", "line": {"color": DARK_PAGE, "width": 1}}),
        (
            "path",
            best,
            {"size": 11, "color": PRUNED_MODEL, "line": {"color": "white", "width": 1.5}},
        ),
        (
            "best",
            best[-1:],
            {
                "size": 22,
                "color": PRUNED_MODEL,
                "symbol": "star",
                "line": {"color": "white", "width": 1.5},
            },
        ),
    ):
        figure.add_scatter(
            x=[100 * candidate["ratios"][0] for candidate in candidates],
            y=[100 * candidate["ratios"][1] for candidate in candidates],
            mode="lines+markers" if name == "path" else "markers",
            name=words(name),
            line={"color": PRUNED_MODEL, "width": 2},
            marker=look,
            text=[decimal_percent(candidate["accuracy"]) for candidate in candidates],
            hovertemplate="%{text}<extra></extra>",
        )
