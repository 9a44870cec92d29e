"""A sparse network as one safetensors file: the nonzeros, where they stand, and the other tensors.

The file has few parts, each compressed by lzma unless it is written plain:
- index: names, types and shapes of the tensors, in order, as JSON;
- bitmap: one bit per value of every masked tensor, 1 = kept, the first in the lowest bit;
- bytes.N: the values of N bytes each: the kept ones of masked tensors, all of other tensors. All
  first bytes stand together, then all second bytes, and so on: so they compress better.

A masked tensor whose kept weights share at most 256 values (`weight_sharing`) stores these values,
and for each kept weight one byte in bytes.1 that says which value it has. A file with such tensors
has format 2, else 1.

Positions come from the masks, never from the values, so kept zeros, -0.0 and NaN come back bit for
bit, for every type. A SHA-256 of all tensors is checked when the file is read.
"""

import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, UInt8
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from pruning_core.compress import load_sparse
from pruning_core.compress.load_sparse import digest, restored
from pruning_core.model.model_io import first_names
from pruning_core.types import ParameterMasks, PruningError

LOADER = Path(load_sparse.__file__).read_text(encoding="utf-8")
"""The script load_sparse.py, which reads a sparse file with torch and safetensors alone."""
FORMAT = "pruning-explorer-sparse-1"
SHARED_FORMAT = "pruning-explorer-sparse-2"
MOST_SHARED = 256
"""Values that a code of one byte can name."""
PROBE = 1024
"""Weights that are looked at before all: most tensors have more values among them."""
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
        *(torch.complex64, torch.complex128),
    )
}
"""The types of tensors that a sparse file can hold, by name."""
SMALLEST_DICTIONARY = 4096


