"""How far can a plan go? Its curve, and the largest sparsity within a given loss."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace

from pruning_core.allocation import ALLOCATIONS
from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.pipeline import probe_split
from pruning_core.plan import Plan
from pruning_core.repairs import NONE, REPAIRS
from pruning_core.tasks import Change, change
from pruning_core.types import Evaluation, GroupScores, Masks, PruningError
from pruning_core.workspaces import Workspace

STEPS = 100
"""Sparsities are whole percents."""
COARSE = 5
CURVE = tuple(
    sorted(range(0, STEPS, COARSE), key=lambda step: (step % 20 > 0, step % 10 > 0, step))
)
"""The steps of a curve, from coarse to fine."""
LOOK_AHEAD = 4
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

    best: None where no sparsity tried is within the limit; then the plan has sparsity 0.
    tried: by sparsity.
    """

    plan: Plan
    best: Tried | None
    dense: Evaluation
    tried: tuple[Tried, ...]


def farthest(
    plan: Plan,
    space: Workspace,
    lose: float,
    *,
    sure: bool = False,
    known: Iterable[CurvePoint] = (),
) -> Iterator[Tried | Farthest]:
    """Finds the largest sparsity whose loss is at most `lose`, among steps of 5%, then above it.

    Measured without training, on the plan's probe. The value need not fall with the sparsity: the
    steps of 5% are tried from 100% down to the first one within the limit. Then whole percents
    above it are tried, until the next four are not within the limit. So a larger sparsity within
    the limit can only be missed where it is no step of 5% and not among those four.
    lose: in the unit of the task's value, such as 0.01 for one point of accuracy. sure: the whole
    95% interval of the paired change must be within the limit, not only the measured change.
    known: points of this plan's `curve`, which are not measured again.
    Raises PruningError for a negative or infinite limit, and for a plan whose sparsity has no
    effect.

    >>> from pruning_core import open_workspace
    >>> *_, found = farthest(Plan(model="lenet5"), open_workspace("lenet5", "digits"), lose=0.01)
    >>> 0.2 < found.plan.sparsity < 0.6
    True
    """
    if not 0 <= lose < float("inf"):
        raise PruningError(f"The limit of the loss is {lose}: give a number of at least 0.")
    search = _Search(plan, space, lose, sure, known)
    border = (yield from search.first_within(range(STEPS, 0, -COARSE))) or 0
    while higher := (
        yield from search.first_within(range(min(border + LOOK_AHEAD, STEPS), border, -1))
    ):
        border = higher
    best = search.tried.get(border)
    largest = replace(plan, sparsity=border / STEPS)
    yield Farthest(largest, best, search.dense, tuple(t for _, t in sorted(search.tried.items())))


def curve(plan: Plan, space: Workspace) -> Iterator[CurvePoint]:
    """The value of the whole plan at `CURVE`'s sparsities, without training, on the plan's probe.

    Without repair, and with each quick repair and the plan's own that have an effect in this
    network.
    Raises PruningError as `farthest`.
    """
    measured = _PlanAtSparsities(plan, space)
    model = space.model
    shown = (name for name, repair in REPAIRS.items() if repair.quick or name == plan.repair)
    repairs = (NONE, *(name for name in shown if REPAIRS[name].no_effect(model) is None))
    for step in CURVE:
        yield from measured.at(step, repairs)


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
        self._groups: GroupScores = self.resolved.scores()

    def at(self, step: int) -> Masks:
        """The plan's masks at that sparsity."""
        ratios = replace(self.resolved, sparsity=step / STEPS).ratios(self._groups)
        return self.resolved.masks(self._groups, ratios)


class _PlanAtSparsities:
    """Measures the plan at whole percents."""

    def __init__(self, plan: Plan, space: Workspace) -> None:
        self._masks = MasksAtSparsities(plan, space)
        resolved = self._masks.resolved
        self._repaired = {
            name: replace(resolved, repair=repair) for name, repair in REPAIRS.items()
        }
        judge = Judge.of(space.dataset)
        split = probe_split(plan, space)
        self._forward = IncrementalForward(resolved.space.model, split, judge=judge)
        self.dense = self._forward.evaluation({})

    def at(self, step: int, repairs: Iterable[str]) -> Iterator[CurvePoint]:
        """The pruned network on the probe, with each of these repairs."""
        masks = self._masks.at(step)
        for repair in repairs:
            evaluation = self._forward.evaluation(self._repaired[repair].pruned_tensors(masks))
            yield CurvePoint(step / STEPS, repair, evaluation, change(self.dense, evaluation))


class _Search:
    """Tries sparsities in whole percents, each at most once."""

    def __init__(
        self, plan: Plan, space: Workspace, lose: float, sure: bool, known: Iterable[CurvePoint]
    ) -> None:
        self.repair = plan.repair
        self.lose = lose
        self.sure = sure
        self.tried: dict[int, Tried] = {}
        self._known = {round(STEPS * p.sparsity): p for p in known if p.repair == plan.repair}
        self._measured = _PlanAtSparsities(plan, space)
        self.dense = self._measured.dense

    def first_within(self, steps: Iterable[int]) -> Generator[Tried, None, int | None]:
        """Returns the first of the steps within the limit; yields those that are tried for it."""
        for step in steps:
            if step not in self.tried:
                self.tried[step] = self._try_at(step)
                yield self.tried[step]
            if self.tried[step].within:
                return step
        return None

    def _try_at(self, step: int) -> Tried:
        point = self._known.get(step) or next(self._measured.at(step, (self.repair,)))
        return Tried(point.sparsity, point.evaluation, point.change, self._within(point.change))

    def _within(self, changed: Change) -> bool:
        sign = changed.task.sign
        low, high = changed.interval
        worst = low if sign > 0 else high
        return -sign * (worst if self.sure else changed.value) <= self.lose + 1e-12
