"""Choices of the side bar that have no effect now, with the reason."""

from explorer.session import cache
from explorer.texts.translate import N_
from pruning_core.plan import Plan
from pruning_core.repairs import NONE, REPAIRS
from pruning_core.workspaces import Workspace


def decided_by_hand(plan: Plan, space: Workspace | None) -> dict[str, str]:
    """What decides now, where every layer's ratio is set by hand; by the plan's allocation."""
    if not all_by_hand(plan, space):
        return {}
    sentence = N_("Not used now: every layer's ratio is set by hand or by the Sensitivity page.")
    return {plan.allocation: sentence}


def all_by_hand(plan: Plan, space: Workspace | None) -> bool:
    """Is the ratio of every layer that can be pruned set by hand?"""
    by_hand = dict(plan.overrides)
    prunable = cache.prunable(plan, space)[0] if space is not None else ()
    return bool(prunable) and all(layer.name in by_hand for layer in prunable)


def idle_repairs(space: Workspace | None) -> dict[str, str]:
    """The repairs that change nothing in this network, with a reason."""
    if space is None:
        return {}
    reasons = {name: entry.no_effect(space.model) for name, entry in REPAIRS.items()}
    return {name: why for name, why in reasons.items() if why is not None and name != NONE}
