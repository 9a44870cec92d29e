"""Finds the Linears of attention heads outside nn.MultiheadAttention, and checks them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pruning_core.model.inventory.reads import PlainKernels, Read, WeightReads
from pruning_core.model.inventory.views import stored
from pruning_core.model.model_io import (
    call,
    copy_model,
    input_tensors,
    map_tensors,
    random_if_zero,
)
from pruning_core.types import Inputs, Layer

HEAD_COUNT_NAMES = ("num_attention_heads", "num_heads", "n_heads", "n_head")
"""Names that modules, or their `config`, give to their number of heads."""


@dataclass(frozen=True)
class _Attention:
    """One attention that the structure suggests.

    path: of its module; heads: groups of heads, where several query heads share a key and a value;
    inputs: the Linears whose rows belong to heads (q, k, v, or all in one); output: the Linear that
    reads the heads.
    """

    path: str
    heads: int
    inputs: tuple[Layer, ...]
    output: Layer

    @property
    def kind(self) -> str:
        return "attention_proj" if len(self.inputs) == 3 else "attention_in"

    def values(self, size: int) -> Tensor:
        """The rows of one input that hold the first head's values.

        Heads are assumed side by side. In a packed Linear the values are the last third.
        """
        return torch.arange(size).view(3 // len(self.inputs), self.heads, -1)[-1, 0]


def with_heads(
    model: nn.Module, layers: tuple[Layer, ...], called: Sequence[str], x: Inputs
) -> tuple[Layer, ...]:
    """The layers, with kind, heads and attention set for the Linears of attention heads.

    An attention is a module with a number of heads (`HEAD_COUNT_NAMES`, its own or its config's)
    and, among its own children, three Linears of one shape (query, key, value in any order) or one
    of three times the rows. Its output is the Linear called next. This is checked: without the rows
    of the first head's values, the output must read zeros in exactly that head's columns. Where
    several query heads share one key and value (grouped queries), such a group counts as one head.
    called: paths of modules in the order in which their weights are read; x: one sample.
    """
    known = {
        layer.module: layer for layer in layers if layer.kind == "linear" and not layer.aliases
    }
    order = [path for path in called if path in known]
    candidates = [
        candidate
        for path, module in model.named_modules()
        if (candidate := _attention(path, module, known, order))
    ]
    checked = _checked(model, candidates, x) if candidates else []
    kinds = {
        layer.name: (candidate, candidate.kind)
        for candidate in checked
        for layer in candidate.inputs
    }
    kinds |= {candidate.output.name: (candidate, "attention_out") for candidate in checked}
    result = []
    for layer in layers:
        candidate, kind = kinds.get(layer.name, (None, layer.kind))
        result.append(
            layer
            if candidate is None
            else replace(layer, kind=kind, heads=candidate.heads, attention=candidate.path)
        )
    return tuple(result)


def _attention(
    path: str, module: nn.Module, known: dict[str, Layer], order: Sequence[str]
) -> _Attention | None:
    heads = next(
        (number for name in HEAD_COUNT_NAMES for number in [_number(module, name)] if number), 0
    )
    prefix = f"{path}." if path else ""
    own = [name for name in order if name.startswith(prefix) and "." not in name[len(prefix) :]]
    if not heads or not own or isinstance(module, nn.MultiheadAttention):
        return None
    inputs = _inputs([known[name] for name in own], heads)
    after = order[max((order.index(layer.module) for layer in inputs), default=len(order)) + 1 :]
    if not after:
        return None
    output = known[after[0]]
    queries = inputs[0].shape[0] // (3 if len(inputs) == 1 else 1)
    groups = heads * inputs[-1].shape[0] // inputs[0].shape[0] if len(inputs) == 3 else heads
    fits = groups and queries % groups == 0 and output.shape[1] == queries
    return _Attention(path, groups, tuple(inputs), output) if fits else None


def _number(module: nn.Module, name: str) -> int:
    own = getattr(module, name, None)
    value = getattr(getattr(module, "config", None), name, None) if own is None else own
    return value if isinstance(value, int) else 0


def _inputs(own: Sequence[Layer], heads: int) -> list[Layer]:
    """Query, key and value among an attention's own Linears, in order of call.

    They are three with as many inputs, or one for all. The query may have a multiple of the rows of
    key and value; it comes first in the result.
    """
    if len(own) < 3:
        return list(own[:1]) if own[0].shape[0] % (3 * heads) == 0 else []
    *others, query = sorted(own[:3], key=lambda layer: layer.shape[0])
    rows = others[0].shape[0]
    same = rows == others[1].shape[0] and len({layer.shape[1] for layer in own[:3]}) == 1
    shared = query.shape[0] % rows == 0 and heads * rows % query.shape[0] == 0
    return [query, *others] if same and shared else []


@torch.no_grad()
def _checked(model: nn.Module, candidates: Sequence[_Attention], x: Inputs) -> list[_Attention]:
    """The candidates that pass the check.

    Without the first head's values, the output reads zeros in its columns, and only there.
    """
    work = copy_model(model, model.parameters()).eval()
    for candidate in candidates:
        for layer in candidate.inputs:
            _remove_values(work.get_submodule(layer.module), layer, candidate)
    outputs = {candidate.output.name: candidate for candidate in candidates}
    inputs_read: dict[str, list[Tensor]] = {name: [] for name in outputs}

    def note(read: Read) -> None:
        if read.parameter in outputs:
            inputs_read[read.parameter].append(read.product.data[0].clone())

    sample = map_tensors(x, random_if_zero)
    weights = {name: work.get_parameter(name) for name in outputs}
    with PlainKernels(), WeightReads(weights, frozenset(weights), input_tensors(sample), note):
        call(work, sample)
    return [
        candidate
        for name, candidate in outputs.items()
        if inputs_read[name]
        and all(_only_first_head_is_zero(candidate, read) for read in inputs_read[name])
    ]


def _remove_values(module: nn.Module, layer: Layer, candidate: _Attention) -> None:
    """Sets the rows of one input that hold the first head's values to zero, and their biases."""
    removed = candidate.values(layer.shape[0])
    keep = torch.ones(layer.shape, dtype=torch.bool).index_fill_(0, removed, False)
    for name, parameter in list(module.named_parameters(recurse=False)):
        places = stored(keep, layer) if parameter.ndim > 1 else keep[:, 0, 0, 0]
        changed = parameter.masked_fill(~places.to(parameter.device), 0)
        setattr(module, name, nn.Parameter(changed, requires_grad=False))


def _only_first_head_is_zero(candidate: _Attention, read: Tensor) -> bool:
    """Is what the output reads zero in the first head's columns, and never in all of another's?"""
    columns = (read != 0).flatten(0, -2).any(0).view(candidate.heads, -1).any(1)
    return not bool(columns[0]) and bool(columns[1:].all())
