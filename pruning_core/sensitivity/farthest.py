"""How far can a plan go? Its curve, and the largest sparsity that loses at most so much."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from pruning_core.allocation import ALLOCATIONS
from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.model.model_io import tensors_of
from pruning_core.pipeline import probe_split
from pruning_core.plan import Plan
from pruning_core.repairs import NONE, REPAIRS
from pruning_core.resolved_plan import ResolvedPlan
from pruning_core.tasks import Change, change
from pruning_core.types import Evaluation, GroupScores, Masks, PruningError
from pruning_core.workspaces import Workspace

Event = TypeVar("Event")
STEPS = 100
"""Sparsities are whole percents."""
CURVE = tuple(sorted(range(0, STEPS, 5), key=lambda step: (step % 20 > 0, step % 10 > 0, step)))
"""The steps of a curve, from coarse to fine."""
LOOK_AHEAD = 3
"""Sparsities above the border that are tried too, because measured values go up and down."""


@dataclass(frozen=True, eq=False)
class Tried:
    """One measured sparsity. change: against the dense network on the same samples.

    within: is the loss within the limit?
    """

    sparsity: float
    evaluation: Evaluation
    change: Change
    within: bool


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """The whole plan at one sparsity with one repair. change: against the dense network."""

    sparsity: float
    repair: str
    evaluation: Evaluation
    change: Change


@dataclass(frozen=True, eq=False)
class Farthest:
    """The last event: the plan at the largest sparsity found, and all that was measured.

    best: None where already the smallest sparsity loses too much; then the plan has sparsity 0.
    tried: by sparsity.
    """

    plan: Plan
    best: Tried | None
    dense: Evaluation
    tried: tuple[Tried, ...]


def farthest(
    plan: Plan, space: Workspace, lose: float, *, sure: bool = False
) -> Iterator[Tried | Farthest]:
    """Finds the largest sparsity, in whole percents, whose loss is at most `lose`.

    Measured without training, on the plan's probe, by bisection between 0 and 1. It assumes that
    the value falls with the sparsity; measured values go up and down a little, so the next three
    sparsities above the border are measured too. lose: in the unit of the task's value, such as
    0.01 for one point of accuracy. sure: the whole 95% interval of the paired change must be
    within the limit, not only the measured change.
    Raises PruningError for a negative or infinite limit, and for a plan whose sparsity has no
    effect.

    >>> from pruning_core import open_workspace
    >>> *_, found = farthest(Plan(model="lenet5"), open_workspace("lenet5", "digits"), lose=0.01)
    >>> 0.2 < found.plan.sparsity < 0.6
    True
    """
    if not 0 <= lose < float("inf"):
        raise PruningError(f"The limit of the loss is {lose}: give a number of at least 0.")
    search = _Search(plan, space, lose, sure)
    border = yield from search.bisect(0, STEPS + 1)
    while border < STEPS:
        above = range(border + 2, min(border + 1 + LOOK_AHEAD, STEPS) + 1)
        for step in above:
            yield from search.try_at(step)
        within = [step for step in above if search.tried[step].within]
        if not within:
            break
        border = yield from search.bisect(within[-1], STEPS + 1)
    best = search.tried.get(border)
    found = replace(plan, sparsity=border / STEPS)
    yield Farthest(found, best, search.dense, tuple(t for _, t in sorted(search.tried.items())))


def curve(plan: Plan, space: Workspace) -> Iterator[CurvePoint]:
    """The value of the whole plan at `CURVE`'s sparsities, without training, on the plan's probe.

    Without repair, and with each repair that has an effect in this network.
    Raises PruningError as `farthest`.
    """
    measured = _PlanAtSparsities(plan, space)
    model = space.model
    repairs = (NONE, *(name for name in REPAIRS if REPAIRS[name].no_effect(model) is None))
    for step in CURVE:
        for repair in repairs:
            evaluation = measured.at(step, repair)
            yield CurvePoint(step / STEPS, repair, evaluation, change(measured.dense, evaluation))


def bisect(
    low: int, high: int, try_at: Callable[[int], Iterator[Event]], below: Callable[[int], bool]
) -> Generator[Event, None, int]:
    """Returns a step that is below the border (or `low`) whose next step is not (or is `high`).

    try_at: measures a step and yields what the caller should see; below: of a measured step.
    """
    while high - low > 1:
        middle = (low + high) // 2
        yield from try_at(middle)
        low, high = (middle, high) if below(middle) else (low, middle)
    return low


class MasksAtSparsities:
    """The plan's masks at whole percents. Groups are scored once.

    Raises PruningError for a plan whose sparsity has no effect.
    """

    def __init__(self, plan: Plan, space: Workspace) -> None:
        self.resolved = plan.resolve(space)
        if self.resolved.granularity.fixed_ratio is not None:
            raise PruningError(
                f"{self.resolved.granularity.label} sets the sparsity of every layer: choose "
                "another granularity to search for a sparsity."
            )
        if not ALLOCATIONS[plan.allocation].uses_target:
            raise PruningError(
                f"The allocation {ALLOCATIONS[plan.allocation].label} sets the sparsity itself: "
                "choose another allocation to search for a sparsity."
            )
        self.plan = plan
        self.space = space
        self._groups: GroupScores = self.resolved.scores()

    def at(self, step: int, repair: str) -> tuple[ResolvedPlan, Masks]:
        """The resolved plan at that sparsity with that repair, and its masks."""
        plan = replace(self.plan, sparsity=step / STEPS, repair=repair)
        resolved = plan.resolve(self.space)
        return resolved, resolved.masks(self._groups, resolved.ratios(self._groups))


class _PlanAtSparsities:
    """Measures the plan at whole percents."""

    def __init__(self, plan: Plan, space: Workspace) -> None:
        self._masks = MasksAtSparsities(plan, space)
        judge = Judge.of(space.dataset)
        model = self._masks.resolved.space.model
        self._forward = IncrementalForward(model, probe_split(plan, space), judge=judge)
        self.dense = self._forward.evaluation({})

    def at(self, step: int, repair: str) -> Evaluation:
        """The pruned and repaired network on the probe."""
        resolved, masks = self._masks.at(step, repair)
        return self._forward.evaluation(tensors_of(resolved.pruned_copy(masks)))


class _Search:
    """Tries sparsities in whole percents, each at most once."""

    def __init__(self, plan: Plan, space: Workspace, lose: float, sure: bool) -> None:
        self.plan = plan
        self.lose = lose
        self.sure = sure
        self.tried: dict[int, Tried] = {}
        self._measured = _PlanAtSparsities(plan, space)
        self.dense = self._measured.dense

    def bisect(self, low: int, high: int) -> Generator[Tried, None, int]:
        """`bisect` over the steps of this search."""
        return (yield from bisect(low, high, self.try_at, lambda step: self.tried[step].within))

    def try_at(self, step: int) -> Iterator[Tried]:
        """Measures one step, where it was not measured before."""
        if step in self.tried:
            return
        measured = self._measured.at(step, self.plan.repair)
        changed = change(self.dense, measured)
        self.tried[step] = Tried(step / STEPS, measured, changed, self._within(changed))
        yield self.tried[step]

    def _within(self, changed: Change) -> bool:
        sign = changed.task.sign
        low, high = changed.interval
        worst = low if sign > 0 else high
        return -sign * (worst if self.sure else changed.value) <= self.lose + 1e-12
