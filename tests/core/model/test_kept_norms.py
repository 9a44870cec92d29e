"""With norms over kept channels, a masked network computes what a network without them does."""

import pickle
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pruning_core import Plan, TrainConfig, prune, workspace
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.export import (
    masks_by_parameter,
    masks_safetensors,
    script_text,
    weights_safetensors,
)
from pruning_core.granularity import granularity
from pruning_core.hand_edits import HandEdits
from pruning_core.masks import apply_masks
from pruning_core.model.coupling.dependent_masks import dependent_masks
from pruning_core.model.coupling.trace import couplings
from pruning_core.model.graph import program
from pruning_core.model.inventory import inventory
from pruning_core.model.kept_norms import KEPT, with_kept_norms
from pruning_core.pipeline import dependent_masks_of, masked_copy, probe_split
from pruning_core.sensitivity.prune_units import UnitPruner, prune_units
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.types import Finished
from pruning_core.workspaces import Workspace
from tests.core.evaluation.test_partial_forward import seeded

REMOVED = torch.tensor([1, 2, 5, 7])
"""Two channels of each half, so that a group norm of two groups has a thinner form."""
KEPT_CHANNELS = torch.tensor([0, 3, 4, 6])


class ChannelsLast(nn.LayerNorm):
    """A layer norm over axis 1, as in torchvision's ConvNeXt."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, -1)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps).movedim(
            -1, 1
        )


class Tokens(nn.Module):
    """Calls a norm over the last axis."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return made


class ByFunction(nn.Module):
    """Calls torch.layer_norm with a scale of its own, and no shift."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, -1)
        return torch.layer_norm(x, x.shape[-1:], self.scale, None, 1e-5).movedim(-1, 1)


class Written(nn.Module):
    """An RMS norm in the network's own code, as Llama's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)
        self.variance_epsilon = 1e-6

    def forward(self, x: Tensor) -> Tensor:
        square = x.pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(square + self.variance_epsilon))


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer norm": lambda width: Tokens(nn.LayerNorm(width)),
    "layer norm over axis 1": ChannelsLast,
    "RMS norm": lambda width: Tokens(nn.RMSNorm(width)),
    "group norm": lambda width: nn.GroupNorm(1, width),
    "group norm of two groups": lambda width: nn.GroupNorm(2, width),
    "function": ByFunction,
    "written": lambda width: Tokens(Written(width)),
}


class Net(nn.Module):
    """A residual add, a norm over its channels, and a head."""

    def __init__(self, norm: Callable[[int], nn.Module], width: int = 8) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, width, 3, padding=1)
        self.b = nn.Conv2d(width, width, 3, padding=1)
        self.norm = norm(width)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.head(self.norm(x + self.b(x).relu()).relu().mean((2, 3)))


def network(kind: str) -> nn.Module:
    """Scales and shifts are random too: fresh ones are ones and zeros."""
    model = seeded(lambda: Net(NORMS[kind])).eval()
    with torch.no_grad():
        for scale in model.get_submodule("norm").parameters():
            scale.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(1))
    return model


def thinner(model: nn.Module, kind: str) -> nn.Module:
    """The network without the removed channels, cut by hand."""
    made = Net(NORMS[kind], len(KEPT_CHANNELS)).eval()
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            part = own[name].detach()
            for axis, size in enumerate(parameter.shape):
                if part.shape[axis] != size:
                    part = part.index_select(axis, KEPT_CHANNELS)
            parameter.copy_(part)
    return made


def masked(model: nn.Module, x: Tensor) -> tuple[nn.Module, str | None]:
    """The masked network, and the note of the coupling."""
    layers = inventory(model, (1, 6, 6))
    tied = couplings(model, layers, (1, 6, 6))
    keep = torch.ones(8, dtype=torch.bool).index_fill(0, REMOVED, False)
    masks = {
        layer.name: keep[:, None, None, None].expand(layer.shape)
        for layer in layers
        if not layer.is_output
    }
    dependent = dependent_masks(model, layers, masks, tied)
    return apply_masks(model, masks, layers, dependent), tied[0].note


@torch.no_grad()
def test_a_masked_network_computes_what_the_thinner_one_does() -> None:
    x = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    wrong = {}
    for kind in NORMS:
        model = network(kind)
        kept = with_kept_norms(model, x[:1])
        thin = thinner(model, kind)(x)
        pruned, note = masked(kept, x)
        plain, plain_note = masked(model, x)
        traced = program(pruned, x)
        facts = {
            "dense bits": torch.equal(kept(x), model(x)),
            "thinned": torch.allclose(pruned(x), thin, rtol=1e-4, atol=1e-5),
            "averaged": not torch.allclose(plain(x), thin, rtol=1e-4, atol=1e-5),
            "notes": note is None and plain_note is not None,
            "traced": traced.reason is None,
        }
        if not all(facts.values()):
            wrong[kind] = facts
    assert wrong == {}


