"""One layer: the mask lab; below it the histogram of its group scores, and its numbers."""

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
from pruning_core.workspaces import Workspace


def layer_lab(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    """Draws the choice of the layer, and its mask lab.

    refusal: why the plan cannot prune this layer; None where it can.
    """
    controls = st.container(horizontal=True, vertical_alignment="center")
    with controls:
        layer_picker([known.name for known in space.layers], layer.name)
        _buttons(plan, space, layer, refusal)
    ratio = cache.ratios(plan, space)[layer.name] if refusal is None else 0.0
    _lab(plan, space, layer, ratio, prunable=refusal is None)
    st.caption(
        refusal or _ratio_source(plan, layer, ratio),
        help=f"{HELP['weights']}\n\n{HELP['mask']}\n\n{HELP['ratio']}",
    )


def layer_panel(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    """Draws what is below the lab: scores, numbers, and closer looks. refusal: as `layer_lab`."""
    facts = _facts(plan, space, layer, refusal)
    if broken := facts.broken(granularity(plan.granularity)):
        st.warning(
            f"Because of hand edits, {broken:,} scope{'s' * (broken > 1)} of this layer "
            f"{'do' if broken > 1 else 'does'} not keep {plan.granularity}."
        )
    below = st.grid(2, min_column_width=320)
    with below.cell():
        _histogram(plan, facts, refusal)
    with below.cell():
        _numbers(facts)
    look_closer(plan, space, layer, refusal, None if refusal else _selected_filter(plan, layer))


def _lab(plan: Plan, space: Workspace, layer: Layer, ratio: float, *, prunable: bool) -> None:
    """The mask lab, with the layer's slider and hand edits."""
    view = cache.layer_view(plan, space, layer, prunable, lab_view)
    scores = cache.groups(plan, space)[layer.name] if prunable else None
    detail = LabDetail(
        layer, weights(space.model, (layer,))[layer.name], scores, granularity(plan.granularity)
    )
    edits = (Edit(*group) for group in _edits(plan, layer))
    unused = len(_edits(state.plan(), layer)) - len(_edits(plan, layer))
    mask_lab(
        view,
        ratio=ratio,
        edits=edits,
        key="lab",
        on_report=partial(_take_over, layer.name),
        detail=detail,
        waiting=unused,
        network=f"{plan.model} {plan.dataset}",
    )


def _edits(plan: Plan, layer: Layer) -> tuple[Group, ...]:
    """The layer's groups kept or removed by hand at the plan's granularity."""
    groups = (
        edit.groups
        for edit in plan.edits
        if (edit.layer, edit.granularity) == (layer.name, plan.granularity)
    )
    return next(groups, ())


def _take_over(name: str, result: Result) -> None:
    """Puts the lab's result into the plan. With N:M a layer is either pruned or dense."""
    g = granularity(state.plan().granularity)
    if result.ratio is not None:
        state.set_ratio(
            name, result.ratio if g.fixed_ratio is None else None if result.ratio else 0.0
        )
    if result.edits is not None:
        state.set_hand_edits(name, g.name, result.edits)
    if result.selected is not None:
        state.store("group", (name, g.name, *result.selected))


def _selected_filter(plan: Plan, layer: Layer) -> int | None:
    """The filter of the group that was selected last in the lab, if it is in this layer."""
    name, granularity_name, scope, group = state.stored("group", ("", "", 0, 0))
    return (
        filter_of(layer, granularity(granularity_name), scope, group)
        if (name, granularity_name) == (layer.name, plan.granularity)
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


def _ratio_source(plan: Plan, layer: Layer, ratio: float) -> str:
    """Where the ratio comes from, and how many groups are edited by hand."""
    count = len(_edits(plan, layer))
    edits = (
        f" {count:,} group{'s are' if count > 1 else ' is'} kept or removed by hand."
        if count
        else ""
    )
    g = granularity(plan.granularity)
    if g.fixed_ratio is not None:
        return (
            f"{g.label} sets the ratio: {percent(ratio)}." if ratio else "Kept dense by hand."
        ) + edits
    if layer.name in dict(plan.overrides):
        return f"{percent(ratio)}, set by hand. The allocation does not change it.{edits}"
    return f"{percent(ratio)}, from the allocation. Move the slider to set it by hand.{edits}"


def _buttons(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    by_hand = dict(plan.overrides)
    own = layer.name in by_hand
    fixed = granularity(plan.granularity).fixed_ratio is not None
    ratio = cache.ratios(plan, space)[layer.name] if refusal is None else 0.0
    with st.container(horizontal=True, width="content"):
        st.button(
            "Lock",
            icon=":material/lock:",
            key="lock",
            help=HELP["lock"],
            disabled=own or refusal is not None or fixed,
            on_click=state.set_ratio,
            args=(layer.name, ratio),
        )
        st.button(
            "Reset",
            icon=":material/lock_open:",
            key="reset",
            help=HELP["reset"],
            disabled=not own,
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
    st.markdown("**Which groups are removed**", help=HELP["histogram"])
    if facts.group_scores is None or facts.group_kept is None:
        st.caption(f"No scores: {refusal}")
        return
    figure = score_histogram(
        facts.group_scores, facts.group_kept, facts.threshold, name=facts.layer.name
    )
    st.plotly_chart(figure, key="scores", config={"displayModeBar": False}, alt=alt(figure))
    scopes, groups = facts.group_scores.shape
    rule = (
        "The lowest scores are removed."
        if scopes == 1
        else (
            f"The lowest of every {groups:,} neighbouring groups are removed, "
            "so there is no single threshold."
        )
    )
    line = (
        f" Dashed line: {facts.threshold:.3g}, the lowest score that is kept."
        if facts.threshold is not None
        else ""
    )
    edits = " Groups kept or removed by hand are exceptions." if _edits(plan, facts.layer) else ""
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
        rows["Batch norm after it"] = layer.bn
    st.table(
        rows | facts.statistics, border="horizontal", alt=f"Counts and statistics of {layer.name}."
    )