def write_sparse(
    tensors: Mapping[str, Tensor],
    masks: ParameterMasks,
    *,
    compress: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes of a sparse file.

    tensors: a `state_dict`; masks: by name, in the tensor's own shape, True = keep; tensors without
    a mask are stored in full; a tensor that has several names is stored once. compress: by lzma;
    metadata: further texts of the file, such as the plan.
    Raises PruningError for a mask of no tensor or of another shape, for a removed value that is not
    zero, and for a type of tensor that the format does not have.

    >>> weight = torch.tensor([0.0, 2.0, 0.0, -1.0])
    >>> content = write_sparse({"w": weight}, {"w": weight != 0})
    >>> read_sparse(content)["w"].tolist()
    [0.0, 2.0, 0.0, -1.0]
    """
    if unknown := sorted(masks.keys() - tensors.keys()):
        raise PruningError(f"The mask '{unknown[0]}' belongs to no tensor of this network.")
    entries = _entries(tensors, masks)
    bits = [entry.mask.reshape(-1) for entry in entries if entry.mask is not None]
    parts = {
        "index": _as_bytes(json.dumps([entry.described for entry in entries]).encode()),
        "bitmap": pack_bits(torch.cat([torch.empty(0, dtype=torch.bool), *bits])),
    }
    values = [part for entry in entries for part in entry.parts]
    for width in sorted({part.element_size() for part in values}):
        same = [value_bytes(part) for part in values if part.element_size() == width]
        parts[f"bytes.{width}"] = torch.cat(same).view(-1, width).T.contiguous().view(-1)
    texts = {
        "format": SHARED_FORMAT if any(entry.codes is not None for entry in entries) else FORMAT,
        "compression": "lzma" if compress else "none",
        "sha256": digest(dict(tensors)),
        **(metadata or {}),
    }
    packed = {key: _compressed(part) if compress else part for key, part in parts.items()}
    return save(packed, metadata=texts)


@dataclass(frozen=True, eq=False)
class _Entry:
    """One tensor of the file. same_as: an earlier name of the same tensor."""

    name: str
    tensor: Tensor
    mask: Bool[Tensor, "..."] | None
    same_as: str | None

    @cached_property
    def parts(self) -> tuple[Tensor, ...]:
        """The values that are stored, or shared values and the codes of the kept weights."""
        if self.same_as is not None:
            return (self.tensor.new_empty(0),)
        if self.mask is None:
            return (self.tensor,)
        kept = self.tensor[self.mask]
        return _shared(kept) or (kept,)

    @property
    def codes(self) -> Tensor | None:
        """Which of the shared values each kept weight has; None where they share none."""
        return self.parts[1] if len(self.parts) > 1 else None

    @property
    def described(self) -> list[Any]:
        """Name, type, shape, and "masked", "full", [the earlier name] or how many shared values."""
        stored: str | int | list[str] = "full" if self.mask is None else "masked"
        if self.same_as is not None:
            stored = [self.same_as]
        elif self.codes is not None:
            stored = len(self.parts[0])
        return [self.name, _type_name(self.tensor), list(self.tensor.shape), stored]


def _shared(kept: Tensor) -> tuple[Tensor, Tensor] | None:
    """The different values and a code for each weight, where that takes fewer bytes.

    Values are compared by their bits, so -0.0 and NaN come back.
    """
    integer = INTEGERS.get(kept.element_size())
    if integer is None or kept.is_complex():
        return None
    patterns = kept.contiguous().view(integer)
    if len(patterns[:PROBE].unique()) > MOST_SHARED:
        return None
    different, codes = patterns.unique(return_inverse=True)
    few = len(different) <= MOST_SHARED
    if not few or different.nbytes + len(codes) >= kept.nbytes:
        return None
    return different.view(kept.dtype), codes.to(torch.uint8)


def _entries(tensors: Mapping[str, Tensor], masks: ParameterMasks) -> list[_Entry]:
    """The tensors with their masks, checked."""
    entries = []
    names = first_names(tensors)
    for name, tensor in tensors.items():
        if _type_name(tensor) not in DTYPES or tensor.layout != torch.strided:
            raise PruningError(
                f"{name} is a {_type_name(tensor)} tensor of layout {tensor.layout}: "
                "a sparse file cannot hold it."
            )
        local = tensor.detach().cpu()
        if names[name] != name:
            entries.append(_Entry(name, local, None, names[name]))
        else:
            entries.append(_Entry(name, local, _checked_mask(name, local, masks.get(name)), None))
    return entries


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _checked_mask(
    name: str, tensor: Tensor, mask: Bool[Tensor, "..."] | None
) -> Bool[Tensor, "..."] | None:
    if mask is None:
        return None
    if mask.shape != tensor.shape:
        raise PruningError(
            f"The mask of {name} is {tuple(mask.shape)}; its tensor is {tuple(tensor.shape)}."
        )
    local = mask.cpu()
    if bool(value_bytes(tensor[~local]).any()):
        raise PruningError(
            f"{name} has a value other than 0 where its mask removes it: apply the mask first."
        )
    return local


def value_bytes(tensor: Tensor) -> UInt8[Tensor, " n"]:
    """The bytes of a tensor's values in order, as this machine stores them."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).clone() if flat.numel() else torch.empty(0, dtype=torch.uint8)


def pack_bits(mask: Bool[Tensor, "..."]) -> UInt8[Tensor, " n"]:
    """One bit per value, the first value in the lowest bit of the first byte."""
    flat = mask.reshape(-1).to(torch.uint8)
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % 8))
    return (padded.view(-1, 8) << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def _as_bytes(content: bytes) -> UInt8[Tensor, " n"]:
    empty = torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else empty


def _compressed(part: UInt8[Tensor, " n"]) -> UInt8[Tensor, " m"]:
    """The bytes by lzma, without contexts: neighbouring bytes of weights are independent.

    A dictionary longer than the bytes would only take time.
    """
    content = part.numpy().tobytes()
    dictionary = max(SMALLEST_DICTIONARY, 1 << len(content).bit_length())
    preset = 9 | lzma.PRESET_EXTREME
    chain = [
        {"id": lzma.FILTER_LZMA1, "preset": preset, "dict_size": dictionary}
        | dict.fromkeys(("lc", "lp", "pb"), 0)
    ]
    return _as_bytes(lzma.compress(content, format=lzma.FORMAT_ALONE, filters=chain))


def read_sparse(content: bytes) -> dict[str, Tensor]:
    """The tensors of a sparse file, restored bit for bit and checked against their hash.

    Raises PruningError for other files, for a format of a later version, and for a file whose
    tensors do not have the hash that was written.
    """
    try:
        version = _version(content)
        if version in {FORMAT, SHARED_FORMAT}:
            texts, tensors = restored(content)
            written = texts["sha256"]
    except (
        *(SafetensorError, lzma.LZMAError, json.JSONDecodeError, UnicodeDecodeError),
        *(KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError, EOFError),
    ) as error:
        raise PruningError("The file is not a sparse file, or it is damaged.") from error
    if version not in {FORMAT, SHARED_FORMAT}:
        raise PruningError(
            f"The sparse file has format '{version}'. This version reads {FORMAT} and "
            f"{SHARED_FORMAT}: read it with the load_sparse.py that was written beside it."
        )
    if digest(tensors) != written:
        raise PruningError("The sparse file is damaged: its tensors do not have the hash in it.")
    return tensors


def _version(content: bytes) -> str:
    """The format in the header. Raises KeyError and others where there is none."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return str(header["__metadata__"]["format"])
