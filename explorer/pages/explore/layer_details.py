"""What "Look closer" tells about one layer: its cuts by every granularity, what it says about an
image, its filters' scores.

Arrays and numbers only; knows no Streamlit.
"""

from dataclasses import dataclass
from math import ceil, isqrt

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from explorer.charts.tiles import Tiles, tile
from pruning_core.criteria import CRITERIA, Criterion, criterion
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
from pruning_core.workspace import Workspace

SIDE = 48
"""Cells on a side of a small picture of a mask."""


@dataclass(frozen=True, eq=False)
class Multiple:
    """One granularity's cut of the layer. kept: the corner that is drawn, O I H W; achieved: share
    of all weights removed.
    """

    granularity: Granularity
    kept: np.ndarray
    achieved: float
    evaluation: Evaluation


@dataclass(frozen=True, eq=False)
class Maps:
    """What a layer says about one image, dense and pruned: K maps of R x C. change: ||d - p|| /
    ||d|| of each, before reduction.

    places: R x C before large maps were averaged down; note: how the maps were laid out, if that
    needs saying.
    """

    dense: np.ndarray
    pruned: np.ndarray
    change: np.ndarray
    places: tuple[int, int]
    note: str


@dataclass(frozen=True, eq=False)
class Scored:
    """One criterion's scores of the layer's filters. ranks: 1 = goes first; refusal: the sentence
    why there are none.
    """

    label: str
    scores: np.ndarray
    ranks: np.ndarray
    refusal: str | None = None


def choices(plan: Plan) -> tuple[Granularity, ...]:
    """The standard granularities, and the plan's own if it is another N:M or block."""
    return tuple((GRANULARITIES | {plan.granularity: granularity(plan.granularity)}).values())


def refusals(plan: Plan, layer: Layer) -> dict[Granularity, str | None]:
    """For each granularity None, or the sentence why the plan's criterion cannot cut this layer so."""
    how = criterion(plan.criterion, plan.seed)
    return {g: prunable((layer,), g, how)[1].get(layer.name) for g in choices(plan)}


def granularity_results(
    plan: Plan, space: Workspace, layer: Layer, ratio: float, split: Split
) -> tuple[Multiple, ...]:
    """The layer alone, cut at that ratio by every granularity that it supports, scored by the
    plan's criterion.
    """
    how = criterion(plan.criterion, plan.seed)
    scores = how(
        criterion_model(how, space),
        _able(how, space),
        criterion_inputs(how, space, plan.calibration),
    )
    able = (g for g, why in refusals(plan, layer).items() if why is None)
    cuts = compare_granularities(
        space.model,
        space.layers,
        layer,
        group_scores_by_granularity(scores, layer, able, how.pool),
        ratio,
        split,
        tied=space.tied[0],
        outputs=space.dataset.outputs,
        allow_collapse=plan.allow_collapse,
    )
    f, c = corner(layer)
    return tuple(
        Multiple(cut.granularity, cut.mask[:f, :c].numpy().copy(), cut.achieved, cut.evaluation)
        for cut in cuts
    )


