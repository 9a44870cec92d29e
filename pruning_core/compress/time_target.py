"""The smallest sparsity at which the thinned network is within a given share of the dense time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from pruning_core.compress.latency import BATCH, PAIRS, PAIRS_BUDGET
from pruning_core.compress.machine import Machine, machine
from pruning_core.compress.paired_times import Timing, Variant, busy_words, compare
from pruning_core.compress.runtimes import Runtime, prepared, runtime, unavailable
from pruning_core.compress.target_search import smallest_within
from pruning_core.compress.thin import Thinned, rounded, thin
from pruning_core.evaluation.accuracy import Judge
from pruning_core.granularity import need_channels
from pruning_core.pipeline import probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.farthest import STEPS, MasksAtSparsities
from pruning_core.tasks import Change, change
from pruning_core.types import Evaluation, PruningError
from pruning_core.workspaces import Workspace, batch_of


@dataclass(frozen=True)
class TriedTime:
    """The thinned network at one sparsity. share: its time / the dense network's, with the 95%
    interval; timing: None where no channel is removed, so that nothing was measured.

    within: at most the limit?
    """

    sparsity: float
    share: float
    interval: tuple[float, float]
    within: bool
    timing: Timing | None


@dataclass(frozen=True, eq=False)
class FittedTime:
    """The last event: the plan at the smallest sparsity found, and its thinned network.

    chosen: the measurement at that sparsity; evaluation, change: of the thinned network on the
    plan's probe, against the dense one; machine: before the search.
    """

    plan: Plan
    chosen: TriedTime
    limit: float
    thinned: Thinned
    evaluation: Evaluation
    change: Change
    tried: tuple[TriedTime, ...]
    machine: Machine

    @property
    def busy(self) -> str | None:
        """Why the machine was too busy to decide; None where it was not."""
        return _busy(self.machine, self.chosen)


@dataclass(frozen=True)
class TimeTarget:
    """What is measured. limit: of the share of the dense time; sure: the whole 95% interval must be
    within it; round_to: as in `thin`. rounds, budget: of the pairs at one sparsity.
    """

    limit: float
    runtime: str = "eager"
    batch: int = BATCH
    round_to: int | None = None
    sure: bool = False
    rounds: int = PAIRS
    budget: float = PAIRS_BUDGET


def fit_time(plan: Plan, space: Workspace, target: TimeTarget) -> Iterator[TriedTime | FittedTime]:
    """Finds a small sparsity, in whole percents, whose thinned network takes at most the limit.

    Each sparsity is measured: the thinned network in interleaved pairs with the dense one, on the
    CPU. By bisection: it takes that the time falls with the sparsity, which widths and noise can
    break. So the sparsity found is within the limit by its own measurement, and a smaller one may
    be too. Raises PruningError for a limit outside 0 to 1, for a plan that removes no whole
    channels, where not even full sparsity is within, and as `farthest` and `thin`.
    """
    search = _Search(plan, space, target)
    step = yield from smallest_within(search.try_at, too_large=0)
    if step is None:
        most = search.tried[STEPS]
        low, high = most.interval
        busy = _busy(search.machine, most)
        raise PruningError(
            f"At most {target.limit:.0%} of the dense time is not possible here: without all "
            f"channels that this plan can remove, the network still takes {most.share:.0%} "
            f"[{low:.0%}, {high:.0%}]." + (f" {busy}" if busy else "")
        )
    yield search.fitted(step)


class _Search:
    """Tries sparsities in whole percents."""

    def __init__(self, plan: Plan, space: Workspace, target: TimeTarget) -> None:
        if not 0 < target.limit < 1:
            raise PruningError(
                f"The limit of the time is {target.limit:g}: give a part of the dense time between "
                "0 and 1, such as 0.4 or 40%."
            )
        self._masks = MasksAtSparsities(plan, space)
        need_channels(self._masks.resolved.granularity)
        place = torch.device("cpu")
        self._runtime: Runtime = runtime(target.runtime)
        if (reason := unavailable(self._runtime, place)) is not None:
            raise PruningError(reason)
        self.plan = plan
        self.space = space
        self.target = target
        self.tried: dict[int, TriedTime] = {}
        self._x = batch_of(space, target.batch)
        self.machine = machine(place)
        self._dense = Variant("dense", "Dense", prepared(self._runtime, space.model, self._x))

    def try_at(self, step: int) -> TriedTime:
        """The time at one step."""
        made = self._thinned(step)
        sparsity = step / STEPS
        if made is None:
            self.tried[step] = TriedTime(sparsity, 1.0, (1.0, 1.0), False, None)
            return self.tried[step]
        narrow = Variant("thin", "Thinned", prepared(self._runtime, made.module, self._x))
        own = self.target
        timing = compare(self._dense, [narrow], rounds=own.rounds, budget=own.budget).timings[1]
        low, high = timing.interval
        share = 1 / timing.speedup
        interval = (1 / high, 1 / low)
        within = (interval[1] if own.sure else share) <= own.limit
        self.tried[step] = TriedTime(sparsity, share, interval, within, timing)
        return self.tried[step]

    def _thinned(self, step: int) -> Thinned | None:
        """The thinned network at a step; None where no channel is removed."""
        masks = self._masks.at(step)
        multiple = self.target.round_to
        if multiple is not None:
            masks = rounded(masks, self._masks.resolved.space, multiple)
        if all(bool(mask.all()) for mask in masks.values()):
            return None
        return thin(self.plan, self.space, masks)

    def fitted(self, step: int) -> FittedTime:
        """The last event, with the value of the network at that step."""
        made = self._thinned(step)
        if made is None:
            raise PruningError("Nothing can be made narrower.")
        judge = Judge.of(self.space.dataset)
        split = probe_split(self.plan, self.space)
        pruned = judge.evaluate(made.module, split)
        return FittedTime(
            plan=replace(self.plan, sparsity=step / STEPS),
            chosen=self.tried[step],
            limit=self.target.limit,
            thinned=made,
            evaluation=pruned,
            change=change(judge.evaluate(self.space.model, split), pruned),
            tried=tuple(tried for _, tried in sorted(self.tried.items())),
            machine=self.machine,
        )


def _busy(before: Machine, tried: TriedTime) -> str | None:
    """Why the machine was too busy to decide. before: the machine as it was before the search."""
    return busy_words(before, () if tried.timing is None else (tried.timing,))
