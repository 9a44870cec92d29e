"""The table of all layers; the marked row is the layer that is drawn."""

from collections.abc import Mapping
from functools import partial
from math import prod

import streamlit as st

from explorer.components.layer_table import Cell, Column, layer_table
from explorer.pages.explore.folded import folded
from explorer.session import cache, state
from explorer.session.page_body import change_and_draw
from explorer.session.shown_layer import shown_layer
from explorer.texts.formats import LAYER_KINDS, count, percent, shape
from explorer.texts.translate import N_, _, from_core
from pruning_core.granularity import granularity, supports
from pruning_core.plan import Plan
from pruning_core.types import Layer, Report
from pruning_core.workspaces import Workspace

KEY = "layer_table"
DECIDED = N_("The allocation, an N:M pattern, or you. Choose a layer to read the reason.")
MACS = N_("Multiply-adds per image that read these weights, before pruning. Computed.")


def columns() -> tuple[Column, ...]:
    """The columns, in the order of the cells."""
    return (
        Column(_("Layer"), _("The parameter's name in the network's state_dict.")),
        Column(
            _("Removed"),
            _("Fraction of this layer's weights that is zero now. Computed."),
            bar=True,
        ),
        Column(_("Decided by"), _(DECIDED)),
        Column(_("Weights"), number=True),
        Column(_("Shape"), _("Outputs (filters) × inputs (channels) × kernel height × width.")),
        Column(_("Kind")),
        Column(_("MACs"), _(MACS), number=True),
    )


def cells(
    plan: Plan, space: Workspace, report: Report | None, reasons: Mapping[str, str]
) -> list[tuple[Cell, ...]]:
    """One row per layer. Removed: percent of its weights; None where it cannot be pruned."""
    edited = {edit.layer: len(edit.groups) for edit in plan.edits_now}
    return [
        (
            layer.name,
            None if layer.name in reasons or report is None else _removed(report.kept[layer.name]),
            _with_edits(_decided_by(layer, reasons, plan), edited.get(layer.name)),
            (layer.numel, f"{layer.numel:,}"),
            shape(layer.shape),
            _(LAYER_KINDS.get(layer.kind, layer.kind)),
            (layer.macs, count(layer.macs)),
        )
        for layer in space.layers
    ]


def _removed(kept: float) -> Cell:
    """Percent, with one decimal: 100.0 only where nothing is kept."""
    removed = 100.0 if kept == 0 else min(99.9, 100 * (1 - kept))
    return removed, f"{removed:.1f}%"


def _with_edits(source: str, edits: int | None) -> str:
    return _("{source} + {n:,} by hand", source=source, n=edits) if edits is not None else source


def _decided_by(layer: Layer, reasons: Mapping[str, str], plan: Plan) -> str:
    """What sets the ratio, in a few words; the layer's panel has the whole sentence."""
    by_hand = dict(plan.overrides)
    g = granularity(plan.granularity)
    if layer.name in reasons:
        if supports(g, layer) is None:
            return _("criterion refuses")
        if layer.is_output and g.removes_outputs:
            return _("output layer")
        return _("granularity refuses")
    if layer.name in by_hand:
        return _("you: {share}", share=percent(by_hand[layer.name]))
    return _("allocation") if g.fixed_ratio is None else from_core(g.label)


def draw_layer_table(plan: Plan, space: Workspace) -> None:
    """Draws the table with the shown layer's row marked."""
    prunable, reasons = cache.prunable(plan, space)
    report = cache.report(plan, space) if prunable else None
    layer_table(
        columns(),
        cells(plan, space, report, reasons),
        chosen=shown_layer(plan, space).name,
        label=_(
            "The network's layers: shape, weights, multiply-adds and the removed fraction of each."
        ),
        key=KEY,
        on_choose=partial(change_and_draw, space, state.select_layer),
    )


def fixed_parameters(space: Workspace) -> None:
    """The parameters that are never pruned, each with its reason."""
    total = sum(prod(fixed.shape) for fixed in space.fixed)
    label = _(
        "{n} parameter tensors are never pruned ({total:,} values)",
        n=len(space.fixed),
        total=total,
    )
    place = folded(label, "fixed_parameters", ":material/lock:")
    if place is None:
        return
    rows = [
        {"Parameter": fixed.name, "Shape": shape(fixed.shape), "Why": from_core(fixed.reason)}
        for fixed in space.fixed
    ]
    place.dataframe(
        rows,
        column_config={"Parameter": _("Parameter"), "Shape": _("Shape"), "Why": _("Why")},
        hide_index=True,
        height=220,
        alt=_("Parameters that are not pruned, with the reason."),
    )


def layer_picker(space: Workspace, chosen: str) -> None:
    """A select box of the layers, for the keyboard."""
    state.set_widget("layer_choice", chosen)
    st.selectbox(
        _("Layer"),
        [layer.name for layer in space.layers],
        key="layer_choice",
        label_visibility="collapsed",
        on_change=change_and_draw,
        args=(space, _picked),
    )


def _picked() -> None:
    state.select_layer(state.widget_value("layer_choice", None))
