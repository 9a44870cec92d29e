"""Couplings of every classifier of torchvision: a table in docs/models.md.

python -m benchmarks.torchvision_table          measures what torchvision.json does not have yet
python -m benchmarks.torchvision_table NAME...  measures these again
Each network has random weights, its smallest working input and a process of its own.
"""

import resource
import sys
import time
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from benchmarks.network_table import NetworkTable
from pruning_core.masks import apply_masks
from pruning_core.model.coupling.dependent_masks import dead_inputs, dependent_masks
from pruning_core.model.coupling.positions import Coupling
from pruning_core.model.coupling.proof import irregular, rows_without
from pruning_core.model.coupling.trace import couplings
from pruning_core.model.graph import program
from pruning_core.model.inventory import inventory
from pruning_core.model.kept_norms import with_kept_norms
from pruning_core.model.model_io import random_if_zero
from pruning_core.types import Layer, Masks, PruningError

LARGEST = 150_000_000
SIDES = (32, 48, 64, 75, 96, 128, 160, 192, 224)
SHORT = {
    "own: removing": "outputs",
    "attention heads": "heads",
    "as in attention": "attention",
    "grouped convolution": "groups",
    "tied to each other": "one class",
    "does not read its weight": "not called",
    "still have a value": "not zero",
}
"""A part of a reason -> its short form in the table."""


def built(name: str) -> nn.Module:
    """The network with random weights, without a slow initialisation where it has a choice."""
    choice = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model: nn.Module = models.get_model(name, weights=None, **choice)
    return model.eval()


def smallest_side(model: nn.Module) -> int:
    """The smallest of SIDES that the network accepts."""
    model = deepcopy(model).to("meta")
    for side in SIDES:
        try:
            with torch.no_grad():
                model(torch.empty(1, 3, side, side, device="meta"))
        except (RuntimeError, ValueError, AssertionError, IndexError):
            continue
        return side
    return SIDES[-1]


