"""One run of a study: the pipeline's flow on the run's plan, and what the reporting check-list asks
for.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from pruning_core.flows import flow
from pruning_core.pipeline import counts, final_test_split, flow_context, masked_copy
from pruning_core.studies.study import Run, Study, plan_of
from pruning_core.training.fine_tune import evaluate
from pruning_core.types import Epoch, Evaluation, Masks, Pruned, Step, Tuned
from pruning_core.workspace import Workspace
from pruning_core.zoo.splits import stratified


@dataclass(frozen=True)
class Accuracy:
    """Measured on n test images. top1, top5: fractions in [0, 1], top5 None for five classes or
    fewer; low, high: Wilson 95%.
    """

    n: int
    top1: float
    low: float
    high: float
    top5: float | None


@dataclass(frozen=True)
class Result:
    """What a run came to, the check-list of Blalock et al. 2020, arXiv:2003.03033.

    initial: the dense network; before, after: cut, without and with fine-tuning (None for 0
    epochs); epochs: per training; images: training images; parameters, nonzeros: of the whole
    network; macs, macs_effective: multiply-adds per image that read a prunable weight, dense and
    left (computed); thinned_parameters, thinned_macs: as in `Report`, None where nothing is known
    of it or less than outputs is cut; seconds: this run took on this machine (measured); threads:
    number of threads that torch's kernels used, None in records that do not name it.
    """

    run: Run
    initial: Accuracy
    before: Accuracy
    after: Accuracy | None
    epochs: int
    images: int
    parameters: int
    nonzeros: int
    macs: int
    macs_effective: int
    thinned_parameters: int | None
    thinned_macs: int | None
    seconds: float
    threads: int | None = None

    @property
    def macs_left(self) -> int:
        """Of the thinned network where it is known, else of the masked one."""
        return self.macs_effective if self.thinned_macs is None else self.thinned_macs

    @property
    def compression(self) -> float:
        """Parameters / parameters left: of the thinned network where it is known, else nonzeros."""
        return self.parameters / max(
            1, self.nonzeros if self.thinned_parameters is None else self.thinned_parameters
        )

    @property
    def speedup(self) -> float:
        """Theoretical: MACs dense / MACs left."""
        return self.macs / max(1, self.macs_left)

    @property
    def final(self) -> Accuracy:
        """After fine-tuning; where there is none, before."""
        return self.after or self.before


def run_events(
    study: Study, run: Run, space: Workspace, dense: Evaluation, device: torch.device | None = None
) -> Iterator[Step | Epoch | Result]:
    """Cuts and trains as `pipeline.prune` does; the Result comes last. space: with the seed's
    images (`seeded`); dense: the base network on the exam split. Raises PruningError where the
    plan cannot be carried out or the training fails.
    """
    began = time.perf_counter()
    plan = plan_of(study, run)
    masks = Masks()
    model = space.model
    for event in flow(plan.flow)(flow_context(plan, space, device)):
        masks = event.masks if isinstance(event, Pruned) else masks
        model = event.model if isinstance(event, Pruned | Tuned) else model
        if isinstance(event, Step | Epoch):
            yield event
    split = final_test_split(plan, space)
    outputs = space.dataset.outputs
    cut = evaluate(masked_copy(plan, space, masks), split, outputs=outputs, device=device)
    tuned = (
        evaluate(model, split, outputs=outputs, device=device) if plan.fine_tune.epochs else None
    )
    report = counts(plan, space, masks, model)
    yield Result(
        run,
        accuracy(dense),
        accuracy(cut),
        accuracy(tuned) if tuned else None,
        plan.fine_tune.epochs,
        len(space.dataset.train),
        report.parameters,
        report.nonzeros,
        report.macs,
        report.macs_effective,
        report.thinned_parameters,
        report.thinned_macs,
        time.perf_counter() - began,
        torch.get_num_threads(),
    )


def seeded(space: Workspace, images: int, seed: int) -> Workspace:
    """The same network with a seed's own part of the training images, class shares kept, in the
    seed's own order; 0 = all.

    Calibration images are the first of them, so they change with the seed too.
    """
    train = space.dataset.train
    part = train.subset(stratified(train.labels, seed)[: images or len(train)].tolist())
    return replace(space, dataset=replace(space.dataset, train=part))


def accuracy(found: Evaluation) -> Accuracy:
    """The numbers of an evaluation."""
    return Accuracy(found.n, found.top1, *found.interval, found.top5)