@torch.no_grad()
def test_kept_norms_are_copied_and_pickled_and_keep_scales_of_zero() -> None:
    x = torch.rand(2, 1, 6, 6)
    norm = nn.GroupNorm(1, 4)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), norm).eval()
    norm.weight[2] = 0
    again = pickle.loads(pickle.dumps(with_kept_norms(model, x)))
    assert torch.allclose(again(x), model(x))
    again.get_parameter("1.weight")[3] = 0
    assert not torch.allclose(again(x)[:, :2], model(x)[:, :2])
    assert type(norm) is nn.GroupNorm


def space_of(kind: str) -> Workspace:
    x = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    y = torch.arange(60) % 3
    x[y == 1, :, :3] += 0.2
    x[y == 2, :, :, 3:] += 0.2
    return workspace(network(kind), train=(x, y), test=(x, y))


def test_a_tied_scan_and_a_run_measure_the_thinner_network() -> None:
    space = space_of("layer norm")
    plan = Plan(space.name, space.dataset.name, granularity="filter", norms=KEPT, probe=12)
    cpu = torch.device("cpu")
    points = {p.sparsity: p for p in scan_plan(plan, space, (0.5,), tied=True, device=cpu)}
    assert points[0.5].group == ("a.weight", "b.weight")
    resolved = plan.resolve(space)
    layers = resolved.layers
    g = granularity("filter")
    tied = space.tied[0]
    (unit,) = prune_units(layers, resolved.scores(), g, tied, tied=True)
    pruner = UnitPruner(space.model, space.layers, g, tied)
    pruned = masked_copy(plan, space, pruner.masks(unit, 4))
    measured = evaluate(pruned, probe_split(plan, space), device=cpu)
    assert points[0.5].loss == pytest.approx(measured.loss, abs=1e-6)
    with torch.no_grad():
        plain = masked_copy(replace(plan, norms="all"), space, pruner.masks(unit, 4))
        x = next(iter(space.dataset.test.batches(9)))[0]
        assert not torch.allclose(plain(x), pruned(x), atol=1e-4)


@pytest.mark.parametrize("kind", ["layer norm over axis 1", "written"])
def test_the_script_prints_the_value_of_norms_over_kept_channels(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Filters of a and b are removed by hand, so that the norm loses channels."""
    space = space_of(kind)
    filters = tuple((0, int(n), False) for n in REMOVED)
    edits = tuple(HandEdits(name, "filter", filters) for name in ("a.weight", "b.weight"))
    plan = Plan(space.name, space.dataset.name, granularity="filter", norms=KEPT, edits=edits)
    tune = TrainConfig(epochs=1, batch_size=20)
    plan = replace(plan, sparsity=0.0, fine_tune=tune)
    *_, run = prune(plan, space, torch.device("cpu"))
    assert isinstance(run, Finished)
    assert run.tuned is not None
    dependent = dependent_masks_of(plan, space, run.masks)
    (scale,) = [name for name in dependent if "norm" in name and name.endswith("weight")]
    assert not dependent[scale][REMOVED].any()
    masks = masks_by_parameter(run.masks, space.layers, dependent)
    (tmp_path / "masks.safetensors").write_bytes(masks_safetensors(masks, plan))
    (tmp_path / "weights.safetensors").write_bytes(weights_safetensors(run.model))
    x, y = next(iter(space.dataset.test.batches(60)))
    torch.save((x, y), tmp_path / "test.pt")
    text = script_text(plan, space, tuned=True)
    text = text.replace("model = ...", "model = make()")
    text = text.replace("given = ...", "given = torch.load(here / 'test.pt')")
    text = text.replace('raise SystemExit("Write', 'print("Write')
    (tmp_path / "load_masks.py").write_text(text)
    make = {"make": lambda: network(kind)}
    runpy.run_path(str(tmp_path / "load_masks.py"), make, run_name="__main__")
    right = round(run.tuned.value * 60)
    assert f"accuracy {run.tuned.value:.6f} ({right} of 60 " in capsys.readouterr().out
    plain = script_text(replace(plan, norms="all"), space, tuned=True)
    assert "KeptAverages" not in plain
