"""A flow as the page follows it: events without models, masks bit by bit, progress and one time
axis. Knows no Streamlit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from explorer.jobs.progress import Progress
from explorer.pages.finetune.run import Reference, removed_share
from pruning_core.flows import History, flow, packed
from pruning_core.masks import achieved
from pruning_core.pipeline import Workspace, probe_split, prune
from pruning_core.plan import Plan
from pruning_core.schedule import schedule
from pruning_core.training.fine_tune import evaluate, steps_per_epoch
from pruning_core.types import Epoch, Evaluation, Layer, Pruned, Step, Tuned

MOST_WEIGHTS = 1 << 24
"""Masks of all layers are kept for the page up to so many weights together; above, those of the
layer looked at.
"""


@dataclass(frozen=True, eq=False)
class Frame:
    """Masks were told. steps: optimizer steps done by then, over all trainings; removed: share of
    the masked weights; layers: the share of each layer that is removed; bits: packed masks by
    layer; evaluation: of the masked model on the probe images.
    """

    number: int
    rounds: int
    steps: int
    removed: float
    layers: dict[str, float]
    bits: dict[str, bytes]
    evaluation: Evaluation


def flow_events(plan: Plan, space: Workspace, looked: str | None) -> Iterator[object]:
    """`pipeline.prune` for the page: Reference, then Frame, Step and Epoch as they come; Finished
    at last, with the model.
    """
    probe = probe_split(plan, space)
    outputs = space.dataset.outputs
    steps = 0
    small = sum(layer.numel for layer in space.layers) <= MOST_WEIGHTS
    yield Reference(evaluate(space.model, probe, outputs=outputs))
    for event in prune(plan, space):
        steps += isinstance(event, Step)
        if isinstance(event, Pruned):
            bits = {
                name: packed(mask) for name, mask in event.masks.items() if small or name == looked
            }
            found = evaluate(event.model, probe, outputs=outputs)
            shares = achieved(event.masks)
            yield Frame(
                event.round, event.rounds, steps, removed_share(event.masks), shares, bits, found
            )
        elif not isinstance(event, Tuned):
            yield event


def frames_of(events: Sequence[object]) -> tuple[Frame, ...]:
    """The moments at which masks were told."""
    return tuple(event for event in events if isinstance(event, Frame))


def history(frames: Sequence[Frame], layer: Layer) -> History | None:
    """The layer's masks over time; None where they were not kept."""
    if not any(layer.name in frame.bits for frame in frames):
        return None
    dense = packed(torch.ones(layer.shape, dtype=torch.bool))
    return History(
        layer.name, layer.shape, (dense, *(frame.bits.get(layer.name, dense) for frame in frames))
    )


def per_epoch(plan: Plan, space: Workspace) -> int:
    """Optimizer steps of one epoch."""
    return steps_per_epoch(len(space.dataset.train), plan.fine_tune.batch_size)


def steps_of(plan: Plan, space: Workspace) -> int:
    """How many optimizer steps the whole flow takes, over all its trainings."""
    each, besides = flow(plan.flow).trainings
    rounds = schedule(plan.schedule).rounds
    return (each * rounds + besides) * plan.fine_tune.epochs * per_epoch(plan, space)


def continuous(
    events: Sequence[object], epoch_steps: int
) -> tuple[tuple[object, ...], dict[float, float]]:
    """Step and Epoch events with epochs counted on through all trainings, and accuracies by the
    epoch of their cut.
    """
    moved: list[object] = []
    cuts: dict[float, float] = {}
    done = 0
    for event in events:
        if isinstance(event, Frame):
            cuts[event.steps / epoch_steps] = event.evaluation.top1
        elif isinstance(event, Step):
            moved.append(replace(event, epoch=done // epoch_steps + 1))
            done += 1
        elif isinstance(event, Epoch):
            moved.append(replace(event, epoch=-(-done // epoch_steps)))
    return tuple(moved), cuts


def progress(events: Sequence[object], total: int, seconds: float) -> Progress:
    """Where the flow is after that many seconds of computing; total: `steps_of`."""
    done = sum(isinstance(event, Step) for event in events)
    cuts = frames_of(events)
    told = f"moment {cuts[-1].number} of {cuts[-1].rounds}" if cuts else "nothing cut yet"
    if not done:
        return Progress(
            0.0, None, "measuring the dense network, scoring and cutting" if not cuts else told
        )
    if done == total and isinstance(events[-1], Epoch | Frame):
        return Progress(1.0, None, "measuring the four states on the test images")
    return Progress(
        min(1.0, done / total),
        seconds / done * (total - done),
        f"step {done:,} of {total:,} · {told}",
    )
