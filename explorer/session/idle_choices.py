"""Choices of the side bar that have no effect now, with the reason."""

from collections.abc import Mapping

from explorer.session import cache
from explorer.texts.translate import N_
from pruning_core.criteria import CRITERIA, refusal
from pruning_core.flows import flow
from pruning_core.granularity import granularity, supports
from pruning_core.plan import Plan
from pruning_core.repairs import NONE, REPAIRS
from pruning_core.workspaces import Workspace

WITH_FLOW = ("flows", "methods")
"""The pages that run the plan's flow."""
NOT_USED: Mapping[str, Mapping[str, str]] = {
    "sensitivity": {"schedule": N_("Not used on this page: nothing is trained here.")},
    "search": {
        "allocation": N_("Not used on this page: the search sets the ratio of every layer."),
        "sparsity": N_("Not used on this page: the search has a budget of its own."),
        "schedule": N_("Not used on this page: nothing is trained here."),
        "tied": N_("Not used on this page: a search always ties these layers."),
    },
    "methods": {
        "granularity": N_("Not used on this page: its form chooses the granularities."),
        "criterion": N_("Not used on this page: its form chooses the criteria."),
        "sparsity": N_("Not used on this page: its form chooses the compressions."),
        "seed": N_("Not used on this page: each run has a seed of its own."),
    },
}
"""Page -> field of the plan -> why the page does not use it."""


def ignored_by(page: str, plan: Plan, space: Workspace | None) -> dict[str, str]:
    """The fields of the plan that this page, or the flow it runs, does not use; each with a reason.

    page: its path. A choice that keeps the flow from running is not among them.
    """
    by_flow = _ignored_by_flow(plan, space) if page in WITH_FLOW else {}
    return by_flow | dict(NOT_USED.get(page, {}))


def _ignored_by_flow(plan: Plan, space: Workspace | None) -> dict[str, str]:
    chosen = flow(plan.flow)
    idle = {}
    if not chosen.scored and _ranks_all(plan, space):
        idle["criterion"] = N_("Not used by this flow: it ranks by its own score.")
    if not chosen.allocated:
        idle["allocation"] = N_("Not used by this flow: it sets each layer's share itself.")
    if not chosen.scheduled:
        idle["schedule"] = N_("Not used by this flow: it prunes at times of its own.")
    if chosen.single_weights and granularity(plan.granularity).unstructured:
        idle["granularity"] = N_("This flow prunes single weights alone.")
    return idle


def _ranks_all(plan: Plan, space: Workspace | None) -> bool:
    """Can the criterion rank every layer of the granularity? Others stay whole in each flow."""
    g = granularity(plan.granularity)
    layers = [layer for layer in space.layers if supports(g, layer) is None] if space else []
    known = plan.criterion in CRITERIA
    return known and not any(refusal(CRITERIA[plan.criterion], g, layer) for layer in layers)


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