def corner(layer: Layer) -> tuple[int, int]:
    """The filters and channels, from the first, that a small picture has room for."""
    o, i, h, w = layer.shape
    down = max(1, SIDE // h)
    across = max(1, SIDE // w)
    if min(o, i) == 1:  # laid out in rows, see `spread`
        return min(o, down * across), min(i, down * across)
    return min(o, down), min(i, across)


def mask_picture(layer: Layer, g: Granularity, kept: np.ndarray) -> tuple[Tiles, np.ndarray]:
    """The corner as a picture with gaps between this granularity's groups, and its mask laid out
    alike.
    """
    f, c = kept.shape[:2]
    o, i, h, w = group_tables(g, layer)
    ids = (o[:f, None, None, None] + i[:c, None, None] + h[:, None] + w).expand(kept.shape).numpy()
    return _picture(np.ones(kept.shape, np.float32), kept, ids)


def drawn_size(layer: Layer, pixels: int, cell: int) -> tuple[int, int]:
    """Width and height for a small picture, the same for every granularity however many gaps it
    has.
    """
    f, c = corner(layer)
    _, _, h, w = layer.shape
    rows, cols = _laid(f * c, h, w, 1.0) if min(f, c) == 1 else (f, c)
    scale = min(cell, pixels / max(rows * h, cols * w))
    return max(1, round(cols * w * scale)), max(1, round(rows * h * scale))


def filter_picture(
    weight: np.ndarray, kept: np.ndarray, wide: float = 3.0
) -> tuple[Tiles, np.ndarray]:
    """One filter's kernels (1 I H W), input channel by channel in rows, about `wide` times as wide
    as high, and its mask.
    """
    return _picture(weight, kept, np.arange(weight.size).reshape(weight.shape), wide)


def _picture(
    values: np.ndarray, kept: np.ndarray, ids: np.ndarray, wide: float = 1.0
) -> tuple[Tiles, np.ndarray]:
    """A tall or flat strip is laid out in rows; the cells beyond its end are gaps of their own."""
    if min(values.shape[:2]) > 1:
        return tile(values, ids), kept
    laid = spread(values.astype(np.float32), np.nan, wide)
    numbers = spread(ids.astype(np.int64), -1, wide)
    beyond = np.isnan(laid)
    numbers[beyond] = -1 - np.arange(beyond.sum())
    return tile(laid, numbers), spread(kept, np.True_, wide)


def spread(strip: np.ndarray, fill: object, wide: float = 1.0) -> np.ndarray:
    """K kernels (K 1 H W or 1 K H W) as R x C kernels, in reading order, about `wide` times as wide
    as high.
    """
    count = strip.shape[0] * strip.shape[1]
    (h, w) = strip.shape[2:]
    rows, cols = _laid(count, h, w, wide)
    laid = np.full((rows * cols, h, w), fill, strip.dtype)
    laid[:count] = strip.reshape(count, h, w)
    return laid.reshape(rows, cols, h, w)


def _laid(count: int, h: int, w: int, wide: float) -> tuple[int, int]:
    cols = min(count, max(1, round((wide * count * h / w) ** 0.5)))
    return ceil(count / cols), cols


def maps(dense: nn.Module, pruned: nn.Module, layer: Layer, image: Inputs, most: int) -> Maps:
    """The layer's feature or attention maps for one model-ready image (1 C H W), averaged down to
    at most `most` a side.
    """
    look = attention_maps if layer.fused else feature_maps
    before = look(dense, layer, image)
    after = look(pruned, layer, image)
    change = relative_change(before, after).numpy()
    (laid, note), (other, _) = (_over_image(found[0], layer.linear) for found in (before, after))
    places = (laid.shape[1], laid.shape[2])
    small = (min(places[0], most), min(places[1], most))
    one, two = (adaptive_avg_pool2d(each, small).numpy() for each in (laid, other))
    return Maps(one, two, change, places, _told(places[1]) if layer.fused else note)


def _over_image(found: Tensor, linear: bool) -> tuple[Tensor, str]:
    """K 1 T of tokens -> K R C where the tokens are a square of patches; a class token before them
    is left out.
    """
    count = found.shape[2]
    if not linear or found.shape[1] > 1 or count == 1:
        return found, ""
    patches, first = _patches(count)
    if not patches:
        return found, "Each strip is one output, token by token."
    note = f"Each map is one output over the {patches} × {patches} patches of the image{'; the class token is left out' * first}."
    return found[:, :, first:].unflatten(2, (patches, patches)).squeeze(1), note


def _patches(tokens: int) -> tuple[int, int]:
    """Patches on a side of the image that the tokens stand for (0 if they are no square), and class
    tokens before them.
    """
    return next(
        (
            (isqrt(tokens - first), first)
            for first in (0, 1)
            if isqrt(tokens - first) ** 2 == tokens - first
        ),
        (0, 0),
    )


def _told(tokens: int) -> str:
    """Which tokens an attention map is about."""
    patches, first = _patches(tokens)
    order = f": {'the class token, then ' * first}the {patches} × {patches} patches of the image in reading order"
    return f"{tokens} tokens{order if patches else ''}."


def scored(name: str, plan: Plan, space: Workspace) -> dict[str, Scored]:
    """The filters of every layer by one criterion; those that need data read the plan's calibration
    images.
    """
    how = criterion(name, plan.seed)
    none = np.empty(0)
    able = _able(how, space)
    reasons = {each.name: how.supports(each) for each in space.layers}
    try:
        found = (
            filter_scores(
                how,
                criterion_model(how, space),
                able,
                criterion_inputs(how, space, plan.calibration),
            )
            if able
            else {}
        )
    except (
        PruningError
    ) as problem:  # one criterion that fails on this network leaves the others in the table
        found = {}
        reasons = reasons | {each.name: str(problem) for each in able}
    refused = {
        each.name: Scored(how.label, none, none, reasons[each.name])
        for each in space.layers
        if each.name not in found
    }
    return refused | {
        each: Scored(how.label, s.numpy(), ranks(s[None])[0].numpy() + 1)
        for each, s in found.items()
    }


def _able(how: Criterion, space: Workspace) -> tuple[Layer, ...]:
    return tuple(layer for layer in space.layers if how.supports(layer) is None)


def filter_of(layer: Layer, g: Granularity, scope: int, group: int) -> int | None:
    """The first filter that the group has weights in; None where it is spread over all of them, as
    a channel is.
    """
    o, i, h, w = group_tables(g, layer)
    scopes, count = _sizes(layer, g)
    found = (
        torch.isin(scope * count + group - o, (i[:, None, None] + h[:, None] + w).unique())
        .nonzero()
        .flatten()
    )
    return int(found[0]) if scope < scopes and 0 < len(found) < layer.shape[0] else None


def _sizes(layer: Layer, g: Granularity) -> tuple[int, int]:
    scopes, count, _ = to_groups(torch.empty(layer.shape, device="meta"), g, layer).shape
    return scopes, count


def criteria(chosen: str) -> tuple[str, ...]:
    """All criteria, the chosen one first."""
    return tuple(dict.fromkeys((chosen, *CRITERIA)))


def removed_filters(mask: Tensor | None, count: int) -> np.ndarray:
    """Which filters have no weight left; none without a mask."""
    return (
        np.zeros(count, bool) if mask is None else ~torch.as_tensor(mask).flatten(1).any(1).numpy()
    )
