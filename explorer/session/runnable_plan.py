"""The part of a plan that can run now. This module does not use Streamlit."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from explorer.texts.formats import percent
from explorer.texts.plan_words import network_label
from explorer.texts.translate import N_
from pruning_core.granularity import granularity, to_groups
from pruning_core.hand_edits import HandEdits
from pruning_core.plan import Plan
from pruning_core.types import Layer


def runnable_plan(
    plan: Plan, prunable: tuple[Layer, ...], reasons: Mapping[str, str]
) -> tuple[Plan, tuple[str, ...]]:
    """The plan without what cannot be used now, and a sentence for each part left out.

    prunable: the layers that the plan can prune.
    reasons: for each other layer, a sentence why not.
    """
    known = {layer.name: layer for layer in prunable}
    problems = {
        edits: _problem(plan, edits, known, reasons)
        for edits in plan.edits
        if edits.granularity == plan.granularity
    }
    runnable = replace(
        plan,
        overrides=tuple(pair for pair in plan.overrides if pair[0] in known),
        edits=tuple(edits for edits, problem in problems.items() if problem is None),
    )
    return runnable, (
        *_unused_ratios(plan, known, reasons),
        *(problem for problem in problems.values() if problem is not None),
        *_other_granularities(plan),
    )


def _unused_ratios(
    plan: Plan, known: Mapping[str, Layer], reasons: Mapping[str, str]
) -> tuple[str, ...]:
    return tuple(
        N_("The ratio {ratio} of {layer} is not used: {reason}").format(
            ratio=percent(ratio), layer=name, reason=_reason(plan, name, reasons)
        )
        for name, ratio in plan.overrides
        if name not in known
    )


def _other_granularities(plan: Plan) -> tuple[str, ...]:
    count = sum(len(edits.groups) for edits in plan.edits if edits.granularity != plan.granularity)
    if not count:
        return ()
    sentence = N_("{edits} made at another granularity: not used until you choose that one again.")
    return (sentence.format(edits=_edit_count(count)),)


def _problem(
    plan: Plan, edits: HandEdits, known: Mapping[str, Layer], reasons: Mapping[str, str]
) -> str | None:
    """Why these edits cannot be used, or None."""
    values = {"edits": _edit_count(len(edits.groups)), "layer": edits.layer}
    if edits.layer not in known:
        reason = _reason(plan, edits.layer, reasons)
        return N_("{edits} of {layer} not used: {reason}").format(reason=reason, **values)
    layer = known[edits.layer]
    weight = torch.empty(layer.shape, device="meta")
    scopes, groups, _ = to_groups(weight, granularity(plan.granularity), layer).shape
    if all(scope < scopes and group < groups for scope, group, _ in edits.groups):
        return None
    return N_(
        "{edits} of {layer} not used: the layer has {size} groups, and an edit names another one."
    ).format(size=f"{scopes:,} × {groups:,}", **values)


def _reason(plan: Plan, name: str, reasons: Mapping[str, str]) -> str:
    return reasons.get(
        name, N_("{network} has no such layer.").format(network=network_label(plan.model))
    )


def _edit_count(count: int) -> str:
    text = N_("{n} hand edit") if count == 1 else N_("{n} hand edits")
    return text.format(n=f"{count:,}")
