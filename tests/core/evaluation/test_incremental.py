"""Logits of successive changes equal full forward passes, and only what is new is computed."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from pruning_core.evaluation.forward import Replacements
from pruning_core.evaluation.incremental import IncrementalForward, digest
from pruning_core.model.graph import Program
from pruning_core.model.graph.program import Stage, Values
from pruning_core.model.inventory import inventory
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.evaluation.test_partial_forward import (
    BATCH,
    CPU,
    Branching,
    Shape,
    Shared,
    chain,
    full,
    seeded,
    split,
)
from tests.core.evaluation.test_partial_forward_sites import changed
from tests.core.toy import refusal, same_state, state


def halved(model: nn.Module, *names: str, keep: float = 0.5) -> dict[str, Tensor]:
    """These tensors with random places at zero, the same places every time."""
    tensors = model.state_dict()
    rng = torch.Generator().manual_seed(int(1000 * keep))
    return {
        name: tensors[name] * (torch.rand(tensors[name].shape, generator=rng) < keep)
        for name in names
    }


class Counted:
    """An IncrementalForward whose computed modules are counted."""

    def __init__(self, model: nn.Module, shape: Shape, **more: Any) -> None:
        self.model = model
        self.images = split(shape)
        self.live = IncrementalForward(model, self.images, device=CPU, batch_size=BATCH, **more)

    def __call__(self, change: Replacements) -> list[str]:
        """The modules that the change made compute, once per batch. Its logits are checked."""
        ran: list[str] = []
        value = Program.value

        def counting(program: Program, stage: Stage, values: Values) -> object:
            ran.append(str(stage.node.target))
            return value(program, stage, values)

        with patch.object(Program, "value", counting):
            logits = self.live.logits(change)
        assert torch.equal(logits, full(changed(self.model, change), self.images))
        assert all(ran.count(name) % len(self.live.forward.batches) == 0 for name in ran)
        return ran[: len(ran) // len(self.live.forward.batches)]


def test_only_what_is_downstream_of_the_change_is_computed() -> None:
    model = chain()
    live = Counted(model, (2, 6, 6), workers=1)
    first = halved(model, "0.weight")
    last = halved(model, "4.weight")
    assert live({}) == ["0", "1", "2", "3", "4"]
    assert live({}) == []
    assert live(last) == ["4"]
    assert live(halved(model, "2.weight")) == ["2", "3", "4"]
    assert live(first) == ["0", "1", "2", "3", "4"]
    assert live(first | last) == ["4"]
    assert live(last) == live(first) == live({}) == [], "a change back is looked up"
    assert live(dict(model.state_dict())) == [], "the model's own tensors are no change"
    assert live(dict(model.state_dict()) | halved(model, "4.weight", keep=0.25)) == ["4"]


def test_a_residual_network_caches_both_branches() -> None:
    model = seeded(lambda: ARCHITECTURES["resnet20"].build((1, 8, 8), 10))
    before = state(model)
    names = [layer.name for layer in inventory(model, (1, 8, 8))]
    live = Counted(model, (1, 8, 8), workers=1)
    everything = len(live({}))
    counts = [len(live(halved(model, name))) for name in names]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == everything
    assert counts[-1] == 1
    assert not any(live(halved(model, name)) for name in names)
    norm = next(name for name in model.state_dict() if "bn" in name and name.endswith("bias"))
    assert live(halved(model, norm, names[3]))
    assert same_state(model, before)


@pytest.mark.parametrize(
    ("build", "shape", "names"),
    [
        (Shared, (3, 6, 6), ("conv.weight", "one.weight", "bare.weight")),
        (Branching, (1, 6, 6), ("conv.weight", "fc.weight")),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_shared_bare_and_untraced_weights(
    build: Callable[[], nn.Module], shape: Shape, names: tuple[str, ...], workers: int
) -> None:
    model = seeded(build)
    images = split(shape)
    live = IncrementalForward(model, images, device=CPU, batch_size=BATCH, workers=workers)
    for chosen in (names[:1], names[1:], names, (), names[:1]):
        change = halved(model, *chosen)
        assert torch.equal(live.logits(change), full(changed(model, change), images)), chosen


@pytest.mark.parametrize("budget", [0, 2_000, 20_000, 40_000])
def test_a_small_budget_is_kept_and_gives_the_same_logits(budget: int) -> None:
    model = chain()
    live = Counted(model, (2, 6, 6), workers=1, budget=budget)
    for keep in (0.1, 0.3, 0.6, 0.9):
        for name in ("4.weight", "0.weight", "2.weight"):
            live(halved(model, name, keep=keep))
            assert live.live.held <= budget


def test_the_last_layers_are_cached_where_all_is_too_much() -> None:
    """Per image 288 bytes enter the first layer, 256 the second, 128 the last.

    19 images may take half of the budget.
    """
    model = chain()
    live = Counted(model, (2, 6, 6), workers=1, budget=2 * 19 * (256 + 128))
    live({})
    assert live(halved(model, "4.weight")) == ["4"]
    assert live(halved(model, "2.weight")) == ["2", "3", "4"]
    assert live(halved(model, "4.weight", keep=0.2)) == ["4"]


def test_digests_differ_for_other_values_types_and_signs() -> None:
    tensors: list[Tensor] = [
        torch.zeros(2),
        -torch.zeros(2),
        torch.ones(2),
        torch.tensor(1.0),
        torch.tensor([1, 0]),
    ]
    assert len({digest(tensor) for tensor in tensors}) == len(tensors)
    assert digest(torch.eye(3).T[1:]) == digest(torch.eye(3)[1:].clone())


def test_a_change_that_does_not_fit_is_refused_in_a_sentence() -> None:
    live = IncrementalForward(chain(), split((2, 6, 6)), device=CPU, batch_size=BATCH)
    assert "no parameter or buffer" in refusal(lambda: live.logits({"9.weight": torch.zeros(1)}))
    assert "stores (4,)" in refusal(lambda: live.logits({"0.bias": torch.zeros(5)}))
    assert "no images" in refusal(
        lambda: IncrementalForward(chain(), split((2, 6, 6), 0), device=CPU)
    )
