"""Which Linears belong to the heads of an attention that is no nn.MultiheadAttention: found by
structure, believed by trial.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.model.model_io import call, drawn, each, first_input
from pruning_core.types import Inputs, Layer

COUNTS = ("num_attention_heads", "num_heads", "n_heads", "n_head")
"""What modules, or their `config`, call their number of heads."""


@dataclass(frozen=True)
class _Guess:
    """One attention: its module, the Linears whose rows belong to heads (q, k, v, or all in one),
    and the one that reads them.
    """

    path: str
    heads: int
    inputs: tuple[str, ...]
    output: str

    @property
    def kind(self) -> str:
        return "attention_proj" if len(self.inputs) == 3 else "attention_in"

    def values(self, size: int) -> Tensor:
        """The rows of one input that hold the first head's values, if heads lie side by side; in a
        packed one the last third.
        """
        return torch.arange(size).view(3 // len(self.inputs), self.heads, -1)[-1, 0]


def marked(
    model: nn.Module, layers: tuple[Layer, ...], called: Sequence[str], x: Inputs
) -> tuple[Layer, ...]:
    """The layers, with kind, heads and attention set where a Linear belongs to the heads of an
    attention.

    An attention is a module with a number of heads (`COUNTS`, its own or its config's) and, among
    its own children, three Linears of one shape (query, key, value in any order) or one of three
    times the rows; its output is the Linear called next. It is believed where a trial agrees:
    without the rows of the first head's values, the output reads zeros in exactly that head's
    columns. called: paths of modules in order of call; x: one sample. Fewer key than query heads
    are not recognised.
    """
    known = {
        layer.module: layer for layer in layers if layer.kind == "linear" and not layer.aliases
    }
    order = [path for path in called if path in known]
    guesses = [
        guess
        for path, module in model.named_modules()
        if (guess := _guess(path, module, known, order))
    ]
    agreed = _agreed(model, guesses, x) if guesses else []
    kinds = {name: (guess, guess.kind) for guess in agreed for name in guess.inputs}
    kinds |= {guess.output: (guess, "attention_out") for guess in agreed}
    found = []
    for layer in layers:
        guess, kind = kinds.get(layer.module, (None, layer.kind))
        found.append(
            layer
            if guess is None
            else replace(layer, kind=kind, heads=guess.heads, attention=guess.path)
        )
    return tuple(found)


def _guess(
    path: str, module: nn.Module, known: dict[str, Layer], order: Sequence[str]
) -> _Guess | None:
    heads = next((number for name in COUNTS for number in [_number(module, name)] if number), 0)
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
    return _Guess(path, heads, tuple(layer.module for layer in inputs), after[0]) if fits else None


def _number(module: nn.Module, name: str) -> int:
    own = getattr(module, name, None)
    found = getattr(getattr(module, "config", None), name, None) if own is None else own
    return found if isinstance(found, int) else 0


def _inputs(own: Sequence[Layer]) -> list[Layer]:
    """Query, key and value among an attention's own Linears, in order of call: three of one shape,
    or one for all.
    """
    if len(own) >= 3:
        return list(own[:3]) if len({layer.shape for layer in own[:3]}) == 1 else []
    return list(own[:1]) if own[0].shape[0] % 3 == 0 else []


@torch.no_grad()
def _agreed(model: nn.Module, guesses: Sequence[_Guess], x: Inputs) -> list[_Guess]:
    """The guesses whose output reads zeros in the columns of the first head, and there alone,
    without its values.
    """
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    work = deepcopy(model, shared).eval()
    seen = dict[str, list[Tensor]]()
    for guess in guesses:
        for module in map(work.get_submodule, guess.inputs):
            for name, parameter in list(module.named_parameters(recurse=False)):
                gone = guess.values(len(parameter)).to(parameter.device)
                setattr(
                    module,
                    name,
                    nn.Parameter(parameter.index_fill(0, gone, 0), requires_grad=False),
                )
        work.get_submodule(guess.output).register_forward_pre_hook(
            _noted(seen.setdefault(guess.output, [])), with_kwargs=True
        )
    call(work, each(x, drawn))
    return [
        guess
        for guess in guesses
        if seen[guess.output] and all(_silent(guess, read) for read in seen[guess.output])
    ]


def _noted(seen: list[Tensor]) -> Callable[..., None]:
    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(first_input(module, args, kwargs))

    return note


def _silent(guess: _Guess, read: Tensor) -> bool:
    """Is what the output reads zero in the first head's columns, and never in all of another's?"""
    columns = (read != 0).flatten(0, -2).any(0).view(guess.heads, -1).any(1)
    return not bool(columns[0]) and bool(columns[1:].all())
