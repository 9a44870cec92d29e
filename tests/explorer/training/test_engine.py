"""Events of a training run, progress, and one time axis over all trainings."""

from dataclasses import replace

import pytest
import torch

from explorer.training.engine import (
    MaskUpdate,
    Reference,
    epochs_of,
    mask_updates_of,
    one_time_axis,
    progress,
    reference_of,
    removed_fraction,
    steps_of,
    training_events,
)
from pruning_core.evaluation.accuracy import summarise
from pruning_core.pipeline import probe_split
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Epoch, Finished, Resumed, Step
from pruning_core.workspaces import Workspace, open_workspace

Run = tuple[Plan, Workspace, tuple[object, ...]]


def update(number: int, total: int, steps: int) -> MaskUpdate:
    evaluation = summarise(torch.eye(2), torch.tensor([0, 1]))
    return MaskUpdate(number, total, steps, 0.5, {}, {}, evaluation)


def epoch(number: int) -> Epoch:
    return Epoch(number, 2, 0.1, summarise(torch.eye(2), torch.tensor([0, 1])), True)


@pytest.fixture(scope="module")
def lottery() -> Run:
    """Three trainings of one epoch, with masks after the first and the second."""
    plan = Plan(
        model="lenet5",
        sparsity=0.8,
        flow="lottery:fresh=0",
        schedule="iterative:2",
        fine_tune=TrainConfig(epochs=1, batch_size=128),
        probe=64,
    )
    space = open_workspace("lenet5", "digits")
    events = training_events(plan, space, probe_split(plan, space), {"fc1.weight"})
    return plan, space, tuple(events)


def test_the_events_of_a_run_and_their_steps(lottery: Run) -> None:
    plan, space, events = lottery
    assert isinstance(events[0], Reference)
    assert isinstance(events[-1], Finished)
    assert reference_of(events) is events[0].evaluation
    assert events[0].evaluation.n == 64
    steps = [event for event in events if isinstance(event, Step)]
    assert len(steps) == steps_of(plan, space) == 3 * 8
    assert epochs_of(plan) == 3
    updates = mask_updates_of(events)
    assert [(u.number, u.total, u.steps) for u in updates] == [(1, 2, 8), (2, 2, 16)]
    assert [round(u.removed, 2) for u in updates] == [0.4, 0.8]
    assert updates[1].removed == removed_fraction(events[-1].masks)


def test_only_the_masks_of_named_layers_are_recorded(lottery: Run) -> None:
    plan, space, events = lottery
    assert [update.bits.keys() for update in mask_updates_of(events)] == [{"fc1.weight"}] * 2
    short = replace(plan, flow="rounds", schedule="one_shot", fine_tune=TrainConfig(epochs=0))
    (update,) = mask_updates_of(tuple(training_events(short, space, space.dataset.val)))
    assert not update.bits
    assert update.evaluation.n == len(space.dataset.val)


def test_one_time_axis_counts_epochs_over_all_trainings(lottery: Run) -> None:
    _, _, events = lottery
    moved, updates = one_time_axis(events, 8)
    assert [event.epoch for event in moved if isinstance(event, Epoch)] == [1, 2, 3]
    of_steps = [event.epoch for event in moved if isinstance(event, Step)]
    assert of_steps == [1] * 8 + [2] * 8 + [3] * 8
    assert list(updates) == [1.0, 2.0]


def test_one_time_axis_of_a_run_in_progress() -> None:
    events = (
        update(1, 2, 0),
        Step(1, 1, 1, 0.1),
        epoch(1),
        update(2, 2, 1),
        Step(1, 1, 1, 0.2),
    )
    moved, updates = one_time_axis(events, 1)
    assert [event.epoch for event in moved if isinstance(event, Step | Epoch)] == [1, 1, 2]
    assert list(updates) == [0.0, 1.0]


def test_progress_counts_the_steps_of_all_trainings() -> None:
    """Two rounds of two epochs with ten steps each: 40 steps."""
    steps = [Step(n // 10 % 2 + 1, n % 10 + 1, 10, 0.1) for n in range(40)]
    before = progress((), 40, 1.0, "round")
    assert (before.share, before.left) == (0.0, None)
    pruned = progress((update(1, 2, 0),), 40, 1.0, "round")
    assert (pruned.share, pruned.left, pruned.stage) == (0.0, None, "round 1 of 2")
    events = (update(1, 2, 0), *steps[:20], epoch(2), update(2, 2, 20), *steps[20:25])
    now = progress(events, 40, 50.0, "round")
    assert now.share == pytest.approx(25 / 40)
    assert now.left == pytest.approx(30.0)
    assert now.stage == "round 2 of 2 · epoch 3 of 4 · step 25 of 40"
    resumed = (Resumed(2, 2, 20), *events)
    assert progress(resumed, 40, 10.0, "round").left == pytest.approx(30.0)
    assert progress(resumed[:21], 40, 10.0, "round").left is None
    end = progress((*events, *steps[25:], epoch(2)), 40, 80.0, "round")
    assert (end.share, end.left) == (1.0, None)
    assert "on the test images" in end.stage


def test_progress_without_training_counts_mask_updates() -> None:
    assert progress((update(2, 4, 0),), 0, 1.0, "round").share == 0.25


def test_progress_before_the_first_mask_update(lottery: Run) -> None:
    _, _, events = lottery
    first = next(k for k, event in enumerate(events) if isinstance(event, Step))
    now = progress(events[: first + 1], 24, 1.0, "mask update")
    assert now.share == pytest.approx(1 / 24)
    assert now.stage == "no weight is removed yet · epoch 1 of 3 · step 1 of 24"
