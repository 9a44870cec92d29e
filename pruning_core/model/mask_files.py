"""Reads masks from files: those that Pruning Explorer exports, and other files of named tensors."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from jaxtyping import Bool
from torch import Tensor, nn

from pruning_core.model.mask_forms import checked_masks
from pruning_core.model.tensor_files import plain_tensor, read_tensors
from pruning_core.types import Layer, Masks, PruningError

Value = TypeVar("Value")
LARGEST = 2**31
"""Most bytes of a file and of its tensors: 2 GiB."""
SUFFIX = "_mask"
"""What `torch.nn.utils.prune` adds to a parameter's name."""


def pruned_names(names: Collection[str]) -> list[str]:
    """The parameters that `torch.nn.utils.prune` holds as two tensors, name_orig and name_mask."""
    originals = (name.removesuffix("_orig") for name in names if name.endswith("_orig"))
    return [name for name in originals if name + SUFFIX in names]


def with_masks_applied(
    tensors: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, Bool[Tensor, "..."]]]:
    """The tensors with name_orig x name_mask of each pruned parameter as name, and these masks.

    True = keep. A pair of tensors of two shapes stays as it is.
    """
    plain = dict(tensors)
    masks = {}
    for name in pruned_names(tensors.keys()):
        mask = tensors[name + SUFFIX]
        if mask.shape == tensors[f"{name}_orig"].shape:
            plain[name] = plain.pop(f"{name}_orig") * plain.pop(name + SUFFIX)
            masks[name] = mask != 0
    return plain, masks


def beginnings(name: str) -> list[str]:
    """What may stand before the name of a parameter: "a.b.c" -> "", "a.", "a.b."."""
    parts = name.split(".")
    return [".".join((*parts[:start], "")) for start in range(len(parts))]


def by_parameter(given: Mapping[str, Value], known: Collection[str]) -> dict[str, Value]:
    """The masks of a file under the names of parameters, where their own names show which.

    known: names of the parameters. Of a state_dict with `pruned_names` only their masks are taken.
    The ending _mask and one prefix of all names, such as module., are removed.
    """
    masks = {name + SUFFIX: given[name + SUFFIX] for name in pruned_names(given.keys())} or given
    prefix = _prefix(masks, known)
    return {_plain(name.removeprefix(prefix), known): mask for name, mask in masks.items()}


def _plain(name: str, known: Collection[str]) -> str:
    return name if name in known else name.removesuffix(SUFFIX)


def _prefix(names: Iterable[str], known: Collection[str]) -> str:
    """The prefix of all names without which one is known; "" for none."""
    given = list(names)
    for prefix in beginnings(given[0]) if given else ():
        inner = [name.removeprefix(prefix) for name in given if name.startswith(prefix)]
        if len(inner) == len(given) and any(_plain(name, known) in known for name in inner):
            return prefix
    return ""


def read_masks(path: Path, model: nn.Module, layers: tuple[Layer, ...]) -> Masks:
    """The masks of the layers in a file of named tensors: safetensors, npz, or PyTorch's pt.

    Names are those of parameters, or as `by_parameter` takes them. Masks of biases and norms are
    left out: they follow from the layers'. Sizes are checked before memory is allocated. Raises
    PruningError for another file, a name that the model does not have, a file without a mask of a
    layer, and as `checked_masks`.
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
    for name, value in by_parameter(
        {str(key): value for key, value in content.items()}, known
    ).items():
        if (tensor := plain_tensor(value)) is None:
            raise PruningError(f"'{name[:80]}' in the masks' file is no plain tensor.")
        if name not in known:
            raise PruningError(
                f"The masks' file has '{name[:80]}', which the network does not have."
            )
        if name in names:
            chosen[name] = tensor
    if not chosen:
        raise PruningError("The masks' file has no mask of a layer of this network.")
    return checked_masks(chosen, layers)
