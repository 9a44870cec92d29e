"""Lesson 7: SEVEN's noise factor, and which weights it keeps that magnitude removes."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from explorer.charts.palette import CHOSEN, GAIN, KEPT, LOSS, PRUNED, translucent
from explorer.charts.style import finish
from explorer.pages.learn.lesson import Drawn, address, layer_of, network, weight_of
from explorer.session import cache
from explorer.texts.formats import count, percent
from explorer.texts.lessons import Words
from pruning_core.criteria.seven import AccumulatedScores, noise_factors
from pruning_core.masks import ranks
from pruning_core.model.gradients import batch_gradients
from pruning_core.plan import Plan
from pruning_core.workspaces import calibration

LAYER = "layer3.0.shortcut.conv.weight"
IMAGES = 512
BATCH = 32
RATIOS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
ONLY = {"seven": (GAIN, "diamond"), "magnitude": (LOSS, "square")}
"""Which of the two criteria keeps a weight that the other removes -> colour and mark."""

PAIR = {"steady": (KEPT, "solid"), "noisy": (CHOSEN, "dot")}
"""The two weights whose gradients are drawn -> colour and dash."""
ALIKE = (0.60, 0.65)
"""Their ranks by the sum of |w g| without the noise factor."""


@dataclass(frozen=True, eq=False)
class Noise:
    """The weights of the layer, flat.

    slopes: |g|, batches x weights; factor: the noise factor of each weight; magnitude, plain,
    seven: its rank in [0, 1), 0 is removed first. plain: by the sum of |w g| without the factor.
    """

    slopes: np.ndarray
    factor: np.ndarray
    magnitude: np.ndarray
    plain: np.ndarray
    seven: np.ndarray


def noise() -> Noise:
    """Gradients of the trained network on mini-batches of training images."""
    space = network()
    images = calibration(space, IMAGES)
    gradients = list(batch_gradients(space.model, (layer_of(LAYER),), images, BATCH))
    weight = weight_of(LAYER)
    running = AccumulatedScores()
    for gradient in gradients:
        running.add({LAYER: weight}, gradient)
    return Noise(
        torch.stack([gradient[LAYER].abs().flatten() for gradient in gradients]).numpy(),
        noise_factors(gradients)[LAYER].flatten().numpy(),
        _relative(weight.abs()),
        _relative(torch.stack([(weight * one[LAYER]).abs() for one in gradients]).sum(0)),
        _relative(running.scores[LAYER]),
    )


def _relative(scores: torch.Tensor) -> np.ndarray:
    return ranks(scores.reshape(1, -1))[0].numpy() / scores.numel()


def draw(ratio: float, words: Words) -> Drawn:
    """Two gradients over the batches, and all weights by both ranks."""
    measured: Noise = cache.cached_detail(noise, network(), "lesson seven")
    by_seven = measured.seven >= ratio
    by_magnitude = measured.magnitude >= ratio
    only = {"seven": by_seven & ~by_magnitude, "magnitude": by_magnitude & ~by_seven}
    values = {
        "ratio": percent(ratio),
        "weights": count(len(by_seven)),
        "kept": int(by_seven.sum()),
        "only_seven": int(only["seven"].sum()),
        "exchanged": percent(float(only["seven"].sum() / by_seven.sum()), 0),
        "batches": len(measured.slopes),
    }
    shown = pair(measured)
    values |= {name: f"{measured.factor[number]:.2f}" for name, number in shown.items()}
    figure = finish(
        _figure(measured, only, shown, ratio, words), words("alt", **values), 470, "seven"
    )
    figure.update_layout(margin_t=40, legend={"y": -0.2, "yref": "paper"})
    return Drawn(
        figure, values, 2, address(Plan(criterion="seven", sparsity=ratio, flow="seven_pre"), LAYER)
    )


def pair(measured: Noise) -> dict[str, int]:
    """Of the weights with nearly the same sum of |w g|: the steadiest and the noisiest."""
    alike = (measured.plain >= ALIKE[0]) & (measured.plain < ALIKE[1])
    return {
        "steady": int(np.where(alike, measured.factor, -np.inf).argmax()),
        "noisy": int(np.where(alike, measured.factor, np.inf).argmin()),
    }


def _figure(
    measured: Noise, only: dict[str, np.ndarray], shown: dict[str, int], ratio: float, words: Words
) -> go.Figure:
    titles = [
        words("left", batches=len(measured.slopes)),
        words("right", weights=count(len(measured.factor))),
    ]
    figure = make_subplots(1, 2, subplot_titles=titles, horizontal_spacing=0.12)
    _scatter(figure, measured, only, ratio, words)
    batches = list(range(1, len(measured.slopes) + 1))
    for name, (colour, dash) in PAIR.items():
        slopes = measured.slopes[:, shown[name]]
        figure.add_scatter(
            x=batches,
            y=slopes / slopes.max(),
            name=words(name, factor=f"{measured.factor[shown[name]]:.2f}"),
            mode="lines+markers",
            line={"color": colour, "width": 2.5, "dash": dash},
            marker_size=8,
            hovertemplate="%{y:.2f}<extra></extra>",
            row=1,
            col=1,
        )
    figure.update_xaxes(title_text=words("batch"), row=1, col=1)
    figure.update_yaxes(title_text=words("slope"), rangemode="tozero", row=1, col=1)
    return figure


def _scatter(
    figure: go.Figure, measured: Noise, only: dict[str, np.ndarray], ratio: float, words: Words
) -> None:
    both = ~(only["seven"] | only["magnitude"])
    groups = {"": (translucent(PRUNED, 0.35), "circle", both)}
    groups |= {name: (*ONLY[name], mask) for name, mask in only.items()}
    for name, (colour, mark, mask) in groups.items():
        figure.add_scattergl(
            x=100 * measured.magnitude[mask],
            y=100 * measured.seven[mask],
            mode="markers",
            marker={"color": colour, "symbol": mark, "size": 5},
            name=words(f"only_{name}") if name else "",
            showlegend=bool(name),
            hoverinfo="skip",
            row=1,
            col=2,
        )
    line = {"color": CHOSEN, "width": 1.5, "dash": "dash"}
    figure.add_hline(y=100 * ratio, line=line, row=1, col=2)
    figure.add_vline(x=100 * ratio, line=line, row=1, col=2)
    figure.update_xaxes(title_text=words("by_magnitude"), range=[0, 100], row=1, col=2)
    figure.update_yaxes(title_text=words("by_seven"), range=[0, 100], row=1, col=2)
