"""Reads files of tensors. Sizes are checked before memory is allocated.

A safetensors file holds tensors alone. A .pt file is a zip archive with a pickle, or, of before
PyTorch 1.6, a row of pickles. It is read with `weights_only`, which builds tensors and plain
containers and runs nothing; the tensors of an archive stay in the file until they are used.
"""

import json
import math
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pruning_core.errors import first_line, kind_text
from pruning_core.types import PruningError

MAX_BYTES = 600 << 20
"""Most bytes of a file of tensors, and of its tensors together, by default."""
MAX_TENSORS = 20_000
MAX_HEADER = 16 << 20
"""The largest header of a safetensors file, and the largest pickle of a .pt file."""
CONSTRUCTORS = ("Tensor", "UntypedStorage", "TypedStorage")
"""Classes whose call allocates memory; a state_dict is written without such calls."""
NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG")
"""Operations of a pickle that give a whole number."""
SPARSE = ("_rebuild_sparse_tensor", "_rebuild_sparse_csr_tensor")
"""Functions whose shapes are not bounded by the file."""
SAVE = "save model.state_dict() with torch.save, or as safetensors"
UNSUPPORTED = re.compile(r"GLOBAL ([\w.]+)")


SAFETENSORS = "safetensors"
NUMPY = "npz"
PICKLED = "pt"


def form_of(path: Path) -> str:
    """SAFETENSORS, NUMPY or PICKLED, by the content of a file that `read_tensors` has read."""
    with path.open("rb") as file:
        start = file.read(16)
    if start[8:9] == b"{":
        return SAFETENSORS
    if start.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(path) as archive:
            if all(name.endswith(".npy") for name in archive.namelist()):
                return NUMPY
    return PICKLED


def read_tensors(path: Path, limit: int | None = None) -> Mapping[str, Any]:
    """The content of a safetensors, .pt or .npz file: names -> tensors, or nested dicts of them.

    limit: most bytes of the file and of its tensors, MAX_BYTES by default. Raises
    PruningError, with the reason, for every other file and for one beyond the limits.
    """
    most = MAX_BYTES if limit is None else limit
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise PruningError(f"The file cannot be read: {error.strerror}.") from error
    if size > most:
        raise PruningError(f"The file has {size >> 20} MB; at most {most >> 20} MB are accepted.")
    if start.startswith(b"PK\x03\x04"):
        return _read_zip(path, most)
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if start[:1] == b"\x80":
        _check_old_form(path, size)
        return _load(path, mmap=False)
    raise PruningError(f"The file is no safetensors, .pt or .npz file: {SAVE}.")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MAX_HEADER:
            raise PruningError(
                f"The header of the safetensors file has {length:,} bytes; at most "
                f"{MAX_HEADER:,} are accepted."
            )
        header = file.read(length)
    try:
        count = len(json.loads(header))
    except (ValueError, RecursionError, TypeError) as error:
        raise PruningError("The header of the safetensors file is damaged.") from error
    _check_count(count)
    try:
        with safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError) as error:
        raise PruningError(
            f"The safetensors file is damaged ({_short(error)}): save it again."
        ) from error


def _check_count(tensors: int) -> None:
    if tensors > MAX_TENSORS:
        raise PruningError(
            f"The file has {tensors:,} tensors; at most {MAX_TENSORS:,} are accepted."
        )


def _read_zip(path: Path, most: int) -> Mapping[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_count(len(entries))
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > most:
                raise PruningError(
                    f"Unpacked, the file has {unpacked >> 20:,} MB; at most {most >> 20} MB "
                    "are accepted."
                )
            pickles = [entry for entry in entries if entry.filename.split("/")[-1] == "data.pkl"]
            if not pickles:
                return _read_npz(archive, entries)
            _check_archive(path, archive, entries, pickles)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError, RuntimeError) as error:
        if isinstance(error, PruningError):
            raise
        raise PruningError(f"The file is damaged ({_short(error)}): save it again.") from error
    return _load(path)


