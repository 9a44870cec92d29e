"""The table of all layers; its selected row is the layer that is drawn."""

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any

import streamlit as st

from explorer.pages.explore.folded import folded
from explorer.session import cache, state
from explorer.session.arrow_tables import records
from explorer.session.page_body import change_and_draw
from explorer.session.shown_layer import shown_layer
from explorer.texts.formats import LAYER_KINDS, percent, shape
from explorer.texts.translate import N_, _, from_core
from pruning_core.granularity import granularity, supports
from pruning_core.plan import Plan
from pruning_core.types import Layer, Report
from pruning_core.workspaces import Workspace

ROWS = 5
ROW_HEIGHT = 35
KEY = "layer_table"
DECIDED = N_("The allocation, an N:M pattern, or you. Choose a layer to read the reason.")
MACS = N_("Multiply-adds per image that read these weights, before pruning. Computed.")


def columns(longest: int) -> dict[str, Any]:
    """The format and help of each column. longest: letters in the longest layer name."""
    config = st.column_config
    return {
        "Layer": config.TextColumn(
            _("Layer"),
            help=_("The parameter's name in the network's state_dict."),
            pinned=True,
            width=min(240, 30 + 7 * longest),
        ),
        "Removed": config.ProgressColumn(
            _("Removed"),
            help=_("Fraction of this layer's weights that is zero now. Computed."),
            format="%.1f%%",
            min_value=0,
            max_value=100,
            width=150,
        ),
        "Decided by": config.TextColumn(_("Decided by"), help=_(DECIDED), width=150),
        "Weights": config.NumberColumn(_("Weights"), format="localized", width=85),
        "Shape": config.TextColumn(
            _("Shape"),
            help=_("Outputs (filters) × inputs (channels) × kernel height × width."),
            width=120,
        ),
        "Kind": config.TextColumn(_("Kind"), width=120),
        "MACs": config.NumberColumn(help=_(MACS), format="compact", width=75),
    }


def table(
    plan: Plan, space: Workspace, report: Report | None, reasons: Mapping[str, str]
) -> list[dict[str, Any]]:
    """One row per layer. Removed: percent of its weights; None where it cannot be pruned."""
    edited = {edit.layer: len(edit.groups) for edit in plan.edits_now}
    return [
        {
            "Layer": layer.name,
            "Removed": None
            if layer.name in reasons or report is None
            else _removed(report.kept[layer.name]),
            "Decided by": _with_edits(_decided_by(layer, reasons, plan), edited.get(layer.name)),
            "Weights": layer.numel,
            "Shape": shape(layer.shape),
            "Kind": _(LAYER_KINDS.get(layer.kind, layer.kind)),
            "MACs": layer.macs,
        }
        for layer in space.layers
    ]


def _removed(kept: float) -> float:
    """Percent, with the one decimal of the column: 100.0 only where nothing is kept."""
    return 100.0 if kept == 0 else min(99.9, 100 * (1 - kept))


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


def layer_table(plan: Plan, space: Workspace) -> None:
    """Draws the table with the shown layer's row selected."""
    prunable, reasons = cache.prunable(plan, space)
    report = cache.report(plan, space) if prunable else None
    names = [layer.name for layer in space.layers]
    state.set_selected_row(KEY, names.index(shown_layer(plan, space).name))
    st.dataframe(
        records(table(plan, space, report, reasons), numbers=("Removed",)),
        key=KEY,
        column_config=columns(max(map(len, names))),
        hide_index=True,
        height=int((min(len(names), ROWS + 0.5) + 1) * ROW_HEIGHT + 3),
        on_select=partial(change_and_draw, space, _row_chosen, names),
        selection_mode="single-row-required",
        placeholder=_("not pruned"),
        alt=_(
            "The network's layers: shape, weights, multiply-adds and the removed fraction of each."
        ),
    )


def _row_chosen(names: list[str]) -> None:
    row = state.selected_row(KEY)
    if row is not None and row < len(names):
        state.select_layer(names[row])


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
