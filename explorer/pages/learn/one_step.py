"""Lesson 4: the standard flow on one 3 x 3 kernel, with the numbers of a real step of SGD."""

from dataclasses import dataclass
from html import escape

import numpy as np
import torch

from explorer.charts.number_grid import Cell, Grid, coloured, figure, grids, number
from explorer.charts.palette import CHOSEN
from explorer.pages.learn.lesson import Drawn, address, layer_of, network, weight_of
from explorer.session import cache
from explorer.texts.lessons import Words
from pruning_core.masks import lowest
from pruning_core.model.gradients import batch_gradients
from pruning_core.pipeline import choose_masks, masked_copy
from pruning_core.plan import Plan
from pruning_core.workspaces import calibration

LAYER = "layer1.1.conv1.weight"
KERNEL = (2, 10)
"""Filter and input channel of the kernel that is shown."""
STAGES = ("train", "prune", "tune", "again")
REMOVED = {"train": 0, "prune": 4, "tune": 4, "again": 6}
"""How many of the nine weights are removed at each stage."""
SPARSITY = 0.8
"""Of the network around the kernel: it has lost accuracy, so its gradients are not small."""
RATE = 0.1
BATCH = 32


@dataclass(frozen=True, eq=False)
class Step:
    """One step of SGD on the kernel, all 3 x 3.

    weight, mask: before. used: their product. gradient: of the loss by the used weights.
    allowed: gradient x mask. after: used - RATE x allowed.
    """

    weight: np.ndarray
    mask: np.ndarray
    used: np.ndarray
    gradient: np.ndarray
    allowed: np.ndarray
    after: np.ndarray


def steps() -> dict[str, Step]:
    """The kernel at every stage of the flow, computed by the real network."""
    space = network()
    layer = layer_of(LAYER)
    weight = weight_of(LAYER)[KERNEL]
    result = {}
    for stage in STAGES:
        sparsity = 0.0 if stage == "train" else SPARSITY
        plan = Plan(sparsity=sparsity, allocation="global")
        model = masked_copy(plan, space, choose_masks(plan, space)[1])
        scores = weight.abs().reshape(1, -1)
        mask = ~lowest(scores, REMOVED[stage]).reshape(3, 3)
        used = weight * mask
        with torch.no_grad():
            model.get_parameter(LAYER)[KERNEL] = used
        gradients = batch_gradients(model, (layer,), calibration(space, BATCH), BATCH)
        gradient = next(gradients)[LAYER][KERNEL]
        allowed = gradient * mask
        after = used - RATE * allowed
        parts = (weight, mask, used, gradient, allowed, after)
        result[stage] = Step(*(part.clone().numpy() for part in parts))
        weight = after if stage == "tune" else weight
    return result


def draw(stage: str, words: Words) -> Drawn:
    """The product of weight and mask, the product of gradient and mask, and the step."""
    every: dict[str, Step] = cache.cached_detail(steps, network(), "lesson step")
    step = every[stage]
    largest = np.unravel_index(np.abs(step.gradient * ~step.mask).argmax(), (3, 3))
    values = {
        "removed": REMOVED[stage],
        "rate": RATE,
        "stopped": number(float(step.gradient[largest])),
    }
    rows = [_chain(stage, words), *_rows(every, stage, words)]
    return Drawn(
        figure(rows), values, 1, address(Plan(sparsity=SPARSITY, allocation="global"), LAYER)
    )


def _chain(stage: str, words: Words) -> str:
    """The stages in a row, the present one framed."""
    items = []
    for name in STAGES:
        frame = CHOSEN if name == stage else "transparent"
        current = ' aria-current="step"' if name == stage else ""
        items.append(
            f'<span{current} style="border: 2px solid {frame}; border-radius: 99px; '
            f'padding: 0.15rem 0.7rem">{escape(words(f"stage_{name}"))}</span>'
        )
    return f'<div class="pe-grids">{"<span aria-hidden=true>→</span>".join(items)}</div>'


def _rows(every: dict[str, Step], stage: str, words: Words) -> list[str]:
    step = every[stage]
    limit = max(float(np.abs(one.weight).max()) for one in every.values())
    slope = max(float(np.abs(one.gradient).max()) for one in every.values())
    mask = [[_switch(on) for on in row] for row in step.mask]
    used = Grid(words("used"), coloured(step.used, limit, step.mask))
    rows: list[list[Grid | str]] = [
        [
            Grid(words("weight"), coloured(step.weight, limit)),
            "×",
            Grid(words("mask"), mask),
            "=",
            used,
        ]
    ]
    if stage in ("train", "tune"):
        gradient = Grid(words("gradient"), coloured(step.gradient, slope))
        allowed = Grid(words("allowed"), coloured(step.allowed, slope, step.mask))
        after = Grid(words("after"), coloured(step.after, limit, step.mask))
        rows.append([gradient, "×", Grid(words("mask"), mask), "=", allowed])
        rows.append([used, f"− {RATE:g} ×", allowed, "=", after])
    return [grids(row, "large") for row in rows]


def _switch(on: bool) -> Cell:
    return Cell("1", looks="kept") if on else Cell("0", looks="removed")
