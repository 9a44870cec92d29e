"""Reads masks from files: those that Pruning Explorer exports, and other files of named tensors."""

from pathlib import Path

from torch import nn

from pruning_core.model.mask_forms import checked_masks
from pruning_core.model.tensor_files import plain_tensor, read_tensors
from pruning_core.types import Layer, Masks, PruningError

LARGEST = 2**31
"""Most bytes of a file and of its tensors: 2 GiB."""
SUFFIX = "_mask"
"""What `torch.nn.utils.prune` adds to a parameter's name."""


def read_masks(path: Path, model: nn.Module, layers: tuple[Layer, ...]) -> Masks:
    """The masks of the layers in a file of named tensors: safetensors, npz, or PyTorch's pt.

    Names are those of parameters, or of the buffers that `torch.nn.utils.prune` makes
    (`conv1.weight_mask`). Masks of biases and norms are left out: they follow from the layers'.
    Sizes are checked before memory is allocated. Raises PruningError for another file, a name that
    the model does not have, a file without a mask of a layer, and as `checked_masks`.
    """
    known = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    names = {name for layer in layers for name in (layer.name, *layer.aliases)}
    try:
        content = read_tensors(path, LARGEST)
    except PruningError as error:
        why = str(error).rstrip(".")
        why = why[0].lower() + why[1:]
        raise PruningError(f"The masks cannot be read: {why}.") from error
    chosen = {}
    for given, value in content.items():
        if (tensor := plain_tensor(value)) is None:
            raise PruningError(f"'{str(given)[:80]}' in the masks' file is no plain tensor.")
        name = given if given in known else given.removesuffix(SUFFIX)
        if name not in known:
            raise PruningError(
                f"The masks' file has '{given[:80]}', which the network does not have."
            )
        if name in names:
            chosen[name] = tensor
    if not chosen:
        raise PruningError("The masks' file has no mask of a layer of this network.")
    return checked_masks(chosen, layers)
