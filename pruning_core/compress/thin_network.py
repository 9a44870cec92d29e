"""Makes a masked network physically smaller, and checks by execution that it computes the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pruning_core.compress.narrow import Kept, NarrowAttention, Settings, narrow
from pruning_core.compress.thin_parts import (
    Part,
    Parts,
    kept_positions,
    removed_weights,
    stays,
)
from pruning_core.model.coupling.positions import Coupling
from pruning_core.model.inventory import SEPARATE
from pruning_core.model.inventory.heads import HEAD_COUNT_NAMES
from pruning_core.model.kept_averages import all_kept
from pruning_core.model.kept_norms import KeptNorm, plain_class
from pruning_core.model.model_io import call, copy_model, map_tensors, output_tensors
from pruning_core.types import Inputs, Layer, PruningError
from pruning_core.user_code import user_code

TOLERANCE = 1e-5
"""Outputs differ at most by this from the masked network's, relative to the largest."""

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)


@dataclass(frozen=True, eq=False)
class Narrowed:
    """A narrower network and how it follows from the masked one: what `narrow` needs.

    error: the largest difference of its outputs from the masked network's, relative to the largest.
    parts: what was removed; refused: why other parts were not, in sentences.
    """

    module: nn.Module
    kept: Kept
    settings: Settings
    attentions: tuple[str, ...]
    error: float
    parts: tuple[Part, ...]
    refused: tuple[str, ...]


def narrowed(
    masked: nn.Module,
    layers: Sequence[Layer],
    couplings: Sequence[Coupling],
    parts: Parts,
    x: Inputs,
) -> Narrowed:
    """The narrowest network, among the parts, that computes what the masked one does for `x`.

    masked: in eval mode, not changed. Parts that change the outputs, or without which the network's
    code does not run, are left as they are, each with a sentence. Raises PruningError where the
    masked network itself does not run.
    """
    return _Search(masked, layers, couplings, x).narrowest(parts)


class _Search:
    """Tries sets of parts. Those that fail are halved until each failing part is known."""

    def __init__(
        self, masked: nn.Module, layers: Sequence[Layer], couplings: Sequence[Coupling], x: Inputs
    ) -> None:
        self.masked = masked
        self.layers = layers
        self.couplings = couplings
        self.x = x
        self.settings: dict[int, dict[str, dict[str, int]]] = {}
        self.refused: dict[int, str] = {}
        with user_code("The forward pass of the masked network"):
            self.wanted = outputs(masked, x)

    def narrowest(self, parts: Parts) -> Narrowed:
        made = self._narrower(None, parts.parts) or self._made(())
        refused = [self.refused[id(part)] for part in parts.parts if id(part) in self.refused]
        return replace(made, refused=(*parts.refused, *refused))

    def _narrower(self, made: Narrowed | None, more: Sequence[Part]) -> Narrowed | None:
        """`made` without as many more parts as possible; None: nothing is removed."""
        if not more:
            return made
        chosen = made.parts if made else ()
        tried = self._tried((*chosen, *more))
        if isinstance(tried, Narrowed):
            return tried
        if len(more) > 1:
            half = len(more) // 2
            return self._narrower(self._narrower(made, more[:half]), more[half:])
        (part,) = more
        for settings in self._attempts(part):
            self.settings[id(part)] = settings
            again = self._tried((*chosen, part))
            if isinstance(again, Narrowed):
                return again
        self.settings.pop(id(part), None)
        self.refused[id(part)] = stays(part.layers, part.note or tried)
        return made

    def _tried(self, parts: Sequence[Part]) -> Narrowed | str:
        """The network without these parts, or why it is not the masked one."""
        try:
            with user_code("its code, without the removed channels,"):
                made = self._made(parts)
        except PruningError as error:
            return str(error)
        if made.error <= TOLERANCE:
            return made
        if relative_error(outputs(self.masked, self.x), self.wanted) > TOLERANCE:
            return "the network draws random numbers, so that its outputs cannot be compared."
        return (
            "without the removed channels the network computes other values (relative difference "
            f"{made.error:.1e}), because its code depends on the number of channels."
        )

    def _made(self, parts: Sequence[Part]) -> Narrowed:
        """The network without the parts. Raises what its code raises, and ValueError."""
        kept = self._kept(parts)
        settings: dict[str, dict[str, int]] = {}
        for part in parts:
            for path, values in self.settings.get(id(part), self._of_heads(part)).items():
                settings[path] = {**settings.get(path, {}), **values}
        attentions = tuple(_attentions(self.masked, kept))
        module = narrow(copy_model(self.masked), kept, settings, attentions)
        _with_plain_norms(module)
        error = relative_error(outputs(module, self.x), self.wanted)
        return Narrowed(module, kept, settings, attentions, error, tuple(parts), ())

    def _kept(self, parts: Sequence[Part]) -> dict[str, dict[int, list[int]]]:
        return kept_without(parts, self.masked, self.layers, self.couplings)

    def _of_heads(self, part: Part) -> dict[str, dict[str, int]]:
        """New values of the attributes of an attention that hold its number of heads or rows."""
        if not part.heads or isinstance(self._module(part), nn.MultiheadAttention):
            return {}
        heads = len(part.removed)
        stay = heads - int(part.removed.sum())
        sizes = {layer.shape[0] for layer in part.heads if layer.kind == "attention_proj"}
        sizes |= {layer.shape[1] for layer in part.heads if layer.kind == "attention_out"}
        changed = {
            name: value // heads * stay
            for name, value in _numbers(self._module(part)).items()
            if value in sizes or (name in HEAD_COUNT_NAMES and value % heads == 0)
        }
        return {part.heads[0].attention: changed}

    def _module(self, part: Part) -> nn.Module:
        return self.masked.get_submodule(part.heads[0].attention)

    def _attempts(self, part: Part) -> Iterator[dict[str, dict[str, int]]]:
        """Attributes that may hold a width: none for heads, then all of them, then each alone."""
        if self._of_heads(part):
            yield {}
        every = self._candidates(part)
        if len(every) > 1:
            yield _nested(every)
        for one in every:
            yield _nested([one])

    def _candidates(self, part: Part) -> list[tuple[str, str, int]]:
        """(path, attribute, new value) of whole numbers equal to a width that changes."""
        changes: dict[tuple[str, str], set[int]] = {}
        try:
            kept = self._kept([part])
        except ValueError:
            return []
        modules = dict(self.masked.named_modules())
        without = [
            path for path, own in modules.items() if isinstance(own, NORMS) and not own.affine
        ]
        for name, axes in kept.items():
            path, _, last = name.rpartition(".")
            shape = getattr(modules[path], last).shape
            own_code = [at for at in _and_above(path) if not _of_torch(modules[at])]
            for axis, positions in axes.items():
                for at in (*own_code, *without):
                    for own, value in _numbers(modules[at]).items():
                        if value == shape[axis]:
                            changes.setdefault((at, own), set()).add(len(positions))
        return [(*at, values.pop()) for at, values in changes.items() if len(values) == 1]