def _check_archive(
    path: Path,
    archive: zipfile.ZipFile,
    entries: list[zipfile.ZipInfo],
    pickles: list[zipfile.ZipInfo],
) -> None:
    """Raises PruningError for an archive that torch.save does not write."""
    if any(entry.filename.endswith("constants.pkl") for entry in entries):
        raise PruningError(f"The file is a TorchScript program, which is not run here: {SAVE}.")
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise PruningError(
            "The archive is compressed, or its parts overlap; torch.save does not write such files."
        )
    if len(pickles) > 1 or pickles[0].file_size > MAX_HEADER:
        raise PruningError(f"The file has more than a state_dict's list of tensors: {SAVE}.")
    _check_pickle(archive.read(pickles[0]))


def _check_pickle(content: bytes) -> None:
    """Raises PruningError for a pickle that would allocate memory by itself."""
    for operation, argument, _ in pickletools.genops(content):
        _check_operation(operation.name, argument)


def _check_operation(operation: str, argument: Any) -> None:
    name = str(argument).split()[-1] if operation == "GLOBAL" else ""
    if name in CONSTRUCTORS:
        raise PruningError(f"The file builds tensors by itself: {SAVE}.")
    if name in SPARSE:
        raise PruningError("The file holds sparse tensors: save them by to_dense().")


def _check_old_form(path: Path, size: int) -> None:
    """Raises PruningError where a file of before PyTorch 1.6 names more numbers than it has bytes.

    It starts with four pickles; the last holds the numbers of elements, in front of BINPERSID.
    """
    number = 0
    total = 0
    try:
        with path.open("rb") as file:
            for _ in range(4):
                for operation, argument, _ in pickletools.genops(file):
                    _check_operation(operation.name, argument)
                    if isinstance(argument, int) and operation.name in NUMBERS:
                        number = argument
                    total += number * (operation.name == "BINPERSID")
                    if total > size:
                        raise PruningError(
                            f"The file has {size:,} bytes and names tensors of {total:,} numbers."
                        )
    except (ValueError, EOFError, LookupError) as error:
        if isinstance(error, PruningError):
            raise
        raise PruningError(f"The file is damaged ({_short(error)}): save it again.") from error


def _load(path: Path, *, mmap: bool = True) -> Mapping[str, Any]:
    try:
        given = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        match = UNSUPPORTED.search(str(error))
        content = f"Python objects ({match[1]})" if match else "Python objects"
        raise PruningError(
            f"The file holds {content}, which are not loaded because they could run code: {SAVE}."
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise PruningError(f"The file is damaged ({_short(error)}): save it again.") from error
    if isinstance(given, nn.Module) or not isinstance(given, Mapping):
        raise PruningError(f"The file holds {kind_text(type(given))}, no state_dict: {SAVE}.")
    return given


def _read_npz(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> dict[str, Tensor]:
    """Arrays of numbers; others, such as the plan's text, are left out."""
    arrays = {}
    for entry in entries:
        name, dot, ending = entry.filename.rpartition(".")
        if not dot or ending != "npy":
            raise PruningError(
                f"The zip file holds '{entry.filename[:80]}', so it is no .pt and no .npz file."
            )
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise PruningError(f"The array {name[:80]} has a header of another version.")
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if math.prod(shape) * dtype.itemsize > entry.file_size:
                raise PruningError(f"The array {name[:80]} is larger than its file.")
        if dtype.kind in "biuf" and dtype.itemsize <= 8:
            with archive.open(entry) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            own_order = np.ascontiguousarray(array, dtype.newbyteorder("="))
            arrays[name] = torch.from_numpy(own_order.reshape(shape))  # else () becomes (1,)
    return arrays


def plain_tensor(value: Any) -> Tensor | None:
    """The value where it is a tensor whose memory is all in the file, else None."""
    if type(value) not in (Tensor, nn.Parameter) or value.layout is not torch.strided:
        return None
    if value.device.type != "cpu" or value.is_quantized or value.is_complex():
        return None
    stored: int = value.untyped_storage().nbytes()
    return value.detach() if value.numel() * value.element_size() <= stored else None


def _short(error: Exception) -> str:
    return first_line(error)[:120].rstrip(". ")
