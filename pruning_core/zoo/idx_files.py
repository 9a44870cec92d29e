"""Files in the format of MNIST: four bytes of type, the sizes, the values.

torchvision reads them too, but takes over a second to import.
"""

from math import prod
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

BYTES = 8
"""The type of unsigned bytes."""


def read_idx(path: Path, axes: int) -> UInt8[Tensor, "..."]:
    """The bytes of a file with `axes` axes. Raises ValueError where it holds something else."""
    raw = np.fromfile(path, np.uint8)
    start = 4 + 4 * axes
    if raw[:4].tolist() != [0, 0, BYTES, axes] or len(raw) < start:
        raise ValueError(f"{path.name} does not begin as such a file")
    sizes = raw[4:start].view(">u4").tolist()
    if len(raw) != start + prod(sizes):
        raise ValueError(f"{path.name} does not end after {prod(sizes)} values")
    return torch.from_numpy(raw[start:]).view(sizes)


def labelled_images(
    images: Path, labels: Path
) -> tuple[UInt8[Tensor, "n h w"], UInt8[Tensor, " n"]]:
    """The images of one file, and their classes of the other one. Raises ValueError as read_idx."""
    x = read_idx(images, 3)
    y = read_idx(labels, 1)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} images have {len(y)} classes")
    return x, y
