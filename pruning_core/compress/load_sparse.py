"""Restores the network in a sparse file of Pruning Explorer, bit for bit.

As a module: model.load_state_dict(load_sparse("sparse.safetensors"))
As a command: python load_sparse.py sparse.safetensors dense.safetensors
"""

import hashlib
import json
import lzma
import sys
from pathlib import Path

import torch
from safetensors.torch import load, save_file


def load_sparse(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of the file by name: a state_dict. They are checked against their SHA-256."""
    header, state = restored(Path(path).read_bytes())
    if digest(state) != header["sha256"]:
        raise ValueError("the file is damaged: its tensors do not have the hash in it")
    return state


def restored(content: bytes) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """The texts in the header of a file, and its tensors, not checked."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    parts = {key: bytearray(part.numpy().tobytes()) for key, part in load(content).items()}
    if header["compression"] == "lzma":
        parts = {key: bytearray(lzma.decompress(part)) for key, part in parts.items()}
    read = {key: torch.frombuffer(part, dtype=torch.uint8) for key, part in parts.items() if part}
    bits = read.get("bitmap", torch.zeros(0, dtype=torch.uint8))
    bits = (bits[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).bool().reshape(-1)
    planes = {key: read[key].view(int(key[6:]), -1) for key in read if key.startswith("bytes.")}
    values = {key: bytes_first.T.contiguous() for key, bytes_first in planes.items()}
    state: dict[str, torch.Tensor] = {}
    for name, dtype, shape, stored in json.loads(parts["index"]):
        if isinstance(stored, list):  # a second name of the same tensor
            state[name] = state[stored[0]]
            continue
        tensor = state[name] = torch.zeros(shape, dtype=getattr(torch, dtype))
        keep = torch.ones(tensor.numel(), dtype=torch.bool)
        if stored == "masked":
            keep, bits = bits[: len(keep)], bits[len(keep) :]
        key, count = f"bytes.{tensor.element_size()}", int(keep.sum())
        if count:
            taken, values[key] = values[key][:count], values[key][count:]
            tensor.view(-1)[keep] = taken.reshape(-1).view(tensor.dtype)
    return header, state


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the bytes of all tensors in order, in hexadecimal."""
    flat = [tensor.detach().cpu().contiguous().reshape(-1) for tensor in tensors.values()]
    content = b"".join(part.view(torch.uint8).numpy().tobytes() for part in flat if len(part))
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    save_file(load_sparse(sys.argv[1]), sys.argv[2])
