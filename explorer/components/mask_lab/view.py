"""One layer as bytes for the browser: values, group scores, and the exact rank of each group.

A cell's group is the sum of a number per row and a number per column, so no number per weight is
sent. A layer of more than MAX_CELLS weights is reduced: a cell is a block of whole kernels, with
its mean |weight| and the ranks of its weights (lowest, quarters, highest), one byte each. The
counts are exact, and `window.py` gives the detail.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from explorer.charts import robust_limit
from explorer.charts.palette import (
    CHOSEN,
    DIVERGING,
    KEPT_CELL,
    MAGNITUDE,
    PRUNED_CELL,
    PRUNED_CELL_ALPHA,
    PRUNED_MARK,
    ramp,
)
from explorer.charts.tiles import tile
from explorer.components.mask_lab.packing import packed, scaled
from explorer.components.mask_lab.reduced import reduced_parts
from pruning_core.granularity import Granularity, group_tables
from pruning_core.masks import ranks
from pruning_core.types import Layer

MAX_CELLS = 1 << 20
LOOK = {
    "kept": KEPT_CELL,
    "pruned": f"{PRUNED_CELL}{PRUNED_CELL_ALPHA:02X}",
    "mark": PRUNED_MARK,
    "chosen": CHOSEN,
}


@dataclass(frozen=True, eq=False)
class LabView:
    """One layer, ready to be sent.

    id: a hash of the content; scopes, groups: their numbers, groups 0 where the layer cannot be
    pruned; size: weights in a group; factors: filters and channels in a cell, (1, 1) unless
    reduced; data: the bytes.
    """

    id: str
    name: str
    scopes: int
    groups: int
    size: int
    factors: tuple[int, int]
    reduced: bool
    data: bytes


def lab_view(
    layer: Layer,
    weight: torch.Tensor,
    scores: torch.Tensor | None,
    g: Granularity,
    *,
    allow_collapse: bool = False,
) -> LabView:
    """The view of a layer. It depends on no ratio and no edits: cache it.

    weight: O x I x H x W; scores: scope x group, None for a layer that g cannot prune.
    """
    scopes, groups = scores.shape if scores is not None else (0, 0)
    limit = robust_limit(weight.numpy().ravel()[:: 1 + layer.numel // MAX_CELLS])
    head = _head(layer, g, scopes, groups) | {"collapse": allow_collapse, "limit": limit}
    parts = {"diverging": ramp(DIVERGING).ravel(), "magnitude": ramp(MAGNITUDE).ravel()}
    if head["reduced"]:
        factors, blocks = reduced_parts(layer, weight, scores, g, limit)
        head |= factors
        parts |= blocks
    else:
        parts |= _cells(layer, weight, scores, g)
    first, second = head["factors"]
    data, name = packed(head, parts)
    return LabView(
        name, layer.name, scopes, groups, head["size"], (first, second), head["reduced"], data
    )


def _head(layer: Layer, g: Granularity, scopes: int, groups: int) -> dict[str, Any]:
    """What the browser gets besides the arrays."""
    return {
        "name": layer.name,
        "shape": layer.shape,
        "kind": layer.kind,
        "heads": layer.heads,
        "scopes": scopes,
        "groups": groups,
        "size": layer.numel // (scopes * groups) if groups else 1,
        "label": g.label,
        "keepOf": g.n_kept if groups else None,
        "fixed": g.fixed_ratio,
        "look": LOOK,
        "reduced": layer.numel > MAX_CELLS,
        "factors": [1, 1],
    }


def _cells(
    layer: Layer, weight: torch.Tensor, scores: torch.Tensor | None, g: Granularity
) -> dict[str, np.ndarray]:
    """The parts of a layer whose every weight is a cell.

    rowAt, colAt: the start of each row and column, in cells, with the gaps of groups and kernels.
    """
    o, i, h, w = layer.shape
    if scores is None:
        ids = torch.arange(layer.numel).view(layer.shape)
        ranked: dict[str, np.ndarray] = {}
    else:
        tables = group_tables(g, layer)
        ids = (
            tables[0][:, None, None, None]
            + tables[1][:, None, None]
            + tables[2][:, None]
            + tables[3]
        )
        rows = (tables[0][:, None] + tables[2]).reshape(o * h)
        cols = (tables[1][:, None] + tables[3]).reshape(i * w)
        order: dict[str, np.ndarray] = {
            "rowGroup": rows.numpy().astype(np.int32),
            "colGroup": cols.numpy().astype(np.int32),
        }
        order["ranks"] = ranks(scores).numpy().astype(np.uint32).ravel()
        ranked = order | scaled("scores", scores.numpy(), layer.numel)
    tiles = tile(weight.numpy(), ids.numpy())
    ranked["rowAt"] = tiles.row_edges[:-1][tiles.rows[:, 0] >= 0].astype(np.float32)
    ranked["colAt"] = tiles.col_edges[:-1][tiles.cols[:, 0] >= 0].astype(np.float32)
    return ranked | scaled("values", tiles.cells, layer.numel)
