"""One layer: the mask lab; below it the histogram of its group scores, and its numbers."""

from collections.abc import Iterator
from functools import partial

import streamlit as st

from explorer.charts.score_bars import score_bars, score_bars_html
from explorer.components.mask_lab import Edit, LabDetail, Result, lab_view, mask_lab
from explorer.pages.explore.layer_facts import LayerFacts, layer_facts
from explorer.pages.explore.layer_facts_html import facts_html
from explorer.pages.explore.layer_table import layer_picker
from explorer.session import cache, state
from explorer.session.page_body import change_and_draw
from explorer.session.shown_layer import shown_layer
from explorer.texts.formats import percent, shape
from explorer.texts.help import HELP
from explorer.texts.translate import _, from_core, in_a_row, n_
from pruning_core.granularity import granularity
from pruning_core.hand_edits import GroupEdit
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
        layer_picker(space, layer.name)
        _buttons(plan, space, layer, refusal)
    ratio = cache.ratios(plan, space)[layer.name] if refusal is None else 0.0
    _lab(plan, space, layer, ratio, prunable=refusal is None)
    st.caption(
        from_core(refusal) if refusal else _ratio_source(plan, layer, ratio),
        help="\n\n".join(HELP[term] for term in ("weights", "mask", "ratio")),
    )


def layer_panel(plan: Plan, space: Workspace) -> None:
    """Draws the group scores and the numbers of the layer that the page shows."""
    layer = shown_layer(plan, space)
    refusal = cache.prunable(plan, space)[1].get(layer.name)
    facts = _facts(plan, space, layer, refusal)
    if broken := facts.broken(granularity(plan.granularity)):
        st.warning(
            n_(
                "Because of hand edits, {n} scope of this layer does not keep {pattern}.",
                "Because of hand edits, {n} scopes of this layer do not keep {pattern}.",
                broken,
                pattern=plan.granularity,
            )
        )
    st.markdown("**" + _("Which groups are removed") + "**", help=HELP["histogram"])
    # One element: each costs the browser several milliseconds after a release.
    st.html(facts_html(*_histogram(plan, facts, refusal), _rows(facts), layer.name))


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
        on_report=partial(change_and_draw, space, _take_over, layer.name),
        detail=detail,
        waiting=unused,
        network=f"{plan.model} {plan.dataset}",
    )


def _edits(plan: Plan, layer: Layer) -> tuple[GroupEdit, ...]:
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
    return in_a_row((_ratio_words(plan, layer, ratio), _edit_words(plan, layer)))


def _ratio_words(plan: Plan, layer: Layer, ratio: float) -> str:
    g = granularity(plan.granularity)
    share = percent(ratio)
    if g.fixed_ratio is not None:
        if not ratio:
            return _("Kept dense by hand.")
        return _("{pattern} sets the ratio: {share}.", pattern=from_core(g.label), share=share)
    if layer.name in dict(plan.overrides):
        return _("{share}, set by hand. The allocation does not change it.", share=share)
    return _("{share}, from the allocation. Move the slider to set it by hand.", share=share)


def _edit_words(plan: Plan, layer: Layer) -> str:
    count = len(_edits(plan, layer))
    if not count:
        return ""
    return n_(
        "{n} group is kept or removed by hand.", "{n} groups are kept or removed by hand.", count
    )


def _buttons(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    by_hand = dict(plan.overrides)
    own = layer.name in by_hand
    fixed = granularity(plan.granularity).fixed_ratio is not None
    ratio = cache.ratios(plan, space)[layer.name] if refusal is None else 0.0
    with st.container(horizontal=True, width="content"):
        st.button(
            _("Lock"),
            icon=":material/lock:",
            key="lock",
            help=HELP["lock"],
            disabled=own or refusal is not None or fixed,
            on_click=change_and_draw,
            args=(space, state.set_ratio, layer.name, ratio),
        )
        st.button(
            _("Reset"),
            icon=":material/lock_open:",
            key="reset",
            help=HELP["reset"],
            disabled=not own,
            on_click=change_and_draw,
            args=(space, state.set_ratio, layer.name, None),
        )
        st.button(
            _("Reset all ({n})", n=len(by_hand)),
            icon=":material/restart_alt:",
            key="reset_all",
            help=HELP["reset_all"],
            disabled=not by_hand,
            on_click=change_and_draw,
            args=(space, state.set_ratios, {}),
        )


def _histogram(plan: Plan, facts: LayerFacts, refusal: str | None) -> tuple[str, str]:
    """The histogram of the group scores as HTML, if there are any, and the words below it."""
    if facts.group_scores is None or facts.group_kept is None:
        return "", _("No scores: {reason}", reason=from_core(refusal or ""))
    bars = score_bars(facts.group_scores, facts.group_kept, facts.threshold)
    words = in_a_row(_histogram_words(plan, facts, facts.group_scores.shape))
    return score_bars_html(bars, facts.layer.name), words


def _histogram_words(plan: Plan, facts: LayerFacts, shape: tuple[int, ...]) -> Iterator[str]:
    """Sentences below the histogram. shape: of the scores, scope x group."""
    scopes, groups = shape
    if scopes == 1:
        yield _("The lowest scores are removed.")
    else:
        yield _(
            "The lowest of every {groups:,} neighbouring groups are removed, "
            "so there is no single threshold.",
            groups=groups,
        )
    if facts.threshold is not None:
        lowest = f"{facts.threshold:.3g}"
        yield _("Dashed line: {lowest}, the lowest score that is kept.", lowest=lowest)
    if _edits(plan, facts.layer):
        yield _("Groups kept or removed by hand are exceptions.")


def _rows(facts: LayerFacts) -> dict[str, str]:
    """The layer's counts and statistics: a name and its text."""
    layer = facts.layer
    kept = facts.weights_kept
    rows = {
        _("Shape"): shape(layer.shape),
        _("Weights kept"): _(
            "{kept:,} of {total:,} ({share})",
            kept=kept,
            total=layer.numel,
            share=percent(kept / layer.numel),
        ),
    }
    if facts.group_kept is not None:
        total = facts.group_kept.size
        size = layer.numel // total
        left = int(facts.group_kept.sum())
        rows[_("Groups kept")] = _("{kept:,} of {total:,}", kept=left, total=total)
        rows[_("Group")] = n_("{n} weight", "{n} weights", size)
    if layer.bn:
        rows[_("Batch norm after it")] = layer.bn
    return rows | facts.statistics
