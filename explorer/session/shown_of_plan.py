"""What the side bar shows of a plan's sparsity, ratios and edits by hand."""

from explorer.session import cache
from explorer.session.idle_choices import all_by_hand, decided_by_hand
from explorer.texts.formats import percent, whole_percent
from explorer.texts.translate import _, from_core
from pruning_core.allocation import ALLOCATIONS, total_ratio
from pruning_core.granularity import granularity
from pruning_core.pipeline import start_note
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace


def shown_of_plan(plan: Plan, space: Workspace, *, slider: bool = False) -> tuple[object, ...]:
    """All that the side bar, and the notes above the page, show of sparsity, ratios and edits.

    slider: without the place of the slider.
    """
    fraction, reason = slider_state(plan, space)
    place = None if slider and not reason else fraction
    return (
        place,
        fraction if between_steps(fraction) else None,
        reason,
        bool(reason and plan.overrides),
        decided_by_hand(plan, space),
        start_note(plan, space) if space.removed_at_start else None,
        cache.runnable_plan(plan, space)[1],
    )


def slider_state(plan: Plan, space: Workspace | None) -> tuple[float, str]:
    """The fraction that the slider shows, and why it has no effect ("" where it has one)."""
    g = granularity(plan.granularity)
    if g.fixed_ratio is not None:
        return g.fixed_ratio, _(
            "{granularity} removes {ratio} of every layer, so this slider has no effect.",
            granularity=from_core(g.label),
            ratio=percent(g.fixed_ratio),
        )
    if space is not None and all_by_hand(plan, space):
        requested = total_ratio(cache.prunable(plan, space)[0], dict(plan.overrides))
        return requested, _(
            "Every layer's ratio is set by hand. Together they request {ratio}, "
            "so this slider has no effect.",
            ratio=percent(requested),
        )
    if not ALLOCATIONS[plan.allocation].uses_target:
        return plan.sparsity, _(
            "With the allocation Manual each layer has its own slider on the Explore page, "
            "so this slider has no effect."
        )
    return plan.sparsity, ""


def between_steps(fraction: float) -> bool:
    """Is it between two steps of the slider, which are whole percents?"""
    return abs(100 * fraction - whole_percent(fraction)) > 1e-6
