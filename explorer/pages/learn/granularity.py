"""Lesson 2: one small convolution, pruned at one budget by the real patterns."""

from dataclasses import dataclass

import numpy as np
import torch

from explorer.charts import patterns
from explorer.charts.contact_sheet import Bar, Card, Shot, sheet
from explorer.charts.patterns import SHAPE, SMALL
from explorer.charts.towers import towers
from explorer.pages.learn.lesson import Drawn, address, network, weight_of
from explorer.session import cache
from explorer.texts.formats import percent
from explorer.texts.lessons import Words
from pruning_core.compress.storage_formats import count_layer, n_of_m_bits
from pruning_core.granularity import Granularity, granularity
from pruning_core.plan import Plan

LAYER = "layer1.0.conv1.weight"
VALUE_BITS = 32
BUDGETS = (0.25, 0.5, 0.75)
"""All granularities meet each of these exactly."""
CARD = 250
NAMES = ("fine", "n_of_m", "vector_row", "kernel", "shape", "block:2x2", "filter", "channel")
"""From the finest to the coarsest. `n_of_m` keeps N of 4, as the budget says."""


@dataclass(frozen=True, eq=False)
class PrunedLayer:
    """The small layer, pruned by one granularity.

    kept: O I H W, True = keep. magnitude: the share of the sum of |w| that is kept. index_bits:
    bits that store the places of the kept weights. outputs, inputs: channels that are left;
    columns: those left of the unfolded matrix.
    """

    granularity: Granularity
    kept: np.ndarray
    magnitude: float
    index_bits: int
    outputs: int
    inputs: int
    columns: int


def chosen(name: str, budget: float) -> Granularity:
    """The granularity of that name; for `n_of_m` the one that removes the budget of every four."""
    return granularity(f"{round(4 * (1 - budget))}:4" if name == "n_of_m" else name)


def pruned_layer(weight: torch.Tensor, g: Granularity, budget: float) -> PrunedLayer:
    """The groups with the least mean |w| are removed."""
    kept = patterns.small_mask(weight, g, budget)
    counts = count_layer(SMALL, kept, VALUE_BITS, g)
    packed = n_of_m_bits(counts)
    stored = counts.kept_groups + counts.group_fillers
    return PrunedLayer(
        g,
        kept.numpy(),
        float((weight.abs() * kept).sum() / weight.abs().sum()),
        stored * counts.group_gap_bits if packed is None else packed - counts.nonzeros * VALUE_BITS,
        int(kept.flatten(1).any(1).sum()),
        int(kept.transpose(0, 1).flatten(1).any(1).sum()),
        int(kept.flatten(1).any(0).sum()),
    )


def small_weight() -> torch.Tensor:
    """The first filters and channels of a real layer."""
    return weight_of(LAYER)[: SHAPE[0], : SHAPE[1]]


def pruned_layers(budget: float) -> dict[str, PrunedLayer]:
    """The small layer by every granularity, at one budget of zeros."""
    weight = small_weight()
    return {name: pruned_layer(weight, chosen(name, budget), budget) for name in NAMES}


def pictured(budget: float) -> dict[str, tuple[PrunedLayer, tuple[bytes, int, int]]]:
    """The pruned layers and their pictures, cached."""
    return cache.cached_detail(
        lambda: {name: (one, towers(one.kept)) for name, one in pruned_layers(budget).items()},
        network(),
        "lesson granularity",
        budget,
    )


def draw(budget: float, words: Words) -> Drawn:
    """One card for each granularity."""
    pictures = pictured(budget)
    finest = pictures["fine"][0].magnitude
    cards = [_card(name, one, png, finest, words) for name, (one, png) in pictures.items()]
    kept = {name.split(":")[0]: percent(one.magnitude, 0) for name, (one, _) in pictures.items()}
    opens = address(Plan(sparsity=budget), LAYER, closer="Granularities")
    return Drawn(sheet(cards, width=CARD), {"budget": percent(budget), **kept}, 1, opens)


def _card(
    name: str, one: PrunedLayer, png: tuple[bytes, int, int], finest: float, words: Words
) -> Card:
    key = name.split(":")[0]
    title = words(key, pattern=one.granularity.label)
    lines = (
        words("keeps", share=percent(one.magnitude, 0)),
        words("index", bits=one.index_bits),
        words(_speed(key), outputs=one.outputs, inputs=one.inputs, columns=one.columns),
    )
    shot = Shot(png[0], f"{title}: {'; '.join(lines)}", png[1], png[2], smooth=True)
    bar = Bar(one.magnitude, 0.0, one.magnitude, finest)
    return Card(title, lines, (shot,), bar)


def _speed(key: str) -> str:
    """The key of the sentence on what saves time: about the pattern itself, if it has one."""
    own = f"{key}_speed"
    return own if key in ("n_of_m", "block", "shape", "filter", "channel") else "same_shape"
