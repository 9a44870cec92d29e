"""A tensor without values: it stands for a result that nothing reads again."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from pruning_core.model.model_io import tensors_in


class ValuesMissing(RuntimeError):
    """A computation asked for the values of a tensor that was not kept."""


@dataclass(frozen=True)
class Form:
    """What is kept of a tensor without its values."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensor: Tensor) -> "Form":
        """The form of a tensor."""
        return cls(tensor.shape, tensor.stride(), tensor.dtype, tensor.device)

    def absent(self) -> "Absent":
        """A tensor of this form without values."""
        return Absent(
            torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device="meta"),
            self.device,
        )


class Absent(Tensor):
    """A tensor that has a shape, a type and a device, but no values.

    What is computed from it is absent too, so that a result with values never depends on it. Raises
    ValuesMissing where it would change a tensor that has values; torch raises an error where values
    are asked for.
    """

    meta: Tensor

    @staticmethod
    def __new__(cls, meta: Tensor, device: torch.device) -> "Absent":
        """meta: the same tensor on the device "meta"; device: where its values would be."""
        made: Absent = Tensor._make_wrapper_subclass(
            cls, meta.shape, strides=meta.stride(), dtype=meta.dtype, device=device
        )
        made.meta = meta
        return made

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Calls the function; its operations arrive in `__torch_dispatch__`."""
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Computes the forms of the results."""
        named = kwargs or {}
        if any(not isinstance(tensor, Absent) for tensor in written(func, args, named)):
            raise ValuesMissing(f"{func} would write missing values over a tensor.")
        absent = next(leaf for leaf in tree_leaves((args, named)) if isinstance(leaf, Absent))
        device = torch.device(named.get("device") or absent.device)
        on_meta = {**named, "device": "meta"} if "device" in named else named
        out = func(*tree_map(_meta, args), **tree_map(_meta, on_meta))
        return tree_map(
            lambda leaf: Absent(leaf, device) if isinstance(leaf, Tensor) else leaf, out
        )


def written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors among the arguments that an operation writes over."""
    arguments = func._schema.arguments
    given = dict(zip((each.name for each in arguments), args, strict=False)) | kwargs
    names = [each.name for each in arguments if each.alias_info and each.alias_info.is_write]
    return tensors_in([given[name] for name in names if name in given])


def _meta(leaf: Any) -> Any:
    if isinstance(leaf, Absent):
        return leaf.meta
    return leaf.to("meta") if isinstance(leaf, Tensor) else leaf
