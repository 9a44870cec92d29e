"""Divides a batch of the user's into inputs and targets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pruning_core.errors import kind_text
from pruning_core.model.model_io import input_tensors, map_tensors, sample_count
from pruning_core.subjects.samples import Pair
from pruning_core.types import Inputs, PruningError

TARGET_KEYS = ("labels", "label", "targets", "target", "y")
"""The keys of a batch's targets, where a batch is a dict."""
ADVICE = "say which part is what with batch=: a function of a batch that gives (inputs, target)"


@dataclass(frozen=True)
class ReadBatch:
    """Batch -> inputs and targets, as tensors.

    given: the argument that the data came from; own: a function of the user's that does it; dtype:
    of the model, which inputs of floating point get; unlabelled: what stands for the targets of
    batches without targets: "" refused, "inputs" the first input, "none" zeros.
    keyed: receives given -> key of the targets where batches are dicts, "" for none; bare: receives
    `given` where batches have no targets.
    """

    given: str
    own: Callable[[Any], Any] | None = None
    dtype: torch.dtype | None = None
    unlabelled: str = ""
    keyed: dict[str, str] = field(default_factory=dict)
    bare: set[str] = field(default_factory=set)

    def __call__(self, batch: Any) -> Pair:
        inputs, target = self._divided(batch if self.own is None else self.own(batch))
        x = map_tensors(self._tensors(inputs), self._typed)
        y = self._own_targets(x) if target is None else self._tensor(target, "target")
        if y.ndim == 0 or len(y) != sample_count(x):
            raise PruningError(
                f"A batch of {self.given}= has {sample_count(x)} inputs but targets of shape "
                f"{tuple(y.shape)}: the first axis of both must count the samples."
            )
        return x, y

    def _divided(self, batch: Any) -> tuple[Any, Any]:
        if isinstance(batch, Mapping) and self.own is None:
            return self._divided_mapping(batch)
        if isinstance(batch, list | tuple) and len(batch) == 2:
            return batch[0], batch[1]
        if self.unlabelled:
            return batch, None
        if isinstance(batch, list | tuple):
            raise PruningError(f"A batch of {self.given}= has {len(batch)} parts: {ADVICE}.")
        kind = "one tensor" if isinstance(batch, Tensor) else kind_text(type(batch))
        raise PruningError(f"A batch of {self.given}= is {kind}: {ADVICE}.")

    def _divided_mapping(self, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        keys = [key for key in TARGET_KEYS if key in batch]
        self.keyed[self.given] = keys[0] if keys else ""
        if not keys and self.unlabelled:
            return dict(batch), None
        if len(keys) != 1:
            shown = ", ".join(map(str, batch))
            known = " or ".join(TARGET_KEYS)
            raise PruningError(
                f"A batch of {self.given}= has the keys {shown}, and more than one of them is "
                f"{known}: {ADVICE}."
                if keys
                else f"A batch of {self.given}= has the keys {shown}, and none of them is "
                f"{known}: {ADVICE}."
            )
        return {key: value for key, value in batch.items() if key != keys[0]}, batch[keys[0]]

    def _own_targets(self, x: Inputs) -> Tensor:
        self.bare.add(self.given)
        if self.unlabelled == "inputs":
            return input_tensors(x)[0]
        return torch.zeros(sample_count(x), dtype=torch.long)

    def _tensors(self, inputs: Any) -> Inputs:
        if isinstance(inputs, Mapping):
            return {str(key): self._tensor(value, str(key)) for key, value in inputs.items()}
        if isinstance(inputs, list | tuple):
            return tuple(self._tensor(value, "inputs") for value in inputs)
        return self._tensor(inputs, "inputs")

    def _tensor(self, value: Any, part: str) -> Tensor:
        if isinstance(value, Tensor):
            return value.detach().cpu()
        if part == "target" and (texts := _texts(value)):
            raise PruningError(
                f"The targets of {self.given}= are texts, such as '{texts[0]}': give numbers; "
                "classes are numbered from 0."
            )
        try:
            return torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise PruningError(
                f"The part '{part}' of a batch of {self.given}= is {kind_text(type(value))}, "
                f"not a tensor: {ADVICE}."
            ) from error

    def _typed(self, part: Tensor) -> Tensor:
        if self.dtype is None or not part.is_floating_point():
            return part
        return part.to(self.dtype)


def _texts(value: Any) -> list[str]:
    """The texts in a list or an array; none where it holds something else."""
    items = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(items, list | tuple):
        return []
    return [item for item in items if isinstance(item, str)]


def refuse_pictures(item: Any, given: str) -> None:
    """Raises PruningError for a sample that holds a PIL image: it lacks its transform."""
    parts = item.values() if isinstance(item, Mapping) else item
    held = parts if isinstance(parts, list | tuple) else [parts]
    if any(isinstance(part, Image.Image) for part in held):
        raise PruningError(
            f"The samples of {given}= are PIL images: give transform=, the function from a PIL "
            "image to a tensor that the network was trained with."
        )
