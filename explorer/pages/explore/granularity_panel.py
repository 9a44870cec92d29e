"""One layer under every granularity at equal sparsity: small masks side by side, each with what it
costs.
"""

import streamlit as st

from explorer.charts.contact_sheet import Bar, Card, Shot, sheet
from explorer.charts.raster import mask_png
from explorer.pages.explore.layer_details import (
    Multiple,
    corner,
    drawn_size,
    granularity_results,
    mask_picture,
    refusals,
)
from explorer.session import cache
from explorer.texts.formats import interval, percent
from explorer.texts.help import HELP
from pruning_core.criteria import criterion
from pruning_core.granularity import granularity
from pruning_core.plan import Plan
from pruning_core.types import Evaluation, Layer, PruningError
from pruning_core.workspace import Workspace

PIXELS = 192
CELL = 16
"""Longer side of a small picture, and most of a cell's, in pixels."""
CARD = 220
QUICK = 5 * 10**11
"""Multiply-adds up to which all shapes are measured unasked."""


def granularity_panel(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    """Draws the sheet. Raises PruningError where the criterion has no scores for this layer."""
    how = criterion(plan.criterion, plan.seed)
    if (why := how.supports(layer)) is not None:
        raise PruningError(f"{why} Choose another criterion to compare granularities here.")
    ratio = plan.sparsity if refusal else _ratio(plan, space, layer)
    shapes = refusals(plan, layer)
    if not _affordable(plan, space, sum(why is None for why in shapes.values())):
        return
    found = cache.cached_detail(
        lambda: granularity_results(plan, space, layer, ratio, cache.probe(plan, space)),
        "multiples",
        plan.model,
        plan.dataset,
        how,
        plan.calibration if how.needs_data else None,
        layer.name,
        ratio,
        plan.probe,
        plan.allow_collapse,
        tuple(g.name for g in shapes),
    )
    dense = cache.dense_accuracy(plan, space)
    st.markdown(f"**{percent(ratio)} of {layer.name}, cut in every shape**", help=HELP["multiples"])
    st.caption(_told(plan, layer, refusal, dense, how.label))
    refused = [
        Card(g.label, (why,), off=True, tag="cannot")
        for g, why in shapes.items()
        if why is not None
    ]
    st.html(sheet([*(_card(plan, layer, each, dense) for each in found), *refused], width=CARD))


def _affordable(plan: Plan, space: Workspace, passes: int) -> bool:
    """A large network is only measured when the user says so."""
    macs = sum(each.macs for each in space.layers) * plan.probe * passes
    label = f"Measure all {passes} shapes: up to {passes} runs over {plan.probe:,} images"
    return macs <= QUICK or st.toggle(label, key="measure_shapes", help=HELP["costly_shapes"])


def _ratio(plan: Plan, space: Workspace, layer: Layer) -> float:
    """The layer's share; a layer left dense by hand at N:M is cut at N:M's share here, for there is
    no slider to ask.
    """
    return cache.ratios(plan, space)[layer.name] or granularity(plan.granularity).fixed_ratio or 0.0


def pictured(layer: Layer) -> str:
    """What part of the layer a small picture shows."""
    (f, c) = corner(layer)
    (o, i) = layer.shape[:2]
    return (
        "the whole layer"
        if (f, c) == (o, i)
        else f"its first {f:,} of {o:,} filters and {c:,} of {i:,} input channels"
    )


def _told(plan: Plan, layer: Layer, refusal: str | None, dense: Evaluation, how: str) -> str:
    share = (
        f"The plan leaves this layer whole, so its global {percent(plan.sparsity)} is shown. "
        if refusal
        else ""
    )
    return (
        f"{share}Lowest {how} scores go. Only this layer is cut, every other layer stays as trained, nothing is re-trained. "
        f"Accuracy is measured on {dense.n:,} validation images: mark and 95% band, dotted line: dense, {100 * dense.top1:.1f}%. "
        f"Pictures: {pictured(layer)}; blue stays, grey and hatched goes."
        f"{' Edits by hand are left out.' if any(each.layer == layer.name for each in plan.edits) else ''}"
    )


def _card(plan: Plan, layer: Layer, found: Multiple, dense: Evaluation) -> Card:
    g = found.granularity
    score = found.evaluation
    used = g.name == plan.granularity
    fixed = f"fixed {percent(g.fixed_ratio)}" if g.fixed_ratio is not None else ""
    tag = " · ".join(filter(None, ("in use" if used else "", fixed)))
    tiles, kept = mask_picture(layer, g, found.kept)
    size = drawn_size(layer, PIXELS, CELL)
    alt = (
        f"Mask of {layer.name} cut by {g.label}: {percent(found.achieved)} of its weights removed."
    )
    shot = Shot(mask_png(tiles, kept, size), alt, *size, smooth=True)
    lines = (
        f"{100 * score.top1:.1f}% right",
        f"95%: {interval(score)}, n = {score.n:,}",
        f"{percent(found.achieved)} of its weights removed",
        g.help,
    )
    return Card(
        g.label, lines, (shot,), Bar(score.top1, *score.interval, dense.top1), tag, chosen=used
    )
