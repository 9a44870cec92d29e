"""The events of the searches for a sparsity. This module does not use Streamlit."""

from collections.abc import Iterator

from pruning_core.plan import Plan
from pruning_core.sensitivity.farthest import CurvePoint, Farthest, Tried, curve, farthest
from pruning_core.workspaces import Workspace


def how_far_events(
    plan: Plan,
    space: Workspace,
    *,
    lose: float,
    sure: bool,
    known: tuple[CurvePoint, ...],
    with_curve: bool,
) -> Iterator[CurvePoint | Tried | Farthest]:
    """The points of the curve, then the search. known: points of an earlier run."""
    points = list(known)
    if with_curve:
        for point in curve(plan, space):
            points.append(point)
            yield point
    yield from farthest(plan, space, lose, sure=sure, known=points)


def bytes_events(plan: Plan, space: Workspace, *, share: float) -> Iterator[object]:
    """The search for a file of that share of the dense bytes."""
    from pruning_core.compress.byte_target import dense_bytes, fit_bytes  # not before it is used

    yield from fit_bytes(plan, space, int(share * dense_bytes(space)))


def time_events(plan: Plan, space: Workspace, *, share: float) -> Iterator[object]:
    """The search for a network of that share of the dense time."""
    from pruning_core.compress.time_target import TimeTarget, fit_time  # not before it is used

    yield from fit_time(plan, space, TimeTarget(share))
