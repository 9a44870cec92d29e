"""The data of "Look closer": a layer under every granularity, its activations, its filters' scores.

Arrays and numbers only, without Streamlit.
"""

from dataclasses import dataclass
from math import ceil, isqrt

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from explorer.charts.tiles import Tiles, tile
from explorer.texts.translate import _
from pruning_core.criteria import CRITERIA, Criterion, criterion, scores_by_part
from pruning_core.evaluation.accuracy import Judge
from pruning_core.granularity import (
    GRANULARITIES,
    Granularity,
    granularity,
    group_tables,
    to_groups,
)
from pruning_core.masks import ranks
from pruning_core.model.activations import attention_maps, feature_maps, relative_change
from pruning_core.plan import Plan
from pruning_core.resolved_plan import criterion_inputs, criterion_model, prunable
from pruning_core.sensitivity.compare_granularities import (
    compare_granularities,
    filter_scores,
    group_scores_by_granularity,
)
from pruning_core.types import Evaluation, Inputs, Layer, PruningError, Split
from pruning_core.workspaces import Workspace

SIDE = 48
"""Cells on a side of a small picture of a mask."""


@dataclass(frozen=True, eq=False)
class GranularityMask:
    """The layer pruned by one granularity.

    kept: the corner that is drawn, O x I x H x W; achieved: the removed share of all weights.
    """

    granularity: Granularity
    kept: np.ndarray
    achieved: float
    evaluation: Evaluation


@dataclass(frozen=True, eq=False)
class Maps:
    """A layer's activations for one image, dense and pruned: K maps of R x C.

    change: ||d - p|| / ||d|| of each map, before averaging; places: R x C before large maps were
    averaged; note: the order of the values, where it is not obvious.
    """

    dense: np.ndarray
    pruned: np.ndarray
    change: np.ndarray
    places: tuple[int, int]
    note: str


@dataclass(frozen=True, eq=False)
class FilterRanking:
    """One criterion's scores of a layer's filters.

    ranks: 1 = removed first; refusal: why there are no scores.
    """

    label: str
    scores: np.ndarray
    ranks: np.ndarray
    refusal: str | None = None


def choices(plan: Plan) -> tuple[Granularity, ...]:
    """The standard granularities, and the plan's own N:M or block."""
    return tuple((GRANULARITIES | {plan.granularity: granularity(plan.granularity)}).values())


def refusals(plan: Plan, layer: Layer) -> dict[Granularity, str | None]:
    """For each granularity None, or why the plan's criterion cannot prune this layer with it."""
    how = criterion(plan.criterion, plan.seed)
    return {g: prunable((layer,), g, how)[1].get(layer.name) for g in choices(plan)}


def granularity_results(
    plan: Plan, space: Workspace, layer: Layer, ratio: float, split: Split
) -> tuple[GranularityMask, ...]:
    """The layer alone, pruned at that ratio by every granularity that it supports.

    The plan's criterion gives the scores.
    """
    resolved = plan.resolve(space)
    space = resolved.space
    how = resolved.criterion
    parts = scores_by_part(
        how,
        criterion_model(how, space),
        _scored_layers(how, space),
        criterion_inputs(how, space, plan.calibration),
    )
    own = [{layer.name: scores[layer.name]} for scores in parts]
    supported = [g for g, why in refusals(plan, layer).items() if why is None]
    cuts = compare_granularities(
        space.model,
        space.layers,
        layer,
        group_scores_by_granularity(own, layer, supported, how.pool),
        ratio,
        split,
        tied=space.tied[0] if any(g.removes_outputs for g in supported) else (),
        judge=Judge.of(space.dataset),
        allow_collapse=plan.allow_collapse,
        repairing=resolved.repairing,
    )
    f, c = corner(layer)
    return tuple(
        GranularityMask(
            cut.granularity, cut.mask[:f, :c].numpy().copy(), cut.achieved, cut.evaluation
        )
        for cut in cuts
    )


