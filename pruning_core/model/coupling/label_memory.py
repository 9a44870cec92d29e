"""For every tensor of a run: which channel each of its elements belongs to."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from pruning_core.model.model_io import storage

Labels = Int[Tensor, "..."]
"""The number of a channel for each element of a tensor; 0 where it belongs to none."""
SWEEP = 32
"""Writes after which the labels of tensors that no longer exist are dropped."""


@dataclass(eq=False)
class _Record:
    """What is known about one storage.

    labels: one number per element of the storage, None for none. weight: the parameter that its
    values are computed from; copied: they are the parameter's own values. zeros: the network made
    it of zeros, such as a first state.
    """

    storage: StorageWeakRef
    itemsize: int
    labels: Tensor | None
    weight: str | None = None
    copied: bool = False
    zeros: bool = False


class LabelMemory:
    """Labels by storage, so that views and writes through views need no rule of their own."""

    def __init__(self) -> None:
        self._records: dict[int, _Record] = {}
        self._writes = 0

    def labels(self, tensor: Tensor) -> Labels | None:
        """The labels of the tensor's elements, in its shape; None where all are 0.

        Raises LookupError where the tensor sees its storage as another type, as complex numbers.
        """
        record = self._record(tensor)
        if record is None or record.labels is None:
            return None
        if record.itemsize != tensor.element_size():
            raise LookupError("it sees a tensor as another type")
        view = record.labels.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
        return view if bool(view.any()) else None

    def all_labels(self, tensor: Tensor) -> list[int]:
        """All channels in the tensor's storage."""
        record = self._record(tensor)
        return [] if record is None or record.labels is None else record.labels.unique().tolist()

    def write(self, tensor: Tensor, labels: Tensor | None, *, fresh: bool) -> None:
        """Sets the labels of the tensor's elements. fresh: its storage is new."""
        record = self._record(tensor)
        if record is None or (fresh and record.storage.expired()):
            record = self._new(tensor)
        record.zeros = False
        record.copied &= fresh
        if labels is None and record.labels is None:
            return
        if record.labels is None:
            size = tensor.untyped_storage().nbytes() // tensor.element_size()
            record.labels = torch.zeros(size, dtype=torch.int32)
        view = record.labels.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
        view.copy_(torch.zeros((), dtype=torch.int32) if labels is None else labels)

    def weight(self, tensor: Tensor) -> tuple[str, bool] | None:
        """The parameter that the tensor is computed from, and whether it is a copy of it."""
        record = self._record(tensor)
        if record is None or record.weight is None or not tensor.is_contiguous():
            return None
        return record.weight, record.copied

    def set_weight(self, tensor: Tensor, name: str, *, copied: bool) -> None:
        """Notes that the tensor, in the parameter's shape, is computed from the parameter."""
        record = self._record(tensor) or self._new(tensor)
        record.weight = name
        record.copied = copied

    def set_zeros(self, tensor: Tensor) -> None:
        """Notes that the tensor is new and holds zeros."""
        (self._record(tensor) or self._new(tensor)).zeros = True

    def is_zeros(self, tensor: Tensor) -> bool:
        """Did the network make the tensor of zeros, and is nothing written to it?"""
        record = self._record(tensor)
        return record is not None and record.zeros

    def _record(self, tensor: Tensor) -> _Record | None:
        return self._records.get(storage(tensor))

    def _new(self, tensor: Tensor) -> _Record:
        own = StorageWeakRef(tensor.untyped_storage())
        record = _Record(own, tensor.element_size(), None)
        self._records[storage(tensor)] = record
        self._writes += 1
        if self._writes % SWEEP == 0:
            self._records = {k: r for k, r in self._records.items() if not r.storage.expired()}
        return record
