"""What of a plan can be carried out now, and a sentence for everything set by hand that has to
wait. Knows no Streamlit.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch

from explorer.texts.formats import percent
from pruning_core.granularity import granularity, to_groups
from pruning_core.hand_edits import HandEdits
from pruning_core.plan import Plan
from pruning_core.types import Layer


def runnable_plan(
    plan: Plan, able: tuple[Layer, ...], reasons: Mapping[str, str]
) -> tuple[Plan, tuple[str, ...]]:
    """The plan without what cannot be done now. able: the layers that it can cut; reasons: why not,
    for each other one.
    """
    known = {layer.name: layer for layer in able}
    ratios = tuple(
        f"The ratio {percent(ratio)} of {name} is not used: {reasons.get(name, f'{plan.model} has no such layer.')}"
        for name, ratio in plan.overrides
        if name not in known
    )
    flaws = {
        each: _flaw(plan, each, known, reasons)
        for each in plan.edits
        if each.granularity == plan.granularity
    }
    others = sum(len(each.groups) for each in plan.edits if each.granularity != plan.granularity)
    waits = (
        (
            f"{_edits(others)} made at another granularity: not used until you choose that one again.",
        )
        if others
        else ()
    )
    can = replace(
        plan,
        overrides=tuple(pair for pair in plan.overrides if pair[0] in known),
        edits=tuple(each for each, flaw in flaws.items() if flaw is None),
    )
    return can, (*ratios, *(flaw for flaw in flaws.values() if flaw is not None), *waits)


def _flaw(
    plan: Plan, edits: HandEdits, known: Mapping[str, Layer], reasons: Mapping[str, str]
) -> str | None:
    """Why these edits cannot be made, if so."""
    start = f"{_edits(len(edits.groups))} of {edits.layer} not used"
    if edits.layer not in known:
        return f"{start}: {reasons.get(edits.layer, f'{plan.model} has no such layer.')}"
    shape = torch.empty(known[edits.layer].shape, device="meta")
    scopes, groups, _ = to_groups(shape, granularity(plan.granularity), known[edits.layer]).shape
    if all(scope < scopes and group < groups for scope, group, _ in edits.groups):
        return None
    return (
        f"{start}: the layer has {scopes:,} × {groups:,} groups, and a group beyond them is named."
    )


def _edits(count: int) -> str:
    return f"{count:,} hand edit{'s' if count > 1 else ''}"
