"""One run of a study: it prunes, fine-tunes, and measures the numbers that a report needs."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from pruning_core.compress.goal_costs import COSTS
from pruning_core.compress.storage_sizes import computed_sizes, dense_stored, smallest_stored
from pruning_core.evaluation.accuracy import Judge
from pruning_core.flows import flow, flow_events
from pruning_core.granularity import granularity
from pruning_core.pipeline import counts, final_test_split, flow_context, pruned_copy
from pruning_core.plan import Plan
from pruning_core.studies.study import Run, Study, run_plan
from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.tasks.task import Task
from pruning_core.types import Epoch, Evaluation, Masks, Pruned, Step, Tuned
from pruning_core.workspaces import Workspace
from pruning_core.zoo.splits import sample_order


@dataclass(frozen=True)
class Measurement:
    """The task's value on n test samples.

    low, high: its 95% interval. top5: a fraction in [0, 1]; None for five classes or fewer, and of
    other tasks than classification.
    """

    n: int
    value: float
    low: float
    high: float
    top5: float | None = None
    task: Task = field(default=CLASSIFICATION, repr=False)


@dataclass(frozen=True)
class Result:
    """The numbers of one run, by the check-list of Blalock et al. 2020, arXiv:2003.03033.

    initial: the dense network. before: pruned, without fine-tuning.
    after: pruned and fine-tuned; None for 0 epochs.
    epochs: of each training. images: number of training images.
    parameters, nonzeros: of the whole network, computed.
    macs: multiply-adds per image that read a prunable weight, dense, computed.
    macs_effective: those that are left in the masked network, computed.
    thinned_nonzeros, thinned_macs: as in `types.Report`; None where they are not known, or
    where the granularity does not remove whole outputs.
    dense_bytes, stored_bytes: of all tensors, and in the smallest sparse format (`storage_sizes`),
    computed; None in old records without them.
    measured_speedup: dense time / time of the pruned network, thinned where that is possible, in
    PyTorch on the CPU at `latency.BATCH` samples; None where the study does not ask for it.
    seconds: time that the run took on this machine, measured.
    threads: number of threads that torch's kernels used; None in old records without it.
    """

    run: Run
    initial: Measurement
    before: Measurement
    after: Measurement | None
    epochs: int
    images: int
    parameters: int
    nonzeros: int
    macs: int
    macs_effective: int
    thinned_nonzeros: int | None
    thinned_macs: int | None
    seconds: float
    threads: int | None = None
    dense_bytes: int | None = None
    stored_bytes: int | None = None
    measured_speedup: float | None = None

    @property
    def macs_left(self) -> int:
        """Multiply-adds of the thinned network; of the masked one where that is not known."""
        return self.macs_effective if self.thinned_macs is None else self.thinned_macs

    @property
    def compression(self) -> float:
        """Parameters / parameters left; nonzeros count as left where thinning is not known."""
        left = self.nonzeros if self.thinned_nonzeros is None else self.thinned_nonzeros
        return self.parameters / max(1, left)

    @property
    def speedup(self) -> float:
        """Theoretical speed-up: dense multiply-adds / multiply-adds left."""
        return self.macs / max(1, self.macs_left)

    @property
    def storage(self) -> float | None:
        """Dense bytes / bytes in the smallest sparse format."""
        if self.dense_bytes is None or self.stored_bytes is None:
            return None
        return self.dense_bytes / max(1, self.stored_bytes)

    @property
    def final(self) -> Measurement:
        """The value after fine-tuning; before it, for 0 epochs."""
        return self.after or self.before


def run_events(
    study: Study, run: Run, space: Workspace, dense: Evaluation, device: torch.device | None = None
) -> Iterator[Step | Epoch | Result]:
    """Yields the steps and epochs of one run, then its Result.

    The run prunes and trains as `pipeline.prune` does.
    space: the network with the seed's images (`seed_workspace`).
    dense: evaluation of the dense network on the test split.
    Raises PruningError where the plan cannot be carried out or the training fails.
    """
    start = time.perf_counter()
    plan = run_plan(study, run)
    masks = Masks()
    model = space.with_norms(plan.norms).model
    for event in flow_events(flow(plan.flow), flow_context(plan, space, device, COSTS)):
        masks = event.masks if isinstance(event, Pruned) else masks
        model = event.model if isinstance(event, Pruned | Tuned) else model
        if isinstance(event, Step | Epoch):
            yield event
    result = _result(run, plan, space, masks, model, dense, device)
    if study.time:
        from pruning_core.compress.latency import pruned_timing  # not before it is used

        timing = pruned_timing(plan, space, masks, model)
        result = replace(result, measured_speedup=timing.speedup)
    yield replace(result, seconds=time.perf_counter() - start)


def _result(
    run: Run,
    plan: Plan,
    space: Workspace,
    masks: Masks,
    model: nn.Module,
    dense: Evaluation,
    device: torch.device | None,
) -> Result:
    """The run's numbers. masks: the last ones; model: the network that the flow made."""

    def measure(network: nn.Module) -> Measurement:
        split = final_test_split(plan, space)
        return measurement(Judge.of(space.dataset).evaluate(network, split, device))

    report = counts(plan, space, masks, model)
    sizes = computed_sizes(model, space.layers, masks, granularity(plan.granularity))
    return Result(
        run=run,
        initial=measurement(dense),
        before=measure(pruned_copy(plan, space, masks)),
        after=measure(model) if plan.fine_tune.epochs else None,
        epochs=plan.fine_tune.epochs,
        images=len(space.dataset.train),
        parameters=report.parameters,
        nonzeros=report.nonzeros,
        macs=report.macs,
        macs_effective=report.macs_effective,
        thinned_nonzeros=report.thinned_nonzeros,
        thinned_macs=report.thinned_macs,
        seconds=0.0,
        threads=torch.get_num_threads(),
        dense_bytes=dense_stored(sizes),
        stored_bytes=smallest_stored(sizes).bytes,
    )


def seed_workspace(space: Workspace, images: int, seed: int) -> Workspace:
    """The same network with the training images of one seed, in the seed's order.

    images: how many; 0 means all. Each class keeps its share of the images.
    The calibration images are the first training images, so they depend on the seed too.
    """
    train = space.dataset.train
    part = train.subset(sample_order(train, seed)[: images or len(train)].tolist())
    return replace(space, dataset=replace(space.dataset, train=part))


def measurement(evaluation: Evaluation) -> Measurement:
    """The numbers of an evaluation that a study saves."""
    low, high = evaluation.interval
    top5 = evaluation.extras.get("top-5")
    return Measurement(evaluation.n, evaluation.value, low, high, top5, evaluation.task)
