"""One layer from inside: its own ratio, weights and mask side by side, the histogram that decides, and its numbers."""

from dataclasses import replace
from zlib import crc32

import streamlit as st

from explorer import cache, state
from explorer.charts import alt, score_histogram
from explorer.layer_facts import LayerFacts, layer_facts
from explorer.text import HELP, percent, shape, whole_percent
from explorer.views.layer_pictures import layer_pictures
from explorer.views.layer_table import layer_picker
from pruning_core.granularity import granularity
from pruning_core.inventory import weights
from pruning_core.pipeline import Workspace
from pruning_core.plan import Plan
from pruning_core.types import Layer


def layer_panel(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    """Draws the panel. refusal: the sentence why the plan cannot cut this layer, None where it can."""
    st.subheader("One layer", anchor=False)
    controls = st.grid(2, min_column_width=320)
    with controls.cell():
        layer_picker([each.name for each in space.layers], layer.name)
        _buttons(plan, space, layer, refusal)
    with controls.cell():
        _ratio(plan, space, layer, refusal)
    facts = _facts(plan, space, layer, refusal)
    layer_pictures(facts)
    below = st.grid(2, min_column_width=320)
    with below.cell():
        _histogram(plan, facts, refusal)
    with below.cell():
        _numbers(plan, facts)


def _facts(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> LayerFacts:
    weight = weights(space.model, (layer,))[layer.name]
    g = granularity(plan.granularity)
    if refusal is not None:
        return layer_facts(layer, weight, None, None, g)
    return layer_facts(layer, weight, cache.masks(plan, space)[layer.name], cache.groups(plan, space)[layer.name], g)


def _ratio(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    """The layer's own slider; N:M leaves only the choice between cut and dense.

    The widget is another one whenever the allocation's share is: a quick drag of the global slider could else make the browser
    send a share that this one had a moment ago, and it would count as set by hand.
    """
    ratio = cache.ratios(plan, space)[layer.name] if refusal is None else 0.0
    g, off = granularity(plan.granularity), refusal is not None
    others = replace(plan, overrides=tuple(pair for pair in plan.overrides if pair[0] != layer.name))
    key = f"ratio_{crc32(repr((cache.mask_key(others), layer.name)).encode()):x}"
    with st.container(key="ratio"):
        if g.fixed_ratio is not None:
            state.seed(key, ratio > 0)
            st.toggle(
                f"Cut this layer {g.label}", key=key, disabled=off, on_change=_toggled, args=(layer.name, key), help=HELP["cut"]
            )
        else:
            state.seed(key, whole_percent(ratio))
            st.slider("Remove from this layer", 0, 100, step=1, format="%d%%", key=key, disabled=off,
                      help=HELP["ratio"], on_change=_moved, args=(layer.name, key, whole_percent(ratio)))  # fmt: skip
        st.caption(refusal or _decided(plan, layer, ratio))


def _decided(plan: Plan, layer: Layer, ratio: float) -> str:
    g = granularity(plan.granularity)
    if g.fixed_ratio is not None:
        return f"{g.label} sets the share: {percent(ratio)}." if ratio else "Left dense by hand."
    if layer.name in dict(plan.overrides):
        return f"{percent(ratio)}, set by hand. It stays whatever the allocation does."
    return f"{percent(ratio)}, from the allocation. Move the slider to set it by hand."


def _moved(name: str, key: str, drawn: int) -> None:
    """Sets the share by hand. The browser may also report a new slider as it was drawn: that is nobody's choice."""
    value = state.widget(key, drawn)
    if value != drawn or name in dict(state.plan().overrides):
        state.override(name, value / 100)


def _toggled(name: str, key: str) -> None:
    state.override(name, None if state.widget(key, True) else 0.0)


def _buttons(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    by_hand = dict(plan.overrides)
    mine = layer.name in by_hand
    fixed = granularity(plan.granularity).fixed_ratio is not None
    ratio = cache.ratios(plan, space)[layer.name] if refusal is None else 0.0
    with st.container(horizontal=True):
        st.button("Lock", icon=":material/lock:", key="lock", help=HELP["lock"], disabled=mine or refusal is not None or fixed,
                  on_click=state.override, args=(layer.name, ratio))  # fmt: skip
        st.button("Reset", icon=":material/lock_open:", key="reset", help=HELP["reset"], disabled=not mine,
                  on_click=state.override, args=(layer.name, None))  # fmt: skip
        st.button(f"Reset all ({len(by_hand)})", icon=":material/restart_alt:", key="reset_all", help=HELP["reset_all"],
                  disabled=not by_hand, on_click=state.overrides, args=({},))  # fmt: skip


def _histogram(plan: Plan, facts: LayerFacts, refusal: str | None) -> None:
    st.markdown("**Which groups go**", help=HELP["histogram"])
    if facts.group_scores is None or facts.group_kept is None:
        st.caption(f"No scores: {refusal}")
        return
    figure = score_histogram(facts.group_scores, facts.group_kept, facts.threshold, name=facts.layer.name)
    st.plotly_chart(figure, key="scores", config={"displayModeBar": False}, alt=alt(figure))
    scopes = facts.group_scores.shape[0]
    rule = "The lowest scores go; the dashed line is the lowest score that stays."
    st.caption(rule if scopes == 1 else f"Groups compete inside {scopes:,} scopes, so there is no single threshold.")


def _numbers(plan: Plan, facts: LayerFacts) -> None:
    st.markdown("**In numbers**")
    layer, kept = facts.layer, facts.weights_kept
    rows = {"Shape": shape(layer.shape), "Weights kept": f"{kept:,} of {layer.numel:,} ({percent(kept / layer.numel)})"}
    if facts.group_kept is not None:
        total = facts.group_kept.size
        size = layer.numel // total
        rows["Groups kept"] = f"{int(facts.group_kept.sum()):,} of {total:,}"
        rows["Group"] = f"{size:,} weight{'s' if size > 1 else ''}"
    if layer.bn:
        rows["Batch norm behind it"] = layer.bn
    st.table(rows | facts.statistics, border="horizontal", alt=f"Counts and statistics of {layer.name}.")
