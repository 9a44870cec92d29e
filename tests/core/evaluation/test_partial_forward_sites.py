"""Changes of several parameters and buffers together against full forward passes, bit for bit."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from pruning_core.evaluation.forward import Replacements
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.model.inventory import inventory
from pruning_core.types import Inputs
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.evaluation.test_partial_forward import (
    BATCH,
    CPU,
    Branching,
    Shared,
    chain,
    full,
    seeded,
    split,
)
from tests.core.toy import refusal, same_state, state

Site = tuple[str, ...]


def changes(model: nn.Module, site: Site) -> list[Replacements]:
    """All tensors of the site halved at random places; its first tensor alone; nothing."""
    rng = torch.Generator().manual_seed(len(site))
    tensors = model.state_dict()
    both = {
        name: tensors[name] * (torch.rand(tensors[name].shape, generator=rng) < 0.5)
        for name in site
    }
    return [both, {site[0]: tensors[site[0]] * 0.5}, {}]


def changed(model: nn.Module, change: Replacements) -> nn.Module:
    copy = deepcopy(model)
    copy.load_state_dict(copy.state_dict() | dict(change))
    return copy.eval()


def agree(
    model: nn.Module, shape: tuple[int, int, int], sites: Sequence[Site], budget: int = 2**30
) -> None:
    images = split(shape)
    before = state(model)
    replay = PartialForward(model, images, device=CPU, batch_size=BATCH, budget=budget)
    seen = []
    for at, place, logits in replay.logits_at(sites, lambda at: changes(model, sites[at])):
        assert torch.equal(
            logits, full(changed(model, changes(model, sites[at])[place]), images)
        ), (sites[at], place)
        seen.append((at, place))
    assert seen == [(at, place) for at in range(len(sites)) for place in range(3)]
    assert same_state(model, before)


def resnet() -> nn.Module:
    return seeded(lambda: ARCHITECTURES["resnet20"].build((1, 8, 8), 10))


@pytest.mark.parametrize("budget", [0, 2**30])
def test_layers_and_their_batch_norms_change_together(budget: int) -> None:
    """Sites far apart, one twice, not in order, and running statistics, which are buffers."""
    model = resnet()
    weights = [layer.name for layer in inventory(model, (1, 8, 8))]
    norms = [name for name, _ in model.named_parameters() if "bn" in name]
    statistics = [name for name, _ in model.named_buffers() if name.endswith(("mean", "var"))]
    sites = [
        (weights[0], weights[6], norms[1]),
        (norms[8], weights[3]),
        (statistics[3], statistics[4], weights[-1]),
        (weights[0],),
    ]
    agree(model, (1, 8, 8), sites, budget)


@pytest.mark.parametrize(
    ("build", "shape", "sites"),
    [
        (
            Shared,
            (3, 6, 6),
            [
                ("conv.weight", "bare.weight"),
                ("one.weight", "conv.bias"),
                ("idle.weight", "idle.bias"),
            ],
        ),
        (Branching, (1, 6, 6), [("conv.weight", "fc.bias"), ("fc.weight",)]),
    ],
)
def test_shared_unused_and_untraced_weights(
    build: Callable[[], nn.Module], shape: tuple[int, int, int], sites: list[Site]
) -> None:
    agree(seeded(build), shape, sites)


class Buffered(nn.Module):
    """A buffer read as a plain tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.scale = nn.Buffer(torch.tensor([2.0, 3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3))) * self.scale


def test_a_bare_buffer_changes() -> None:
    agree(seeded(Buffered), (3, 2, 2), [("scale", "fc.weight"), ("scale",)])


def test_a_change_that_does_not_fit_is_refused_in_a_sentence() -> None:
    replay = PartialForward(chain(), split((2, 6, 6)), device=CPU, batch_size=BATCH)

    def visit(site: Site, change: Replacements) -> Callable[[], object]:
        return lambda: list(replay.logits_at([site], lambda _: [change]))

    assert "no parameter or buffer '9.weight'" in refusal(visit(("9.weight",), {}))
    assert "no parameter or buffer '0.gamma'" in refusal(visit(("0.gamma",), {}))
    assert "4.weight" in refusal(visit(("0.weight",), {"4.weight": torch.zeros(3, 32)}))
    assert "stores (4,)" in refusal(visit(("0.bias",), {"0.bias": torch.zeros(5)}))
    assert "float64" in refusal(visit(("0.bias",), {"0.bias": torch.zeros(4, dtype=torch.float64)}))


@pytest.mark.parametrize(("budget", "order", "reads"), [(2**30, 1, 3), (0, 1, 22), (2**30, -1, 20)])
def test_a_call_continues_from_the_kept_values(
    budget: int, order: int, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are read again only at the two shortcuts, whose inputs no later site needs."""
    model = resnet()
    images = split((1, 8, 8), BATCH)
    asked = list[int]()
    replay = PartialForward(
        model, images, device=CPU, batch_size=BATCH, budget=budget, keep_values=True
    )
    plain = replay.forward.images

    def only(change: Replacements, _names: object) -> list[Replacements]:
        return [change]

    def counted(batch: int) -> Inputs:
        asked.append(batch)
        return plain(batch)

    monkeypatch.setattr(replay.forward, "images", counted)
    for layer in inventory(model, (1, 8, 8))[::order]:
        half = changes(model, (layer.name,))[0]
        _, _, logits = next(replay.logits_at([(layer.name,)], partial(only, half)))
        assert torch.equal(logits, full(changed(model, half), images)), layer.name
    assert len(asked) == reads
