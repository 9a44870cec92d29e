"""Reads masks from files: those that Pruning Explorer exports, and other files of named tensors."""

import io
import pickle
import zipfile
from collections.abc import Mapping

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from pruning_core.model.mask_forms import checked_masks
from pruning_core.types import Layer, Masks, PruningError

LARGEST = 2**31
"""Most bytes that a file may unpack to: 2 GiB."""
SUFFIX = "_mask"
"""What `torch.nn.utils.prune` adds to a parameter's name."""


def read_masks(content: bytes, model: nn.Module, layers: tuple[Layer, ...]) -> Masks:
    """The masks of the layers in a file of named tensors: safetensors, npz, or PyTorch's pt.

    Names are those of parameters, or of the buffers that `torch.nn.utils.prune` makes
    (`conv1.weight_mask`). Masks of biases and norms are left out: they follow from the layers'.
    Raises PruningError for another file, a name that the model does not have, a file without a mask
    of a layer, and as `checked_masks`.
    """
    known = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    names = {name for layer in layers for name in (layer.name, *layer.aliases)}
    chosen = {}
    for given, tensor in _tensors(content).items():
        name = given if given in known else given.removesuffix(SUFFIX)
        if name not in known:
            raise PruningError(f"The masks' file has '{given}', which the network does not have.")
        if name in names:
            chosen[name] = tensor
    if not chosen:
        raise PruningError("The masks' file has no mask of a layer of this network.")
    return checked_masks(chosen, layers)


def _tensors(content: bytes) -> Mapping[str, Tensor | np.ndarray]:
    """The named tensors of a file, by its first bytes."""
    try:
        if not zipfile.is_zipfile(io.BytesIO(content)):
            return load(content)
        entries = zipfile.ZipFile(io.BytesIO(content)).infolist()
        if sum(entry.file_size for entry in entries) > LARGEST:
            raise PruningError("The masks' file unpacks to more than 2 GiB, so it is not read.")
        if all(entry.filename.endswith(".npy") for entry in entries):
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files if name != "plan"}
        named = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, ValueError, OSError, pickle.UnpicklingError) as error:
        if isinstance(error, PruningError):
            raise
        raise PruningError(
            "The masks' file cannot be read: give a safetensors, npz or pt file of named tensors."
        ) from error
    if not isinstance(named, Mapping) or not all(isinstance(t, Tensor) for t in named.values()):
        raise PruningError("The masks' file holds no tensors by name.")
    return dict(named)
