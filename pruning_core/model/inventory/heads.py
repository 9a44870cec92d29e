"""Finds the Linears of attention heads outside nn.MultiheadAttention, and checks them."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.model.model_io import call, first_input, map_tensors, random_if_zero
from pruning_core.types import Inputs, Layer

HEAD_COUNT_NAMES = ("num_attention_heads", "num_heads", "n_heads", "n_head")
"""Names that modules, or their `config`, give to their number of heads."""


@dataclass(frozen=True)
class _Attention:
    """One attention that the structure suggests.

    path: of its module; inputs: the Linears whose rows belong to heads (q, k, v, or all in one);
    output: the Linear that reads the heads.
    """

    path: str
    heads: int
    inputs: tuple[str, ...]
    output: str

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
    of the first head's values, the output must read zeros in exactly that head's columns. called:
    paths of modules in order of call; x: one sample. Attention with fewer key than query heads is
    not recognised.
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
        name: (candidate, candidate.kind) for candidate in checked for name in candidate.inputs
    }
    kinds |= {candidate.output: (candidate, "attention_out") for candidate in checked}
    result = []
    for layer in layers:
        candidate, kind = kinds.get(layer.module, (None, layer.kind))
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
    inputs = _inputs([known[name] for name in own])
    after = order[order.index(inputs[-1].module) + 1 :] if inputs else []
    if not after:
        return None
    width = sum(layer.shape[0] for layer in inputs) // 3
    fits = width % heads == 0 and known[after[0]].shape[1] == width
    return (
        _Attention(path, heads, tuple(layer.module for layer in inputs), after[0]) if fits else None
    )


def _number(module: nn.Module, name: str) -> int:
    own = getattr(module, name, None)
    value = getattr(getattr(module, "config", None), name, None) if own is None else own
    return value if isinstance(value, int) else 0


def _inputs(own: Sequence[Layer]) -> list[Layer]:
    """Query, key and value among an attention's own Linears, in order of call.

    They are three of one shape, or one for all.
    """
    if len(own) >= 3:
        return list(own[:3]) if len({layer.shape for layer in own[:3]}) == 1 else []
    return list(own[:1]) if own[0].shape[0] % 3 == 0 else []


@torch.no_grad()
def _checked(model: nn.Module, candidates: Sequence[_Attention], x: Inputs) -> list[_Attention]:
    """The candidates that pass the check.

    Without the first head's values, the output reads zeros in its columns, and only there.
    """
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    work = deepcopy(model, shared).eval()
    inputs_read = dict[str, list[Tensor]]()
    for candidate in candidates:
        for module in map(work.get_submodule, candidate.inputs):
            for name, parameter in list(module.named_parameters(recurse=False)):
                removed = candidate.values(len(parameter)).to(parameter.device)
                setattr(
                    module,
                    name,
                    nn.Parameter(parameter.index_fill(0, removed, 0), requires_grad=False),
                )
        work.get_submodule(candidate.output).register_forward_pre_hook(
            _recorder(inputs_read.setdefault(candidate.output, [])), with_kwargs=True
        )
    call(work, map_tensors(x, random_if_zero))
    return [
        candidate
        for candidate in candidates
        if inputs_read[candidate.output]
        and all(_only_first_head_is_zero(candidate, read) for read in inputs_read[candidate.output])
    ]


def _recorder(inputs_read: list[Tensor]) -> Callable[..., None]:
    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs_read.append(first_input(module, args, kwargs))

    return note


def _only_first_head_is_zero(candidate: _Attention, read: Tensor) -> bool:
    """Is what the output reads zero in the first head's columns, and never in all of another's?"""
    columns = (read != 0).flatten(0, -2).any(0).view(candidate.heads, -1).any(1)
    return not bool(columns[0]) and bool(columns[1:].all())
