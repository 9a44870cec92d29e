"""Weights in a file of the user's: safetensors, or a file of torch.save."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pruning_core.errors import kind_text, shortened
from pruning_core.model.tensor_files import MAX_BYTES, read_tensors
from pruning_core.types import PruningError

NESTED = ("state_dict", "model_state_dict", "model")
"""Keys under which a training's checkpoint holds the weights."""
LARGER = 16
"""A file may be so many times larger than the network: a training also keeps optimizer states."""
SHOWN = 3


def read_weights(path: Path, limit: int | None = None) -> tuple[dict[str, Tensor], str]:
    """Parameter name -> tensor, in a safetensors file or a file of torch.save(state_dict).

    Also the key under which a training's checkpoint holds them, "" for none. limit: most bytes of
    the file, as in `read_tensors`.

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
    return dict(given), nested


def load_weights(model: nn.Module, path: Path) -> str:
    """Writes the weights in a file into the model. Gives the key that `read_weights` gives.

    Raises PruningError, with names and shapes, where file and model do not fit.
    """
    own = model.state_dict()
    size = sum(value.nbytes for value in own.values() if isinstance(value, Tensor))
    given, nested = read_weights(path, max(MAX_BYTES, LARGER * size))
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
    return nested