def outputs(model: nn.Module, x: Inputs) -> list[Tensor]:
    """All tensors that the network gives, on the CPU, without gradients."""
    with torch.no_grad():
        return [out.cpu() for out in output_tensors(call(model, map_tensors(x, torch.clone)))]


def relative_error(actual: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The largest difference, relative to the largest value of the same output."""
    worst = 0.0
    if [x.shape for x in actual] != [x.shape for x in wanted]:
        return float("inf")
    for one, other in zip(actual, wanted, strict=True):
        if other.numel():
            largest = other.double().abs().max().clamp_min(1e-30)
            difference = float((one.double() - other.double()).abs().max() / largest)
            worst = max(worst, difference if difference == difference else float("inf"))
    return worst


def kept_without(
    parts: Sequence[Part],
    masked: nn.Module,
    layers: Sequence[Layer],
    couplings: Sequence[Coupling],
) -> dict[str, dict[int, list[int]]]:
    """The kept positions of each parameter and buffer that is smaller without the parts, by axis.

    Raises ValueError where what is kept of one is no block (`kept_positions`).
    """
    removed = removed_weights(masked, layers, couplings, parts)
    kept = {name: kept_positions(name, places) for name, places in removed.items()}
    return kept | dict(_statistics(masked, kept))


def _statistics(model: nn.Module, kept: Kept) -> Iterator[tuple[str, dict[int, list[int]]]]:
    """The kept positions of the buffers of batch norms whose scale loses channels."""
    for name, axes in kept.items():
        path, _, last = name.rpartition(".")
        module = model.get_submodule(path)
        if last == "weight" and isinstance(module, nn.modules.batchnorm._NormBase):
            for buffer in ("running_mean", "running_var"):
                if getattr(module, buffer) is not None:
                    kept_entries = {axis: list(positions) for axis, positions in axes.items()}
                    yield f"{path}.{buffer}" if path else buffer, kept_entries


def _attentions(model: nn.Module, kept: Kept) -> Iterator[str]:
    """The attentions of torch that become narrower."""
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention) and not isinstance(module, NarrowAttention):
            prefix = f"{path}." if path else ""
            names = ("in_proj_weight", *SEPARATE, "out_proj.weight")
            extra = module.bias_k is not None or module.add_zero_attn
            if not extra and any(prefix + name in kept for name in names):
                yield path


def _with_plain_norms(model: nn.Module) -> None:
    """Norms over kept channels become plain ones where no channel has a scale of zero."""
    for module in model.modules():
        if isinstance(module, KeptNorm):
            scales = list(module.parameters(recurse=False))
            if scales and all_kept(scales[0]):
                module.__class__ = plain_class(module)


def _numbers(module: nn.Module) -> dict[str, int]:
    """The module's own attributes that are whole numbers."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, int) and not isinstance(value, bool) and not name.startswith("_")
    }


def _and_above(path: str) -> Iterator[str]:
    """The path, and those of the modules that contain it."""
    yield path
    while path:
        path = path.rpartition(".")[0]
        yield path


def _of_torch(module: nn.Module) -> bool:
    """Is it a module of torch itself, whose sizes `narrow` sets?"""
    return type(module).__module__.startswith("torch.nn.")


def _nested(changes: Sequence[tuple[str, str, int]]) -> dict[str, dict[str, int]]:
    made: dict[str, dict[str, int]] = {}
    for path, name, value in changes:
        made.setdefault(path, {})[name] = value
    return made