def measured(name: str) -> dict[str, Any]:
    """The table's row of one network."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = built(name)
    side = smallest_side(model)
    shape = (3, side, side)
    layers = inventory(model, shape)
    row: dict[str, Any] = {
        "side": side,
        "parameters": sum(p.numel() for p in model.parameters()),
        "prunable": sum(layer.numel for layer in layers),
        "layers": len(layers),
        "traced": program(model, random_if_zero(torch.zeros(1, *shape))).reason is None,
    }
    started = time.process_time()
    try:
        known = couplings(model, layers, shape)
    except PruningError as problem:
        row |= {"proved": 0, "noted": 0, "refused": {str(problem): 1}, "check": "none proved"}
    else:
        proved = [own for own in known if own.reason is None]
        row |= {
            "proved": len(proved),
            "noted": sum(own.note is not None for own in proved),
            "refused": dict(Counter(_short(own.reason) for own in known if own.reason)),
            "check": check(model, layers, known, side),
        }
    row["seconds"] = round(time.process_time() - started, 1)
    row["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return row


def _short(reason: str) -> str:
    return next((short for part, short in SHORT.items() if part in reason), reason)


@torch.no_grad()
def check(
    model: nn.Module, layers: tuple[Layer, ...], known: tuple[Coupling, ...], side: int
) -> str:
    """Is the masked network equal to a narrower one? By an irregular subset of every coupling.

    Norms average over kept channels only. Where the network's own code does not run narrower, the
    weights that only read removed channels are changed instead.
    """
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(2, 3, side, side, generator=rng)
    for index, module in enumerate(model.modules()):  # so that shifts and means matter
        if isinstance(module, nn.BatchNorm2d):
            rng = torch.Generator().manual_seed(index)
            for own in (module.weight, module.bias, module.running_var):
                own.copy_(torch.rand(own.shape, generator=rng) + 0.5)  # type: ignore[union-attr]
    for index, own in enumerate(model.parameters()):  # zeros would hide what follows them
        if not own.any():
            own.copy_(0.02 * torch.randn(own.shape, generator=torch.Generator().manual_seed(index)))
    proved = [own for own in known if own.reason is None]
    if not proved:
        return "none proved"
    model = with_kept_norms(model, x[:1])
    masks = _masks(proved, layers)
    dependent = dependent_masks(model, layers, masks, known)
    dead = dead_inputs(model, layers, masks, known)
    masked = apply_masks(model, masks, layers, dependent)
    wanted = masked(x)
    try:
        return _verdict("equal", narrower(masked, masks, dependent, dead)(x), wanted)
    except (RuntimeError, ValueError, AssertionError):
        for name, keep in dead.items():
            masked.get_parameter(name).masked_fill_(~keep, 3.0)
        return _verdict("equal by reads", masked(x), wanted)


def _masks(proved: list[Coupling], layers: tuple[Layer, ...]) -> Masks:
    rng = torch.Generator().manual_seed(0)
    shapes = {layer.name: layer.shape for layer in layers}
    removed: dict[str, Tensor] = {}
    for own in proved:
        removed |= rows_without(own, irregular(own.channels, rng), layers)
    return {name: ~rows[:, None, None, None].expand(shapes[name]) for name, rows in removed.items()}


def _verdict(name: str, actual: Tensor, wanted: Tensor) -> str:
    change = float((actual - wanted).norm() / wanted.norm())
    return name if change < 1e-4 else f"differs by {change:.2g}"


def narrower(model: nn.Module, masks: Masks, dependent: Any, dead: Any) -> nn.Module:
    """A copy without the rows, vectors and columns that the masks make zero or unread."""
    work = deepcopy(model)
    for path, module in work.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            full = f"{path}.{name}"
            keeps = [
                part[full].reshape(parameter.shape) for part in (dependent, dead) if full in part
            ]
            if full in masks and parameter.ndim > 1:
                keeps.append(masks[full].reshape(parameter.shape))
            own: Tensor = parameter
            for axis in range(parameter.ndim):
                keep = [k.movedim(axis, 0).flatten(1).any(1) if k.ndim > 1 else k for k in keeps]
                if keep:
                    own = own.index_select(axis, torch.stack(keep).all(0).nonzero().flatten())
                if keep and isinstance(module, nn.BatchNorm2d) and name == "weight":
                    _narrow_statistics(module, torch.stack(keep).all(0))
            setattr(module, name, nn.Parameter(own))
        _set_sizes(module)
    return work


def _narrow_statistics(norm: nn.BatchNorm2d, keep: Tensor) -> None:
    for name in ("running_mean", "running_var"):
        setattr(norm, name, getattr(norm, name)[keep])
    norm.num_features = int(keep.sum())


def _set_sizes(module: nn.Module) -> None:
    """The sizes that a module keeps beside its weight."""
    if isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(module.weight.shape)
    if isinstance(module, nn.Conv2d):
        wide = max(module.in_channels, module.out_channels) > module.groups**2
        if module.groups > 1 and not wide:  # whole groups are removed
            module.groups = module.groups * module.weight.shape[0] // module.out_channels
        module.out_channels = module.weight.shape[0]
        module.in_channels = module.weight.shape[1] * module.groups


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows as markdown."""
    head = (
        "| network | input | parameters | prunable | traced | proved | refused | masked = thinned "
        "| memory | CPU s |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *(_line(name, rows[name]) for name in sorted(rows))])


def _line(name: str, row: dict[str, Any]) -> str:
    proved = f"{row['proved']}" + (f" ({row['noted']} noted)" if row["noted"] else "")
    refused = ", ".join(f"{count} {reason}" for reason, count in row["refused"].items())
    return (
        f"| `{name}` | {row['side']} | {row['parameters'] / 1e6:.1f} M "
        f"| {row['prunable'] / row['parameters']:.1%} | {'yes' if row['traced'] else 'no'} "
        f"| {proved} | {refused} | {row['check']} | {row['memory'] / 2**20:,.0f} MB "
        f"| {row['seconds']} |"
    )


def listed() -> list[str]:
    """The classifiers below 150 million parameters, the smallest first."""
    sizes = {
        name: models.get_model_weights(name).DEFAULT.meta["num_params"]
        for name in models.list_models(module=models)
    }
    return sorted((name for name in sizes if sizes[name] < LARGEST), key=sizes.__getitem__)


TABLE = NetworkTable(
    module="benchmarks.torchvision_table",
    store=Path(__file__).with_name("torchvision.json"),
    page=Path(__file__).parents[1] / "docs" / "models.md",
    marker="torchvision",
    names=listed,
    measured=measured,
    table=table,
)

if __name__ == "__main__":
    TABLE.main(sys.argv[1:])
