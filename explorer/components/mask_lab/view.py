"""What the browser needs of one layer, as bytes: values, group scores, and each group's exact place
in the order of going.

A cell's group is the sum of a number per row and one per column, so that no number per weight is
sent for it. A layer of more than MAX_CELLS weights is sent reduced: a cell stands for a block of
whole kernels, with its mean |weight| and where its weights stand in the order of going (lowest,
quarters, highest), one byte each; the counts stay exact, and `window.py` gives the detail.
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
    PRUNED_MARK,
    ramp,
)
from explorer.charts.tiles import tile
from explorer.components.mask_lab.reduced import reduced_parts
from explorer.components.mask_lab.wire import packed, scaled
from pruning_core.granularity import Granularity, group_tables
from pruning_core.masks import ranks
from pruning_core.types import Layer

MAX_CELLS = 1 << 20
LOOK = {"kept": KEPT_CELL, "pruned": PRUNED_CELL, "mark": PRUNED_MARK, "chosen": CHOSEN}


@dataclass(frozen=True, eq=False)
class LabView:
    """One layer, ready to be sent. id: of the content; scopes, groups: how many, groups 0 where the
    layer cannot be cut.

    size: weights in a group; factors: filters and channels in a cell, (1, 1) unless reduced; data:
    what is sent.
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
    """weight: O I H W; scores: scope x group, None for a layer that g cannot cut. Depends on no
    ratio and no edits: cache it.
    """
    scopes, groups = scores.shape if scores is not None else (0, 0)
    reduced = layer.numel > MAX_CELLS
    size = layer.numel // (scopes * groups) if groups else 1
    limit = robust_limit(weight.numpy().ravel()[:: 1 + layer.numel // MAX_CELLS])
    head: dict[str, Any] = {
        "name": layer.name,
        "shape": layer.shape,
        "kind": layer.kind,
        "heads": layer.heads,
        "scopes": scopes,
        "groups": groups,
        "size": size,
        "label": g.label,
        "keepOf": g.n_kept if groups else None,
        "fixed": g.fixed_ratio,
        "collapse": allow_collapse,
        "look": LOOK,
        "limit": limit,
        "reduced": reduced,
        "factors": [1, 1],
    }
    parts = {"diverging": ramp(DIVERGING).ravel(), "magnitude": ramp(MAGNITUDE).ravel()}
    if reduced:
        extra, found = reduced_parts(layer, weight, scores, g, limit)
        head |= extra
        parts |= found
    else:
        parts |= _cells(layer, weight, scores, g)
    first, second = head["factors"]
    data, name = packed(head, parts)
    return LabView(name, layer.name, scopes, groups, size, (first, second), reduced, data)


def _cells(
    layer: Layer, weight: torch.Tensor, scores: torch.Tensor | None, g: Granularity
) -> dict[str, np.ndarray]:
    """Every weight is a cell. rowAt, colAt: where each row and column begins, in cells, gaps of
    groups and kernels included.
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
