"""Arrays as bytes for the browser; unpacking.js reads them.

u32 length | JSON head | the parts that the head lists; little-endian.
"""

import hashlib
import json
from typing import Any

import numpy as np

EXACT_CELLS = 1 << 16
"""Up to this many cells are float32; more are half precision (three digits)."""
TYPES = {"uint8": "u1", "int32": "i4", "uint32": "u4", "float32": "f4", "float16": "f2"}


def packed(head: dict[str, Any], parts: dict[str, np.ndarray]) -> tuple[bytes, str]:
    """The bytes, and their id: a hash of the content."""
    body = b"".join(part.tobytes() for part in parts.values())
    head = head | {
        "parts": [[name, TYPES[part.dtype.name], part.size] for name, part in parts.items()]
    }
    name = hashlib.sha256(json.dumps(head).encode() + body).hexdigest()[:16]
    text = json.dumps(head | {"id": name}).encode()
    return len(text).to_bytes(4, "little") + text + body, name


def scaled(name: str, numbers: np.ndarray, cells: int) -> dict[str, np.ndarray]:
    """Numbers in the precision for this number of cells.

    Half precision is relative to the largest magnitude, so that it keeps its digits.
    """
    finite = np.where(np.isfinite(numbers), numbers, 0).astype(np.float32)
    if cells <= EXACT_CELLS:
        return {name: finite.ravel(), f"{name}Scale": np.ones(1, np.float32)}
    scale = np.float32(np.abs(finite).max(initial=0)) or np.float32(1)
    return {
        name: (finite / scale).astype(np.float16).ravel(),
        f"{name}Scale": np.array([scale], np.float32),
    }
