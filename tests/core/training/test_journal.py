"""An interrupted run continues to exactly the weights and values of an uninterrupted one."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.training.hook import StatelessHook
from pruning_core.training.journal import Journal
from pruning_core.training.state_files import pack_state, unpack_state
from pruning_core.types import Dataset, Epoch, Finished, Pruned, PruningError, Resumed, Step, Tuned
from tests.core.events import of_kind, stop
from tests.core.quarters import quarters
from tests.core.small_networks import built
from tests.core.toy import is_sentence, same_state, state

TRAINING = TrainConfig(epochs=2, batch_size=16, lr=0.05, momentum=0.9, optimizer="sgd")
FLOWS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("lottery:fresh=0", {}, 3),
    ("movement", {"fine_tune": replace(TRAINING, optimizer="adamw", lr=0.01)}, 1),
    ("seven_dyn:classifier=1", {}, 1),
    ("gates", {"granularity": "filter"}, 1),
)
"""A flow, its plan's other fields, and the epochs after which it is interrupted."""


def facts(event: object) -> object:
    """What two runs must have in common."""
    match event:
        case Epoch():
            measured = event.evaluation
            return event.epoch, event.train_loss, measured.value, measured.interval, event.best
        case Pruned():
            masks = {name: mask.tolist() for name, mask in event.masks.items()}
            return event.round, event.rounds, event.fraction, event.ratios, masks
        case Tuned():
            values = event.evaluation.values.tolist()
            return event.best_epoch, values, weights(event.model)
        case Finished():
            return weights(event.model)
    return event


def eager(folder: Path) -> Journal:
    """A journal that writes everything at once."""
    return Journal(folder, every=0.0, share=math.inf)


def weights(model: nn.Module) -> dict[str, list[object]]:
    return {name: tensor.tolist() for name, tensor in state(model).items()}


def interrupted(events: Iterator[object], epochs: int) -> None:
    """Stops it in the step after so many epochs."""
    for event in events:
        epochs -= isinstance(event, Epoch)
        if epochs == 0 and isinstance(event, Step):
            return stop(events)
    raise AssertionError("the run ended before")


@pytest.mark.parametrize(("flow", "more", "epochs"), FLOWS)
def test_an_interrupted_flow_goes_on_exactly(
    flow: str, more: dict[str, Any], epochs: int, tmp_path: Path
) -> None:
    plan = Plan(sparsity=0.7, allocation="global", flow=flow, fine_tune=TRAINING)
    plan = replace(plan, **more)
    space = quarters()
    interrupted(prune(plan, space, journal=eager(tmp_path)), epochs)
    journal = eager(tmp_path)
    events = list(prune(plan, space, journal=journal))
    replayed = sum(event.steps for event in of_kind(Resumed, events))
    assert (replayed / of_kind(Step, events)[0].steps, journal.sentences) == (epochs, [])
    again = [facts(event) for event in events if not isinstance(event, Resumed)]
    assert again == [facts(event) for event in prune(plan, space)]


def test_batch_norms_and_channels_last_go_on_exactly(digits: Dataset, tmp_path: Path) -> None:
    few = replace(digits, train=digits.train.subset(range(32)), val=digits.val.subset(range(16)))
    config = TrainConfig(epochs=2, batch_size=16, optimizer="adamw", augment=True)

    def run(journal: Journal | None = None) -> Iterator[object]:
        return fine_tune(built("resnet20"), {}, (), few, config, "cpu", journal=journal)

    interrupted(run(eager(tmp_path)), 1)
    *_, again = run(Journal(tmp_path))
    *_, whole = run()
    assert isinstance(again, Tuned)
    assert isinstance(whole, Tuned)
    assert same_state(again.model, state(whole.model))
    assert torch.equal(again.evaluation.values, whole.evaluation.values)


class Unknown(StatelessHook):
    """A hook that cannot continue."""

    def state_dict(self) -> None:
        return None


def test_what_cannot_be_used_is_said_and_the_training_starts_again(tmp_path: Path) -> None:
    plan = Plan(sparsity=0.5, fine_tune=TRAINING)
    space = quarters()

    def sentences(plan: Plan, folder: Path) -> list[str]:
        journal = eager(folder)
        events = list(prune(plan, space, journal=journal))
        assert isinstance(events[-1], Finished)
        assert not of_kind(Resumed, events)
        assert all(map(is_sentence, journal.sentences))
        return journal.sentences

    interrupted(prune(plan, space, journal=eager(tmp_path)), 1)
    other = replace(plan, fine_tune=replace(TRAINING, seed=1))
    assert "began with other weights" in " ".join(sentences(other, tmp_path))
    kept = tmp_path / "training-1"
    kept.write_bytes(kept.read_bytes()[:-1])
    assert "is damaged" in " ".join(sentences(plan, tmp_path))
    (tmp_path / "file").touch()
    assert "could not continue" in " ".join(sentences(plan, tmp_path / "file"))
    hook = Unknown()
    journal = eager(tmp_path / "new")
    list(
        fine_tune(
            space.model, {}, space.layers, space.dataset, TRAINING, hook=hook, journal=journal
        )
    )
    assert "is not kept" in " ".join(journal.sentences)


def test_a_journal_writes_only_when_it_is_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path, every=3600.0)
    journal.keep("a", lambda: b"1")
    journal.keep("b", lambda: b"2", final=True)
    assert not list(tmp_path.iterdir())
    journal._next = 0.0
    journal.keep("c", lambda: b"3")
    assert {path.name for path in tmp_path.iterdir()} == {"b", "c", "done"}
    assert Journal(tmp_path).read("b") == b"2"


def test_a_state_comes_back_equal_or_is_refused() -> None:
    mask = torch.arange(11) % 3 == 0
    tensors: dict[str, Tensor] = {"mask": mask, "half": torch.ones(2, 2).half(), "none": mask[:0]}
    given: dict[str, Any] = {
        "tensors": tensors,
        "list": [1, 0.1, None, "text", {"deep": torch.tensor(3)}],
    }
    content = pack_state(given)
    assert content is not None
    back = unpack_state(content)
    assert all(torch.equal(back["tensors"][name], tensors[name]) for name in tensors)
    assert back["list"][:4] == given["list"][:4]
    assert pack_state({"object": object()}) is None
    for damaged in (b"", content[:-5], content.replace(b"deep", b'"ee}')):
        with pytest.raises(PruningError):
            unpack_state(damaged)
