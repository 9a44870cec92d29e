"""Weights in a file of the user's: safetensors, or a file of torch.save."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pruning_core.types import PruningError

NESTED = ("state_dict", "model_state_dict", "model")
"""Keys under which a training's checkpoint holds the weights."""
SHOWN = 3


def read_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Parameter name -> tensor, in a safetensors file or a file of torch.save(state_dict).

    Also the key under which a training's checkpoint holds them, "" for none.

    Nothing in the file is run (weights_only). Raises PruningError for a file that cannot be read or
    holds something else.
    """
    if not path.is_file():
        raise PruningError(f"There is no file of weights at {path}.")
    try:
        given: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        RuntimeError,
        SafetensorError,
        pickle.UnpicklingError,
    ) as error:
        why = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise PruningError(
            f"The weights in {path} cannot be read: {why}. "
            "Give a safetensors file, or torch.save(model.state_dict(), file)."
        ) from error
    nested = ""
    if isinstance(given, Mapping):
        nested = next((key for key in NESTED if isinstance(given.get(key), Mapping)), "")
        given = given[nested] if nested else given
    if not isinstance(given, Mapping) or not all(isinstance(v, Tensor) for v in given.values()):
        raise PruningError(
            f"The file {path} holds a {type(given).__name__} that is no state_dict: save "
            "model.state_dict()."
        )
    return dict(given), nested


def load_weights(model: nn.Module, path: Path) -> str:
    """Writes the weights in a file into the model. Gives the key that `read_weights` gives.

    Raises PruningError, with names and shapes, where file and model do not fit.
    """
    given, nested = read_weights(path)
    own = model.state_dict()
    missing = sorted(own.keys() - given.keys())
    more = sorted(given.keys() - own.keys())
    shapes = sorted(
        f"{name} ({tuple(given[name].shape)}, the network has {tuple(own[name].shape)})"
        for name in own.keys() & given.keys()
        if given[name].shape != own[name].shape
    )
    problems = [
        f"{words} {_some(names)}"
        for words, names in (("lacks", missing), ("also has", more), ("differs in", shapes))
        if names
    ]
    if problems:
        raise PruningError(
            f"The weights in {path.name} do not fit the network: the file {', '.join(problems)}."
        )
    model.load_state_dict(given)
    return nested


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
