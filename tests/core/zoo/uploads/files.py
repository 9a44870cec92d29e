"""Uploaded files for tests: checkpoints of a tiny network, and zips of tiny images."""

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.uploads import InputTransform

TRANSFORM = InputTransform(3, 8, 8, 8, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def network(classes: int = 3, architecture: str = "vgg", seed: int = 0) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return ARCHITECTURES[architecture].build(TRANSFORM.shape, classes).eval()


def pt(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def old_pt(content: Any) -> bytes:
    """A file of the form before PyTorch 1.6."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def named(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def png(colour: tuple[int, int, int], size: tuple[int, int] = (9, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)  # always the same bytes
    return buffer.getvalue()


def flowers(n: int = 5, folder: str = "flowers/", classes: str = "abc") -> dict[str, bytes]:
    """n images of each class."""
    return {
        f"{folder}{name}/{i}.png": png((60 * k, 20 * i, 100))
        for k, name in enumerate(classes)
        for i in range(n)
    }


def bomb() -> bytes:
    """A .pt file whose entry unpacks to more than the budget."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}.")
        archive.writestr("x/data/0", b"\0" * 5000)
    return buffer.getvalue()


def lying_header() -> bytes:
    """A safetensors file whose header names more bytes than the file has."""
    header = b'{"0.weight":{"dtype":"F32","shape":[1048576],"data_offsets":[0,4194304]}}'
    return struct.pack("<Q", len(header)) + header + bytes(64)
