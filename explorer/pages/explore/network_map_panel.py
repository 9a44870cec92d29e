"""The network map: each layer's place, how much of it is kept, and its sensitivity."""

from functools import partial

import streamlit as st

from explorer.components.net_map import map_view, net_map
from explorer.pages.sensitivity.run import accuracy_lost_alone
from explorer.pages.sensitivity.scans import measured_for
from explorer.session import cache, state
from explorer.session.notices import plain
from explorer.session.page_body import change_and_draw
from explorer.texts.formats import percent
from explorer.texts.translate import _
from pruning_core.plan import Plan
from pruning_core.types import Report
from pruning_core.workspaces import Workspace

KEY = "network_map"


def network_map_panel(plan: Plan, space: Workspace, report: Report | None, layer_name: str) -> None:
    """Draws the map with that layer outlined.

    report: the plan's counts; None where nothing can be pruned.
    """
    layers = cache.layer_map(plan, space)
    if layers.reason is not None:
        st.caption(
            _(
                "Layers in the order of their calls, without arrows: {reason}.",
                reason=plain(layers.reason),
            )
        )
    lost, cut_at = _lost_alone(plan)
    rows = 1 + max((node.row for node in layers.nodes), default=0)
    with st.container(key=f"map_of_{rows}_rows"):
        net_map(
            map_view(layers, space.layers),
            chosen=layer_name,
            kept=_kept(plan, space, report),
            sensitivity=lost,
            cut_at=cut_at,
            task=space.dataset.task,
            outputs={} if report is None else report.thinned_outputs,
            key=KEY,
            on_select=partial(change_and_draw, space, state.select_layer),
        )


def _kept(plan: Plan, space: Workspace, report: Report | None) -> dict[str, float]:
    """The kept share of each layer that the plan can prune."""
    if report is None:
        return {}
    return {layer.name: report.kept[layer.name] for layer in cache.prunable(plan, space)[0]}


def _lost_alone(plan: Plan) -> tuple[dict[str, float] | None, str]:
    """The value that each scanned layer loses when pruned alone, and the sparsity in words.

    None without curves of this plan.
    """
    points = measured_for(plan)
    if not points:
        return None, ""
    lost, share = accuracy_lost_alone(points)
    if any(point.group for point in points):
        return lost, _("{share}, tied layers together", share=percent(share))
    return lost, percent(share)
