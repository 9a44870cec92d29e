"""The layer that the pages show: the same on all of them."""

from explorer.session import cache, state
from pruning_core.plan import Plan
from pruning_core.types import Layer
from pruning_core.workspaces import Workspace


def shown_layer(plan: Plan, space: Workspace) -> Layer:
    """The chosen layer; at first the first prunable one with several filters and channels."""
    known = {layer.name: layer for layer in space.layers}
    if (name := state.selected_layer()) in known:
        return known[name]
    prunable = cache.prunable(plan, space)[0]
    return next(
        (layer for layer in prunable if min(layer.shape[:2]) > 1), (prunable or space.layers)[0]
    )
