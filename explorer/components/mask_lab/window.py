"""The window of a reduced layer: values, group scores and exact ranks of every weight in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from explorer.charts.tiles import tile
from explorer.components.mask_lab.packing import packed, scaled
from explorer.components.mask_lab.ranking import places
from pruning_core.granularity import Granularity, group_tables
from pruning_core.types import Layer

MOST_WEIGHTS = 110_000
MOST_SIDE = 8192
"""Rows and columns; with MOST_WEIGHTS weights the message stays below 1 MB."""


class Window(NamedTuple):
    """Filters from top to bottom, channels from left to right; the ends are not included."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def read(cls, asked: object, layer: Layer) -> "Window | None":
        """The window that the browser requests; None where it is not valid or too large."""
        if (
            not isinstance(asked, list)
            or len(asked) != 4
            or any(type(number) is not int for number in asked)
        ):
            return None
        window = cls(*asked)
        (o, i, h, w) = layer.shape
        inside = 0 <= window.top < window.bottom <= o and 0 <= window.left < window.right <= i
        rows = (window.bottom - window.top) * h
        cols = (window.right - window.left) * w
        small = rows * cols <= MOST_WEIGHTS and max(rows, cols) <= MOST_SIDE
        return window if inside and small else None


@dataclass(frozen=True, eq=False)
class LabWindow:
    """A window, ready to be sent.

    groups: flat numbers of its groups, ascending; places: their ranks, as `masks.ranks` gives them.
    """

    window: Window
    groups: np.ndarray
    places: np.ndarray
    data: bytes

    def places_of(self, groups: Iterable[int]) -> dict[int, int]:
        """The ranks of those of the groups that are in the window."""
        wanted = np.array(list(groups), np.int64)
        at = np.flatnonzero(np.isin(self.groups, wanted))
        return dict(zip(self.groups[at].tolist(), self.places[at].tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class LabDetail:
    """The source of a reduced layer's windows: the arguments of its `lab_view`, not copied."""

    layer: Layer
    weight: torch.Tensor
    scores: torch.Tensor | None
    g: Granularity

    def window(self, window: Window) -> LabWindow:
        """The window's weights: `lab_window`."""
        return lab_window(self.layer, self.weight, self.scores, self.g, window)

    def places(self, groups: Iterable[int]) -> list[int]:
        """The ranks of a few groups, by flat number (scope x groups + group)."""
        wanted = np.array(list(groups), np.int64)
        return (
            [] if self.scores is None or not len(wanted) else places(self.scores, wanted).tolist()
        )


def lab_window(
    layer: Layer, weight: torch.Tensor, scores: torch.Tensor | None, g: Granularity, window: Window
) -> LabWindow:
    """weight: O I H W; scores: scope x group, None for a layer that g cannot prune. About half a
    second at 100 million weights.
    """
    part = weight[window.top : window.bottom, window.left : window.right]
    o, i, h, w = part.shape
    parts: dict[str, np.ndarray] = {}
    groups = ranked = np.empty(0, np.int64)
    ids = torch.arange(part.numel()).view(part.shape).numpy()
    if scores is not None:
        tables = group_tables(g, layer)
        first = tables[0][window.top : window.bottom]
        second = tables[1][window.left : window.right]
        rows = (first[:, None] + tables[2]).reshape(o * h).numpy()
        cols = (second[:, None] + tables[3]).reshape(i * w).numpy()
        ids = (rows[:, None] + cols).reshape(o, h, i, w).transpose(0, 2, 1, 3)
        groups = np.unique(ids)
        ranked = places(scores, groups)
        parts = {
            "rowGroup": rows.astype(np.int32),
            "colGroup": cols.astype(np.int32),
            "ranks": ranked.astype(np.uint32),
        }
        parts |= scaled("scores", scores.flatten()[torch.from_numpy(groups)].numpy(), part.numel())
    tiles = tile(part.numpy(), ids)
    parts |= scaled("values", tiles.cells, part.numel())
    parts |= {"rowLine": _lines(tiles.row_lines, h), "colLine": _lines(tiles.col_lines, w)}
    head: dict[str, Any] = {"window": window, "reduced": False}
    data, _ = packed(head, parts)
    return LabWindow(window, groups, ranked, data)


def _lines(groups: np.ndarray, step: int) -> np.ndarray:
    """1 where a kernel or a group ends along the whole line, per row or column but the last."""
    kernel_ends = (np.arange(1, len(groups) + 1) % step == 0) & (step > 1)
    lines: np.ndarray = (groups | kernel_ends).astype(np.uint8)
    return lines
