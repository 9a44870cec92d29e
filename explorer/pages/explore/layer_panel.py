"""One layer from inside: the lab where it is cut, the histogram that decides, and its numbers."""

from functools import partial

import streamlit as st

from explorer.charts import alt, score_histogram
from explorer.components.mask_lab import Edit, LabDetail, Result, lab_view, mask_lab
from explorer.pages.explore.layer_details import filter_of
from explorer.pages.explore.layer_facts import LayerFacts, layer_facts
from explorer.pages.explore.layer_table import layer_picker
from explorer.pages.explore.look_closer import look_closer
from explorer.session import cache, state
from explorer.texts.formats import percent, shape
from explorer.texts.help import HELP
from pruning_core.granularity import granularity
from pruning_core.hand_edits import Group
from pruning_core.model.inventory import weights
from pruning_core.plan import Plan
from pruning_core.types import Layer
from pruning_core.workspace import Workspace


def layer_panel(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    """Draws the panel. refusal: the sentence why the plan cannot cut this layer, None where it can."""
    st.subheader("One layer", anchor=False)
    controls = st.container(horizontal=True, vertical_alignment="bottom")
    with controls:
        layer_picker([each.name for each in space.layers], layer.name)
        _buttons(plan, space, layer, refusal)
    ratio = cache.ratios(plan, space)[layer.name] if refusal is None else 0.0
    st.caption(refusal or _decided(plan, layer, ratio))
    _lab(plan, space, layer, ratio, cut=refusal is None)
    facts = _facts(plan, space, layer, refusal)
    if broken := facts.broken(granularity(plan.granularity)):
        st.warning(
            f"Edits by hand have broken {plan.granularity} in {broken:,} place{'s' * (broken > 1)} of this layer."
        )
    below = st.grid(2, min_column_width=320)
    with below.cell():
        _histogram(plan, facts, refusal)
    with below.cell():
        _numbers(facts)
    look_closer(plan, space, layer, refusal, None if refusal else _filter_looked_at(plan, layer))


def _lab(plan: Plan, space: Workspace, layer: Layer, ratio: float, *, cut: bool) -> None:
    """The layer itself, to be cut by its slider and by hand."""
    st.markdown(
        "**Weights and mask**", help=f"{HELP['weights']}\n\n{HELP['mask']}\n\n{HELP['ratio']}"
    )
    view = cache.layer_view(plan, space, layer, cut, lab_view)
    scores = cache.groups(plan, space)[layer.name] if cut else None
    detail = LabDetail(
        layer, weights(space.model, (layer,))[layer.name], scores, granularity(plan.granularity)
    )
    chosen = (Edit(*group) for group in _edits(plan, layer))
    reported = partial(_reported, layer.name)
    unused = len(_edits(state.plan(), layer)) - len(_edits(plan, layer))
    mask_lab(
        view,
        ratio=ratio,
        edits=chosen,
        key="lab",
        on_report=reported,
        detail=detail,
        waiting=unused,
        network=f"{plan.model} {plan.dataset}",
    )


def _edits(plan: Plan, layer: Layer) -> tuple[Group, ...]:
    """The layer's groups kept or pruned by hand at the plan's granularity."""
    found = (
        each.groups
        for each in plan.edits
        if (each.layer, each.granularity) == (layer.name, plan.granularity)
    )
    return next(found, ())


def _reported(name: str, result: Result) -> None:
    """Takes over what was done in the lab; N:M leaves only the choice between cut and dense."""
    g = granularity(state.plan().granularity)
    if result.ratio is not None:
        state.set_ratio(
            name, result.ratio if g.fixed_ratio is None else None if result.ratio else 0.0
        )
    if result.edits is not None:
        state.set_hand_edits(name, g.name, result.edits)
    if result.selected is not None:
        state.store("group", (name, g.name, *result.selected))


def _filter_looked_at(plan: Plan, layer: Layer) -> int | None:
    """The filter of the group that was selected last in the lab, if it was one of this layer's."""
    name, cut_by, scope, group = state.stored("group", ("", "", 0, 0))
    return (
        filter_of(layer, granularity(cut_by), scope, group)
        if (name, cut_by) == (layer.name, plan.granularity)
        else None
    )


def _facts(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> LayerFacts:
    weight = weights(space.model, (layer,))[layer.name]
    g = granularity(plan.granularity)
    if refusal is not None:
        return layer_facts(layer, weight, None, None, g)
    mask = cache.masks(plan, space)[layer.name]
    scores = cache.groups(plan, space)[layer.name]
    return layer_facts(layer, weight, mask, scores, g, _edits(plan, layer))


def _decided(plan: Plan, layer: Layer, ratio: float) -> str:
    """Who set the share, and what was edited on top."""
    count = len(_edits(plan, layer))
    edits = (
        f" {count:,} group{'s' if count > 1 else ''} kept or pruned by hand on top."
        if count
        else ""
    )
    g = granularity(plan.granularity)
    if g.fixed_ratio is not None:
        return (
            f"{g.label} sets the share: {percent(ratio)}." if ratio else "Left dense by hand."
        ) + edits
    if layer.name in dict(plan.overrides):
        return f"{percent(ratio)}, set by hand. It stays whatever the allocation does.{edits}"
    return f"{percent(ratio)}, from the allocation. Move the slider to set it by hand.{edits}"


def _buttons(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    by_hand = dict(plan.overrides)
    mine = layer.name in by_hand
    fixed = granularity(plan.granularity).fixed_ratio is not None
    ratio = cache.ratios(plan, space)[layer.name] if refusal is None else 0.0
    with st.container(horizontal=True, width="content"):
        st.button(
            "Lock",
            icon=":material/lock:",
            key="lock",
            help=HELP["lock"],
            disabled=mine or refusal is not None or fixed,
            on_click=state.set_ratio,
            args=(layer.name, ratio),
        )
        st.button(
            "Reset",
            icon=":material/lock_open:",
            key="reset",
            help=HELP["reset"],
            disabled=not mine,
            on_click=state.set_ratio,
            args=(layer.name, None),
        )
        st.button(
            f"Reset all ({len(by_hand)})",
            icon=":material/restart_alt:",
            key="reset_all",
            help=HELP["reset_all"],
            disabled=not by_hand,
            on_click=state.set_ratios,
            args=({},),
        )


def _histogram(plan: Plan, facts: LayerFacts, refusal: str | None) -> None:
    st.markdown("**Which groups go**", help=HELP["histogram"])
    if facts.group_scores is None or facts.group_kept is None:
        st.caption(f"No scores: {refusal}")
        return
    figure = score_histogram(
        facts.group_scores, facts.group_kept, facts.threshold, name=facts.layer.name
    )
    st.plotly_chart(figure, key="scores", config={"displayModeBar": False}, alt=alt(figure))
    scopes, groups = facts.group_scores.shape
    rule = (
        "The lowest scores go."
        if scopes == 1
        else (
            f"The lowest of every {groups:,} groups side by side go, so there is no single threshold."
        )
    )
    line = (
        f" Dashed line: {facts.threshold:.3g}, the lowest score that stays."
        if facts.threshold is not None
        else ""
    )
    edits = " Groups kept or pruned by hand are exceptions." if _edits(plan, facts.layer) else ""
    st.caption(rule + line + edits)


def _numbers(facts: LayerFacts) -> None:
    st.markdown("**In numbers**")
    layer = facts.layer
    kept = facts.weights_kept
    rows = {
        "Shape": shape(layer.shape),
        "Weights kept": f"{kept:,} of {layer.numel:,} ({percent(kept / layer.numel)})",
    }
    if facts.group_kept is not None:
        total = facts.group_kept.size
        size = layer.numel // total
        rows["Groups kept"] = f"{int(facts.group_kept.sum()):,} of {total:,}"
        rows["Group"] = f"{size:,} weight{'s' if size > 1 else ''}"
    if layer.bn:
        rows["Batch norm behind it"] = layer.bn
    st.table(
        rows | facts.statistics, border="horizontal", alt=f"Counts and statistics of {layer.name}."
    )
