"""One layer under every granularity at one ratio: small masks, each with its measured accuracy."""

import streamlit as st

from explorer.charts.contact_sheet import Card, Shot, bar_of, sheet
from explorer.charts.raster import mask_png
from explorer.pages.explore.layer_details import (
    GranularityMask,
    corner,
    drawn_size,
    granularity_results,
    mask_picture,
    refusals,
)
from explorer.session import cache, state
from explorer.texts.formats import interval, percent, title
from explorer.texts.help import HELP
from explorer.texts.task_words import band_words, value_words
from explorer.texts.translate import N_, _, from_core, in_a_row
from pruning_core.criteria import criterion
from pruning_core.granularity import Granularity, granularity
from pruning_core.plan import Plan
from pruning_core.repairs import NONE
from pruning_core.types import Evaluation, Layer, PruningError
from pruning_core.workspaces import Workspace

PIXELS = 192
CELL = 16
"""The longer side of a small picture, and the largest side of a cell, in pixels."""
CARD = 220
QUICK = 5 * 10**11
"""Multiply-adds up to which all granularities are measured without a question."""
OTHER_CRITERION = N_("Choose another criterion to compare granularities here.")
DENSE = N_("The plan keeps this layer dense, so its target of {share} is shown.")
CAPTION = N_(
    "The lowest {criterion} scores are removed. Only this layer is pruned; nothing is "
    "trained. {value} is measured on {n:,} probe {samples}: {band}Pictures: {part}; blue is "
    "kept, grey and hatched is removed."
)
"""band: a whole sentence."""


def granularity_panel(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    """Draws the cards. Raises PruningError where the criterion has no scores for this layer."""
    how = criterion(plan.criterion, plan.seed)
    if (why := how.supports(layer)) is not None:
        raise PruningError(f"{why} {OTHER_CRITERION}")
    ratio = plan.sparsity if refusal else _ratio(plan, space, layer)
    reasons = refusals(plan, layer)
    if not _affordable(plan, space, sum(why is None for why in reasons.values())):
        return
    results = cache.cached_detail(
        lambda: granularity_results(plan, space, layer, ratio, cache.probe(plan, space)),
        space,
        "multiples",
        plan.model,
        plan.dataset,
        how,
        plan.calibration if how.needs_data or plan.repair != NONE else None,
        plan.repair,
        plan.norms,
        layer.name,
        ratio,
        plan.probe,
        plan.allow_collapse,
        tuple(g.name for g in reasons),
    )
    dense = cache.dense_accuracy(plan, space)
    name = _(
        "{share} of {layer} removed by every granularity", share=percent(ratio), layer=layer.name
    )
    st.markdown(f"**{name}**", help=HELP["multiples"])
    st.caption(_caption(plan, layer, refusal, dense, from_core(how.label)))
    refused = [
        Card(from_core(g.label), (from_core(why),), off=True, tag=_("refused"))
        for g, why in reasons.items()
        if why is not None
    ]
    st.html(
        sheet([*(_card(plan, layer, result, dense) for result in results), *refused], width=CARD)
    )


def _affordable(plan: Plan, space: Workspace, passes: int) -> bool:
    """A large network is measured only when the user asks for it."""
    macs = sum(known.macs for known in space.layers) * plan.probe * passes
    label = _(
        "Measure all {passes} granularities: up to {passes} runs over {probe:,} {samples}",
        passes=passes,
        probe=plan.probe,
        samples=from_core(space.dataset.task.samples),
    )
    state.keep_widget("measure_shapes")
    return macs <= QUICK or st.toggle(label, key="measure_shapes", help=HELP["costly_shapes"])


def _ratio(plan: Plan, space: Workspace, layer: Layer) -> float:
    """The layer's ratio; N:M's own ratio where the layer is kept dense by hand."""
    return cache.ratios(plan, space)[layer.name] or granularity(plan.granularity).fixed_ratio or 0.0


def pictured(layer: Layer) -> str:
    """The part of the layer that a small picture shows, in words."""
    (f, c) = corner(layer)
    (o, i) = layer.shape[:2]
    if (f, c) == (o, i):
        return _("the whole layer")
    return _(
        "its first {f:,} of {o:,} filters and {c:,} of {i:,} input channels", f=f, o=o, c=c, i=i
    )


def _caption(plan: Plan, layer: Layer, refusal: str | None, dense: Evaluation, how: str) -> str:
    edited = any(edit.layer == layer.name for edit in plan.edits)
    parts = (
        _(DENSE, share=percent(plan.sparsity)) if refusal else "",
        _(
            CAPTION,
            criterion=how,
            value=title(dense.task),
            n=dense.n,
            samples=from_core(dense.task.samples),
            band=band_words(dense),
            part=pictured(layer),
        ),
        _("Hand edits are not used here.") if edited else "",
    )
    return in_a_row(parts)


def _card(plan: Plan, layer: Layer, result: GranularityMask, dense: Evaluation) -> Card:
    g = result.granularity
    score = result.evaluation
    used = g.name == plan.granularity
    tiles, kept = mask_picture(layer, g, result.kept)
    size = drawn_size(layer, PIXELS, CELL)
    share = percent(result.achieved)
    alt = _(
        "Mask of {layer} by {granularity}: {share} of its weights removed.",
        layer=layer.name,
        granularity=from_core(g.label),
        share=share,
    )
    shot = Shot(mask_png(tiles, kept, size), alt, *size, smooth=True)
    lines = (
        value_words(score),
        interval_line(score),
        _("{share} of its weights removed", share=share),
        from_core(g.help),
    )
    return Card(
        from_core(g.label), lines, (shot,), bar_of(score, dense), tag_of(g, used), chosen=used
    )


def interval_line(measured: Evaluation) -> str:
    """The interval of a value in a card."""
    return _("95%: {interval}, n = {n:,}", interval=interval(measured), n=measured.n)


def tag_of(g: Granularity, used: bool) -> str:
    """What the corner of a granularity's card says. used: it is the plan's."""
    fixed = "" if g.fixed_ratio is None else _("fixed {share}", share=percent(g.fixed_ratio))
    return " · ".join(filter(None, (_("in use") if used else "", fixed)))
