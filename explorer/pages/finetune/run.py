"""A fine-tuning run as the page follows it: events without models, progress, and one time axis.
Knows no Streamlit.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from explorer.jobs.progress import Progress
from pruning_core.masks import achieved
from pruning_core.pipeline import Workspace, prune
from pruning_core.plan import Plan
from pruning_core.schedule import schedule
from pruning_core.training.fine_tune import evaluate, steps_per_epoch, tracked_norms
from pruning_core.types import Epoch, Evaluation, Finished, Layer, Masks, Pruned, Step, Tuned


@dataclass(frozen=True, eq=False)
class Reference:
    """The dense model on the validation split, where epochs are measured too."""

    evaluation: Evaluation


@dataclass(frozen=True, eq=False)
class Cut:
    """A round's cut is made; removed: share of the masked weights; evaluation: validation split,
    before this round's training.
    """

    round: int
    rounds: int
    removed: float
    evaluation: Evaluation


def fine_tune_events(plan: Plan, space: Workspace) -> Iterator[object]:
    """`pipeline.prune` for the page: Reference, then per round Cut, Step, Epoch; last Finished,
    which alone has a model.
    """
    val = space.dataset.val
    outputs = space.dataset.outputs
    yield Reference(evaluate(space.model, val, outputs=outputs))
    for event in prune(plan, space):
        if isinstance(event, Pruned):
            yield Cut(
                event.round,
                event.rounds,
                removed_share(event.masks),
                evaluate(event.model, val, outputs=outputs),
            )
        elif not isinstance(event, Tuned):
            yield event


def removed_share(masks: Masks) -> float:
    """The share of the masked weights that is removed."""
    total = sum(mask.numel() for mask in masks.values())
    return (
        sum(share * masks[name].numel() for name, share in achieved(masks).items()) / total
        if total
        else 0.0
    )


def settles(space: Workspace) -> str:
    """What few steps of training may leave unsettled in this network."""
    return "batch norms and weights" if tracked_norms(space.model) else "the weights"


def progress(events: Sequence[object], plan: Plan, seconds: float) -> Progress:
    """Where the run is after that many seconds of computing."""
    cut = next((event for event in reversed(events) if isinstance(event, Cut)), None)
    if cut is None:
        return Progress(0.0, None, "measuring the dense network, scoring and cutting")
    last = next((event for event in reversed(events) if isinstance(event, Step | Cut)), None)
    rounds = f"round {cut.round} of {cut.rounds}"
    if not isinstance(last, Step):
        return Progress((cut.round - 1) / cut.rounds, None, f"{rounds}: cut made")
    epochs = plan.fine_tune.epochs
    done = ((cut.round - 1) * epochs + last.epoch - 1) * last.steps + last.step
    total = cut.rounds * epochs * last.steps
    if done == total and isinstance(events[-1], Epoch):
        return Progress(1.0, None, "measuring the four states on the test images")
    stage = f"{rounds} · epoch {last.epoch} of {epochs} · step {last.step} of {last.steps}"
    return Progress(done / total, seconds / done * (total - done), stage)


def continuous(
    events: Sequence[object], epochs: int
) -> tuple[tuple[object, ...], dict[float, float]]:
    """The events with epochs counted on through all rounds, and the accuracy after each cut by the
    epoch at which it was made.
    """
    moved: list[object] = []
    cuts: dict[float, float] = {}
    before = 0
    for event in events:
        if isinstance(event, Cut):
            before = (event.round - 1) * epochs
            cuts[float(before)] = event.evaluation.top1
        elif isinstance(event, Step | Epoch):
            moved.append(replace(event, epoch=event.epoch + before))
    return tuple(moved), cuts


def steps_of(plan: Plan, space: Workspace) -> int:
    """How many optimizer steps the whole run takes."""
    config = plan.fine_tune
    return (
        schedule(plan.schedule).rounds
        * config.epochs
        * steps_per_epoch(len(space.dataset.train), config.batch_size)
    )


def flipped(labels: Tensor, before: Evaluation, after: Evaluation) -> tuple[list[int], list[int]]:
    """Numbers of the images that were right and are wrong now, and of those that were wrong and are
    right now.
    """
    was = before.predictions == labels
    now = after.predictions == labels
    return torch.nonzero(was & ~now).flatten().tolist(), torch.nonzero(
        ~was & now
    ).flatten().tolist()


def sign_test(broken: int, fixed: int) -> float:
    """Two-sided exact sign test: how likely is a split at least as uneven as this, if either way is
    as likely?

    p = min(1, 2 sum_{k <= min(b, f)} C(b + f, k) / 2^(b + f)); McNemar 1947, exact form.
    """
    total = broken + fixed
    tail = sum(math.comb(total, k) for k in range(min(broken, fixed) + 1))
    chance: float = 2 * tail / 2**total
    return min(1.0, chance)


def count_held(done: Finished, layers: Sequence[Layer]) -> tuple[int, int]:
    """(removed weights, those of them that are exactly zero in the final model)."""
    shapes = {layer.name: layer.param_shape for layer in layers}
    removed = zero = 0
    for name, mask in done.masks.items():
        values = done.model.get_parameter(name).detach()[~mask.reshape(shapes[name])]
        removed += values.numel()
        zero += int((values == 0).sum())
    return removed, zero