def corner(layer: Layer) -> tuple[int, int]:
    """How many filters and channels, from the first, a small picture shows."""
    o, i, h, w = layer.shape
    down = max(1, SIDE // h)
    across = max(1, SIDE // w)
    if min(o, i) == 1:  # laid out in rows, see `in_rows`
        return min(o, down * across), min(i, down * across)
    return min(o, down), min(i, across)


def mask_picture(layer: Layer, g: Granularity, kept: np.ndarray) -> tuple[Tiles, np.ndarray]:
    """The corner as a picture with gaps between the groups, and its mask in the same layout."""
    f, c = kept.shape[:2]
    o, i, h, w = group_tables(g, layer)
    ids = (o[:f, None, None, None] + i[:c, None, None] + h[:, None] + w).expand(kept.shape).numpy()
    return _picture(np.ones(kept.shape, np.float32), kept, ids)


def drawn_size(layer: Layer, pixels: int, cell: int) -> tuple[int, int]:
    """Width and height of a small picture, the same for every granularity."""
    f, c = corner(layer)
    h, w = layer.shape[2:]
    rows, cols = _rows_and_columns(f * c, h, w, 1.0) if min(f, c) == 1 else (f, c)
    scale = min(cell, pixels / max(rows * h, cols * w))
    return max(1, round(cols * w * scale)), max(1, round(rows * h * scale))


def filter_picture(
    weight: np.ndarray, kept: np.ndarray, wide: float = 3.0
) -> tuple[Tiles, np.ndarray]:
    """One filter's kernels (1 x I x H x W) in rows, by input channel, and its mask.

    wide: the picture's width divided by its height, about.
    """
    return _picture(weight, kept, np.arange(weight.size).reshape(weight.shape), wide)


def _picture(
    values: np.ndarray, kept: np.ndarray, ids: np.ndarray, wide: float = 1.0
) -> tuple[Tiles, np.ndarray]:
    """The tiles and the mask; a strip of kernels is laid out in rows, with gaps after its end."""
    if min(values.shape[:2]) > 1:
        return tile(values, ids), kept
    laid = in_rows(values.astype(np.float32), np.nan, wide)
    numbers = in_rows(ids.astype(np.int64), -1, wide)
    beyond = np.isnan(laid)
    numbers[beyond] = -1 - np.arange(beyond.sum())
    return tile(laid, numbers), in_rows(kept, np.True_, wide)


def in_rows(strip: np.ndarray, fill: object, wide: float = 1.0) -> np.ndarray:
    """K kernels (K x 1 x H x W or 1 x K x H x W) as R x C kernels, in reading order.

    wide: the picture's width divided by its height, about.
    """
    count = strip.shape[0] * strip.shape[1]
    (h, w) = strip.shape[2:]
    rows, cols = _rows_and_columns(count, h, w, wide)
    laid = np.full((rows * cols, h, w), fill, strip.dtype)
    laid[:count] = strip.reshape(count, h, w)
    return laid.reshape(rows, cols, h, w)


def _rows_and_columns(count: int, h: int, w: int, wide: float) -> tuple[int, int]:
    cols = min(count, max(1, round((wide * count * h / w) ** 0.5)))
    return ceil(count / cols), cols


def maps(dense: nn.Module, pruned: nn.Module, layer: Layer, image: Inputs, most: int) -> Maps:
    """The layer's feature or attention maps for one model-ready image (1 x C x H x W).

    most: larger maps are averaged to this side.
    """
    maps_of = attention_maps if layer.fused else feature_maps
    before = maps_of(dense, layer, image)
    after = maps_of(pruned, layer, image)
    change = relative_change(before, after).numpy()
    (laid, note), (other, _note) = (
        _over_image(output[0], layer.linear) for output in (before, after)
    )
    places = (laid.shape[1], laid.shape[2])
    small = (min(places[0], most), min(places[1], most))
    one, two = (adaptive_avg_pool2d(values, small).numpy() for values in (laid, other))
    return Maps(one, two, change, places, _token_order(places[1]) if layer.fused else note)


def _over_image(output: Tensor, linear: bool) -> tuple[Tensor, str]:
    """K x 1 x T tokens -> K x R x C patches, where the tokens form a square.

    A class token before the patches is left out.
    """
    count = output.shape[2]
    if not linear or output.shape[1] > 1 or count == 1:
        return output, ""
    patches, first = _patches(count)
    if not patches:
        return output, _("Each strip is one output, token by token.")
    note = (
        _(
            "Each map is one output over the {n} × {n} patches of the image; the class token is "
            "left out.",
            n=patches,
        )
        if first
        else _("Each map is one output over the {n} × {n} patches of the image.", n=patches)
    )
    return output[:, :, first:].unflatten(2, (patches, patches)).squeeze(1), note


def _patches(tokens: int) -> tuple[int, int]:
    """Patches on a side of the image (0 where the tokens form no square), and class tokens."""
    return next(
        (
            (isqrt(tokens - first), first)
            for first in (0, 1)
            if isqrt(tokens - first) ** 2 == tokens - first
        ),
        (0, 0),
    )


def _token_order(tokens: int) -> str:
    """The order of the tokens of an attention map, in words."""
    patches, first = _patches(tokens)
    if not patches:
        return _("{tokens} tokens.", tokens=tokens)
    if first:
        return _(
            "{tokens} tokens: the class token, then the {n} × {n} patches of the image in reading "
            "order.",
            tokens=tokens,
            n=patches,
        )
    return _(
        "{tokens} tokens: the {n} × {n} patches of the image in reading order.",
        tokens=tokens,
        n=patches,
    )


def filter_rankings(name: str, plan: Plan, space: Workspace) -> dict[str, FilterRanking]:
    """The filters of every layer, ranked by one criterion.

    A criterion that needs data reads the plan's calibration images.
    """
    how = criterion(name, plan.seed)
    layers = _scored_layers(how, space)
    reasons = {layer.name: how.supports(layer) for layer in space.layers}
    scores: dict[str, Tensor] = {}
    try:
        if layers:
            inputs = criterion_inputs(how, space, plan.calibration)
            scores = filter_scores(how, criterion_model(how, space), layers, inputs)
    except PruningError as problem:  # the other criteria stay in the table
        reasons |= {layer.name: str(problem) for layer in layers}
    none = np.empty(0)
    refused = {
        layer.name: FilterRanking(how.label, none, none, reasons[layer.name])
        for layer in space.layers
        if layer.name not in scores
    }
    return refused | {
        layer: FilterRanking(how.label, values.numpy(), ranks(values[None])[0].numpy() + 1)
        for layer, values in scores.items()
    }


def _scored_layers(how: Criterion, space: Workspace) -> tuple[Layer, ...]:
    return tuple(layer for layer in space.layers if how.supports(layer) is None)


def filter_of(layer: Layer, g: Granularity, scope: int, group: int) -> int | None:
    """The first filter with weights of the group; None where all filters have some."""
    o, i, h, w = group_tables(g, layer)
    scopes, count = _sizes(layer, g)
    inside = (i[:, None, None] + h[:, None] + w).unique()
    filters = torch.isin(scope * count + group - o, inside).nonzero().flatten()
    return int(filters[0]) if scope < scopes and 0 < len(filters) < layer.shape[0] else None


def _sizes(layer: Layer, g: Granularity) -> tuple[int, int]:
    scopes, count = to_groups(torch.empty(layer.shape, device="meta"), g, layer).shape[:2]
    return scopes, count


def criteria(chosen: str) -> tuple[str, ...]:
    """All criteria, the chosen one first."""
    return tuple(dict.fromkeys((chosen, *CRITERIA)))


def removed_filters(mask: Tensor | None, count: int) -> np.ndarray:
    """Which filters keep no weight; none without a mask."""
    return (
        np.zeros(count, bool) if mask is None else ~torch.as_tensor(mask).flatten(1).any(1).numpy()
    )
