"""A search by several workers: each runs the method with a seed of its own, all share one log."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pruning_core.backends import Backend
from pruning_core.plan import Plan
from pruning_core.search.candidates import Candidate
from pruning_core.search.evaluate import PlanEvaluate
from pruning_core.search.evaluations import evaluations_name
from pruning_core.search.plan_space import PlanSpace
from pruning_core.search.postgres_log import open_log
from pruning_core.search.study import SharedEvaluate, shared
from pruning_core.workers import Emit, Producer, WorkerLost, Workers, parallel
from pruning_core.workspaces import Workspace, open_in_worker

RunMethod = Callable[[SharedEvaluate, int], Iterator[Candidate]]
"""The method's candidates of one worker. The number is that of all workers."""
Event = Candidate | WorkerLost


@dataclass(frozen=True, eq=False)
class EvaluateSource:
    """What a worker evaluates ratios with. by_name: it opens the plan's network and data itself."""

    runner: PlanEvaluate
    by_name: bool

    def for_other_process(self) -> "OpenEvaluate":
        """The plan, and the network and data where they are not opened by name."""
        space = self.runner.space
        return OpenEvaluate(space.plan, None if self.by_name else space.space)


@dataclass(frozen=True)
class OpenEvaluate:
    """Makes the evaluation of a plan's ratios in another process."""

    plan: Plan
    space: Workspace | None

    def __call__(self) -> PlanEvaluate:
        return PlanEvaluate(
            PlanSpace(self.plan, self.space or open_in_worker(self.plan.model, self.plan.dataset))
        )


def candidates(
    ready: PlanEvaluate, run: RunMethod, folder: Path, backend: Backend | None, by_name: bool
) -> Iterator[Event]:
    """Every candidate as it is measured. At the end `ready.measured` counts the evaluations made.

    backend: evaluates for as many workers as it has; each runs the method with its part of the
    evaluations and a seed of its own. None: one worker, in this thread. by_name: they open the
    plan's network and data by name, instead of a copy of the workspace. The log is read and written
    here alone. Where a worker ends, WorkerLost says so and the search continues.
    """
    log = partial(open_log, folder, evaluations_name(ready.space.plan, ready.space.space))
    if backend is None:
        with shared(log(), ready) as evaluate:
            yield from run(evaluate, 1)
            ready.measured = evaluate.measured
        return
    best: Candidate | None = None
    count = backend.count()
    shares: list[SharedEvaluate] = []

    def producers_of(workers: Workers) -> list[Producer]:
        numbers = [(first, count) for first in range(1, count + 1)]
        shares.extend(stack.enter_context(shared(log(), workers.run, share)) for share in numbers)
        return [partial(_emit, run, share, count) for share in shares]

    with ExitStack() as stack:
        for event in parallel(backend, EvaluateSource(ready, by_name), producers_of):
            if isinstance(event, Candidate):
                better = best is None or event.judged.rank > best.judged.rank
                event = replace(event, best=event.best and better)
                best = event if event.best else best
            yield event
        ready.measured = sum(share.measured for share in shares)


def _emit(run: RunMethod, evaluate: SharedEvaluate, count: int, emit: Emit) -> None:
    for candidate in run(evaluate, count):
        emit(candidate)
