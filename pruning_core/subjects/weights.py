"""Weights in a file of the user's: safetensors, a file of torch.save, or .npz."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pruning_core.errors import kind_text, shortened
from pruning_core.model.mask_files import beginnings, pruned_names, with_masks_applied
from pruning_core.model.tensor_files import (
    MAX_BYTES,
    NUMPY,
    PICKLED,
    SAFETENSORS,
    form_of,
    read_tensors,
)
from pruning_core.types import PruningError

NESTED = ("state_dict", "model_state_dict", "model")
"""Keys under which a training's checkpoint holds the weights."""
LARGER = 16
"""A file may be this many times as large as the network: a training also keeps optimizer states."""
SHOWN = 3


EXPRESSIONS = {
    SAFETENSORS: "load_file({file!r})",
    PICKLED: 'torch.load({file!r}, map_location="cpu", weights_only=True)',
    NUMPY: "{{name: torch.from_numpy(value) for name, value in np.load({file!r}).items()}}",
}
"""Form of a file -> the expression that reads it in a program without this package."""
WITHOUT_PREFIX = (
    "{{name.removeprefix({prefix!r}): value for name, value in {expression}.items()"
    " if name.startswith({prefix!r})}}"
)


MASKED = (
    '{{name.removesuffix("_orig"): value * state[name[:-4] + "mask"] '
    'if name.endswith("_orig") and name[:-4] + "mask" in state else value '
    "for state in [{expression}] for name, value in state.items() "
    'if not (name.endswith("_mask") and name[:-4] + "orig" in state)}}'
)
"""As `with_masks_applied`."""


@dataclass(frozen=True)
class Read:
    """How weights were read: the expression for a program, its import lines, and notes."""

    expression: str
    imports: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_weights(path: Path, limit: int | None = None) -> tuple[dict[str, Tensor], Read]:
    """Parameter name -> tensor, in a safetensors, .pt or .npz file, also inside a checkpoint of a
    training. limit: most bytes of the file, as in `read_tensors`.

    Nothing in the file is run (weights_only). Raises PruningError for a file that cannot be read or
    holds something else.
    """
    if not path.is_file():
        raise PruningError(f"There is no file of weights at {path}.")
    try:
        given = read_tensors(path, limit)
    except PruningError as error:
        why = str(error).rstrip(".")
        why = why[0].lower() + why[1:]
        raise PruningError(f"The weights in {path} cannot be read: {why}.") from error
    nested = next((key for key in NESTED if isinstance(given.get(key), Mapping)), "")
    given = given[nested] if nested else given
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise PruningError(
                f"The file {path} holds {kind_text(type(given))} that is no state_dict: save "
                "model.state_dict()."
            )
        if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
            raise PruningError(
                f"'{str(name)[:80]}' in {path} is quantised or without values: save plain tensors."
            )
    form = form_of(path)
    expression = EXPRESSIONS[form].format(file=str(path)) + (f"[{nested!r}]" if nested else "")
    return dict(given), Read(expression, ("import numpy as np",) if form == NUMPY else ())


def _masked(given: dict[str, Tensor], read: Read) -> tuple[dict[str, Tensor], Read]:
    """The weights with the masks of `torch.nn.utils.prune` applied, where the file has some."""
    plain, masks = with_masks_applied(given)
    if not masks:
        return given, read
    count = f"{len(masks)} weight{'s' if len(masks) > 1 else ''}"
    note = (
        f"The file has torch's masks of {count}: they are applied. The plan's start 'zeros' keeps "
        "these zeros."
    )
    expression = MASKED.format(expression=read.expression)
    return plain, replace(read, expression=expression, notes=(*read.notes, note))


def _without_prefix(
    given: dict[str, Tensor], read: Read, names: Set[str]
) -> tuple[dict[str, Tensor], Read]:
    """The weights without a prefix, such as "module.", where one makes them fit these names."""
    first = next(iter(names), "")
    prefixes = {p for name in given for p in beginnings(name) if p and p + first == name}
    states = {
        prefix: {n.removeprefix(prefix): given[n] for n in given if n.startswith(prefix)}
        for prefix in prefixes
    }
    fitting = [prefix for prefix, state in states.items() if state.keys() == names]
    if len(fitting) != 1:
        return given, read
    prefix = fitting[0]
    notes = [f"The prefix '{prefix}' was removed from the names."]
    if left := len(given) - len(names):
        notes.append(f"{left} other tensors of the file were left out.")
    expression = WITHOUT_PREFIX.format(prefix=prefix, expression=read.expression)
    return states[prefix], replace(read, expression=expression, notes=(*read.notes, *notes))


def load_weights(model: nn.Module, path: Path) -> Read:
    """Writes the weights in a file into the model. Gives how they were read.

    Raises PruningError, with names and shapes, where file and model do not fit.
    """
    own = model.state_dict()
    size = sum(value.nbytes for value in own.values() if isinstance(value, Tensor))
    given, read = read_weights(path, max(MAX_BYTES, LARGER * size))
    if not pruned_names(own.keys()):
        given, read = _masked(given, read)  # else the network itself has torch's masks
    given, read = _without_prefix(given, read, own.keys())
    missing = sorted(own.keys() - given.keys())
    more = sorted(given.keys() - own.keys())
    shapes = sorted(
        f"{name} ({tuple(given[name].shape)}, the network has {tuple(own[name].shape)})"
        for name in own.keys() & given.keys()
        if given[name].shape != own[name].shape
    )
    problems = [
        *([f"lacks {shortened(missing, SHOWN)}"] if missing else []),
        *([f"also has {shortened(more, SHOWN)}"] if more else []),
        *([f"differs in {shortened(shapes, SHOWN)}"] if shapes else []),
    ]
    if problems:
        raise PruningError(
            f"The weights in {path.name} do not fit the network: the file {', '.join(problems)}."
        )
    model.load_state_dict(given)
    return read
