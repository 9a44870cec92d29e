"""The network as a map, above the chosen layer: where each layer stands, how much of it is left,
how much it minds.
"""

import streamlit as st

from explorer.components.net_map import map_view, net_map
from explorer.pages.sensitivity.run import accuracy_lost_alone
from explorer.pages.sensitivity.scans import measured_for
from explorer.session import cache, state
from explorer.session.notices import plain
from explorer.texts.formats import percent
from pruning_core.plan import Plan
from pruning_core.types import Report
from pruning_core.workspace import Workspace

KEY = "network_map"


def network_map_panel(plan: Plan, space: Workspace, report: Report | None, layer_name: str) -> None:
    """Draws the map with that layer outlined. report: the plan's counts, None where nothing can be
    cut.
    """
    st.subheader("Network", anchor=False)
    found = cache.layer_map(plan, space)
    if found.reason is not None:
        st.caption(f"Layers in module order, without arrows: {plain(found.reason)}.")
    lost, cut_at = _lost_alone(plan)
    net_map(
        map_view(found, space.layers),
        chosen=layer_name,
        kept=_kept(plan, space, report),
        sensitivity=lost,
        cut_at=cut_at,
        key=KEY,
        on_select=state.select_layer,
    )


def _kept(plan: Plan, space: Workspace, report: Report | None) -> dict[str, float]:
    """Share kept of each layer that the plan can cut."""
    if report is None:
        return {}
    return {layer.name: report.kept[layer.name] for layer in cache.prunable(plan, space)[0]}


def _lost_alone(plan: Plan) -> tuple[dict[str, float] | None, str]:
    """Top-1 that each scanned layer costs when it alone is cut, and at which sparsity, in words;
    None without its curves.
    """
    points = measured_for(plan)
    if not points:
        return None, ""
    lost, share = accuracy_lost_alone(points)
    return lost, percent(share) + (
        ", tied layers together" if any(point.group for point in points) else ""
    )
