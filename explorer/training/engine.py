"""A training run as a page shows it: events without models, progress, and one time axis."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from explorer.jobs.progress import Progress
from explorer.texts.translate import _
from pruning_core.compress.goal_costs import COSTS
from pruning_core.evaluation.accuracy import Judge
from pruning_core.flows import flow, packed
from pruning_core.masks import achieved
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.schedule import schedule
from pruning_core.training.config import steps_per_epoch
from pruning_core.training.journal import Journal
from pruning_core.types import Epoch, Evaluation, Masks, Pruned, Resumed, Split, Step, Tuned
from pruning_core.workspaces import Workspace


@dataclass(frozen=True, eq=False)
class Reference:
    """The first event: the dense model, measured on the images that `MaskUpdate` uses."""

    evaluation: Evaluation


@dataclass(frozen=True, eq=False)
class MaskUpdate:
    """New masks were computed, and the masked model was measured before it trains further.

    number: of this update, from 1; total: updates of the whole run; steps: optimizer steps before
    it, over all trainings; removed: fraction of all masked weights; layers: removed fraction of
    each layer; bits: packed masks of the recorded layers, by layer name.
    """

    number: int
    total: int
    steps: int
    removed: float
    layers: dict[str, float]
    bits: dict[str, bytes]
    evaluation: Evaluation


def training_events(
    plan: Plan,
    space: Workspace,
    split: Split | None = None,
    recorded: Collection[str] = (),
    folder: Path | None = None,
) -> Iterator[object]:
    """The events of `pipeline.prune` without their models.

    Yields Reference, then MaskUpdate, Step and Epoch in the order of the run, and Finished, which
    alone holds a model. split: the images that measure each mask update, by default those of
    validation; recorded: names of the layers whose masks are kept in the events; folder: of an
    interrupted run that continues, or of a new one that can continue later (`Journal`).
    """
    journal = None if folder is None else Journal(folder)
    judge = Judge.of(space.dataset)
    split = space.dataset.val if split is None else split
    steps = 0
    yield Reference(judge.evaluate(space.model, split))
    for event in prune(plan, space, costs=COSTS, journal=journal):
        steps += isinstance(event, Step)
        if isinstance(event, Pruned):
            measure = partial(judge.evaluate, event.model, split)
            known = measure() if journal is None else journal.measured(judge.task, measure)
            yield _mask_update(event, steps, recorded, known)
        elif not isinstance(event, Tuned):
            yield event


def _mask_update(
    event: Pruned, steps: int, recorded: Collection[str], measured: Evaluation
) -> MaskUpdate:
    bits = {name: packed(mask) for name, mask in event.masks.items() if name in recorded}
    return MaskUpdate(
        number=event.round,
        total=event.rounds,
        steps=steps,
        removed=removed_fraction(event.masks),
        layers=achieved(event.masks),
        bits=bits,
        evaluation=measured,
    )


def removed_fraction(masks: Masks) -> float:
    """The fraction of all masked weights that is removed; 0 without masks."""
    total = sum(mask.numel() for mask in masks.values())
    if not total:
        return 0.0
    removed = sum(share * masks[name].numel() for name, share in achieved(masks).items())
    return removed / total


def reference_of(events: Sequence[object]) -> Evaluation | None:
    """The dense model's evaluation; None before it is measured."""
    references = (event.evaluation for event in events if isinstance(event, Reference))
    return next(references, None)


def mask_updates_of(events: Sequence[object]) -> tuple[MaskUpdate, ...]:
    """The mask updates so far, in the order of the run."""
    return tuple(event for event in events if isinstance(event, MaskUpdate))


def epoch_steps_of(events: Sequence[object]) -> int:
    """Optimizer steps of one epoch of the run; 1 before its first step.

    The events say it: the run's network and data may not be there any more.
    """
    return next((event.steps for event in events if isinstance(event, Step)), 1)


def epochs_of(plan: Plan) -> int:
    """Epochs of the whole run, over all its trainings."""
    per_round, besides = flow(plan.flow).trainings
    return (per_round * schedule(plan.schedule).rounds + besides) * plan.fine_tune.epochs


def steps_of(plan: Plan, space: Workspace) -> int:
    """Optimizer steps of the whole run, over all its trainings."""
    return epochs_of(plan) * steps_per_epoch(len(space.dataset.train), plan.fine_tune.batch_size)


def one_time_axis(
    events: Sequence[object], epoch_steps: int
) -> tuple[tuple[object, ...], dict[float, float]]:
    """The events of all trainings on one axis of epochs.

    Returns the Step and Epoch events, with epochs counted over all trainings, and the top-1
    accuracy of each mask update by the epochs done before it. epoch_steps: steps of one epoch.
    """
    moved: list[object] = []
    updates: dict[float, float] = {}
    steps = 0
    for event in events:
        if isinstance(event, MaskUpdate):
            updates[event.steps / epoch_steps] = event.evaluation.value
        elif isinstance(event, Step):
            epoch = steps // epoch_steps + 1  # copies are slow: a page makes them every second
            moved.append(event if event.epoch == epoch else replace(event, epoch=epoch))
            steps += 1
        elif isinstance(event, Epoch):
            moved.append(replace(event, epoch=-(-steps // epoch_steps)))
    return tuple(moved), updates


def progress(events: Sequence[object], total: int, seconds: float, update_name: str) -> Progress:
    """How far the run is after that many seconds of computing.

    total: optimizer steps of the whole run; update_name: what the page calls a mask
    update, such as "round".
    """
    steps = [event for event in events if isinstance(event, Step)]
    updates = mask_updates_of(events)
    if not steps and not updates:
        return Progress(0.0, None, _("measuring the dense network, scoring and pruning"))
    done = len(steps)
    now = done - sum(event.steps for event in events if isinstance(event, Resumed))
    stage = _update_stage(updates, update_name)
    if not steps:
        return Progress(_updates_before(updates) if not total else 0.0, None, stage)
    if done == total and isinstance(events[-1], Epoch | MaskUpdate):
        return Progress(1.0, None, _("measuring the results on the test images"))
    epoch = -(-done // steps[-1].steps)
    epochs = total // steps[-1].steps
    stage = _(
        "{stage} · epoch {epoch:,} of {epochs:,} · step {done:,} of {total:,}",
        stage=stage,
        epoch=epoch,
        epochs=epochs,
        done=done,
        total=total,
    )
    left = seconds / now * (total - done) if now > 0 else None
    return Progress(min(1.0, done / total), left, stage)


def _update_stage(updates: Sequence[MaskUpdate], update_name: str) -> str:
    if not updates:
        return _("no weight is removed yet")
    newest = updates[-1]
    name = _(update_name)
    return _("{name} {number} of {total}", name=name, number=newest.number, total=newest.total)


def _updates_before(updates: Sequence[MaskUpdate]) -> float:
    """The fraction of mask updates before the newest one, for runs without training."""
    return (updates[-1].number - 1) / updates[-1].total
