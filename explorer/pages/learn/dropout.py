"""Lesson 6: the masks of Dropout and DropConnect in single passes, beside a pruning mask."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from explorer.charts.contact_sheet import Card, Shot, sheet
from explorer.charts.patterns import SHAPE
from explorer.charts.towers import towers
from explorer.pages.learn.granularity import LAYER, small_weight
from explorer.pages.learn.lesson import Drawn, address, network
from explorer.session import cache
from explorer.texts.formats import percent
from explorer.texts.lessons import Words
from pruning_core.dropout import REGULARISERS, sample_mask
from pruning_core.masks import lowest
from pruning_core.plan import Plan
from pruning_core.types import Layer

RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
PASSES = 4
UNIT = 4.55
"""Half the width of a tile, in pixels: five pictures side by side fill a wide page."""
WIDTH = 900


def masks(rate: float) -> dict[str, list[np.ndarray]]:
    """The masks of some passes in training, and last the one in use."""
    layer = Layer(LAYER, "small", "conv2d", SHAPE, SHAPE)
    scores = small_weight().abs().reshape(1, -1)
    pruned = ~lowest(scores, round(rate * scores.numel())).reshape(SHAPE)
    every = torch.ones(SHAPE, dtype=torch.bool)
    drawn = {
        name: [*(sample_mask(name, layer, rate, seed) for seed in range(PASSES)), every]
        for name in REGULARISERS
    }
    rows = {**drawn, "pruning": [pruned] * (PASSES + 1)}
    return {name: [mask.numpy() for mask in row] for name, row in rows.items()}


def pictures(rows: Mapping[str, Sequence[np.ndarray]]) -> dict[bytes, tuple[bytes, int, int]]:
    """The picture of each different mask, by its bytes: many masks of a row are equal."""
    different = {mask.tobytes(): mask for row in rows.values() for mask in row}
    return {key: towers(mask, UNIT) for key, mask in different.items()}


def draw(rate: float, words: Words) -> Drawn:
    """One row for each method."""
    rows = masks(rate)
    shown = cache.cached_detail(lambda: pictures(rows), network(), "lesson dropout", rate)
    cards = [
        Card(words(name), (), tuple(_shots(name, row, shown, words))) for name, row in rows.items()
    ]
    values = {
        "rate": percent(rate),
        "passes": PASSES,
        "dropout": ", ".join(str(int(mask.any((1, 2, 3)).sum())) for mask in rows["dropout"][:-1]),
    }
    opens = address(Plan(sparsity=0.2), LAYER, closer="Dropout")
    return Drawn(sheet(cards, width=WIDTH), values, 0, opens)


def _shots(
    name: str,
    row: Sequence[np.ndarray],
    shown: Mapping[bytes, tuple[bytes, int, int]],
    words: Words,
) -> Iterator[Shot]:
    for number, mask in enumerate(row, 1):
        when = words("pass", number=number) if number <= PASSES else words("in_use")
        label = words("label", when=when, kept=percent(float(mask.mean()), 0))
        png, width, height = shown[mask.tobytes()]
        yield Shot(png, f"{words(name)}: {label}", width, height, label, smooth=True)
