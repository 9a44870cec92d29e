"""Masks of users brought to one form: booleans in the OIHW view, True = keep.

Every function that takes masks calls `checked_masks`, so that a mask means the same everywhere.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pruning_core.errors import kind_text
from pruning_core.model.inventory import oihw, stored
from pruning_core.types import GivenMasks, Layer, Masks, ParameterMasks, PruningError

COMPARED = {
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.complex64, torch.complex128),
}
"""Types of masks whose values torch compares with numbers as they are."""


def checked_masks(masks: GivenMasks, layers: Iterable[Layer]) -> Masks:
    """The masks by layer name, as booleans O x I x H x W. True = keep.

    Masks of booleans, and of whole or floating-point numbers that are all 0 or 1, are accepted, as
    tensors or NumPy arrays, in the OIHW view or in the parameter's own shape. Where both shapes are
    equal, a mask is read in the OIHW view. A tied weight may be named by each of its names.
    Raises PruningError for a mask of no layer, of another shape or with other values, and for
    different masks of one tied weight.

    >>> layer = Layer("fc.weight", "fc", "linear", (1, 2, 1, 1), (1, 2))
    >>> checked_masks({"fc.weight": torch.tensor([[1.0, 0.0]])}, [layer])["fc.weight"].shape
    torch.Size([1, 2, 1, 1])
    """
    owners = {name: layer for layer in layers for name in (layer.name, *layer.aliases)}
    checked: Masks = {}
    for name, given in masks.items():
        if name not in owners:
            raise PruningError(f"The mask '{name}' belongs to no layer of this model.")
        layer = owners[name]
        mask = _in_oihw(booleans(name, given), layer, name)
        if layer.name in checked and not torch.equal(checked[layer.name], mask):
            raise PruningError(
                f"{layer.name} and {name} are one tied weight, but their masks differ: give one."
            )
        checked[layer.name] = mask
    return checked


def checked_parameter_masks(masks: GivenMasks, model: nn.Module) -> ParameterMasks:
    """Masks of any parameters in the parameter's own shape, as booleans. True = keep.

    Raises PruningError for a name that the model does not have, for another shape, and for values
    other than 0 and 1.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    checked = {}
    for name, given in masks.items():
        if name not in parameters:
            raise PruningError(f"The mask '{name}' belongs to no parameter of this model.")
        checked[name] = booleans(name, given)
        if checked[name].shape != parameters[name].shape:
            raise PruningError(
                f"The mask of {name} is {tuple(checked[name].shape)}; "
                f"its parameter is {tuple(parameters[name].shape)}."
            )
    return checked


def removed_places(
    model: nn.Module,
    masks: GivenMasks,
    layers: Sequence[Layer],
    dependent: GivenMasks | None = None,
) -> list[tuple[nn.Parameter, Tensor]]:
    """Each masked parameter of the model and its removed places, True = removed, on its device.

    dependent: masks of other parameters, in the parameter's own shape. Raises PruningError as
    `checked_masks` and `checked_parameter_masks`.
    """
    by_name = {layer.name: layer for layer in layers}
    own = {name: stored(mask, by_name[name]) for name, mask in checked_masks(masks, layers).items()}
    others = checked_parameter_masks(dependent or {}, model)
    return [
        (parameter, ~keep.to(parameter.device))
        for name, keep in (*own.items(), *others.items())
        for parameter in [model.get_parameter(name)]
    ]


def booleans(name: str, given: Tensor | np.ndarray) -> Tensor:
    """A mask as booleans, True = keep.

    Raises PruningError for another object than a dense tensor or an array, and for values other
    than 0 and 1. name: of the parameter, for the error.
    """
    if isinstance(given, np.ndarray):
        return torch.from_numpy(_in_numpy(name, given))
    if not isinstance(given, Tensor) or _special(given):
        kind = _special(given) if isinstance(given, Tensor) else kind_text(type(given))
        raise PruningError(f"The mask of {name} is {kind}: give a dense tensor of 0 and 1.")
    if given.dtype == torch.bool:
        return given
    values = given.detach()
    if values.dtype not in COMPARED:  # torch cannot compare these with numbers
        values = values.double() if values.is_floating_point() else values.long()
    kept = values == 1
    if not bool((kept | (values == 0)).all()):
        raise _other_values(name)
    return kept


def _in_numpy(name: str, given: np.ndarray) -> np.ndarray:
    """A new array of booleans, in the order of bytes and axes that torch reads."""
    values = np.asarray(given)
    if values.dtype.kind not in "biufc":
        raise PruningError(
            f"The mask of {name} is an array of {values.dtype}: give an array of 0 and 1."
        )
    kept: np.ndarray = np.ascontiguousarray(values == 1).reshape(values.shape)
    if not (kept | (values == 0)).all():
        raise _other_values(name)
    return kept


def _special(given: Tensor) -> str:
    """What a tensor is that has no plain values, in words; "" for a dense one."""
    kinds = {
        "a tensor without values": given.is_meta,
        "a nested tensor": given.is_nested,
        "a quantised tensor": given.is_quantized,
        "a sparse tensor": given.layout != torch.strided,
    }
    return next((kind for kind, fits in kinds.items() if fits), "")


def _other_values(name: str) -> PruningError:
    return PruningError(
        f"The mask of {name} has values other than 0 and 1: give True or 1 for a weight that "
        "is kept, False or 0 for one that is removed."
    )


def _in_oihw(mask: Tensor, layer: Layer, name: str) -> Tensor:
    shape = tuple(mask.shape)
    if shape == layer.shape:
        return mask
    if shape == layer.param_shape:
        return oihw(mask, layer)
    needs = " or ".join(map(str, dict.fromkeys((layer.shape, layer.param_shape))))
    if sorted(shape) == sorted(layer.shape):
        raise PruningError(
            f"The mask of {name} is {shape}; its layer needs {needs}: is it transposed?"
        )
    raise PruningError(f"The mask of {name} is {shape}; its layer needs {needs}.")
