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
    """The tensors by name: a state_dict. Raises ValueError where their SHA-256 is another one."""
    header, state = restored(Path(path).read_bytes())
    if digest(state) != header["sha256"]:
        raise ValueError("the file is damaged: its tensors do not have the hash in it")
    return state


def restored(content: bytes) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """The texts in the header of a file, and its tensors, not checked."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    unpack = lzma.decompress if header["compression"] == "lzma" else bytes
    parts = {key: bytearray(unpack(part.numpy().tobytes())) for key, part in load(content).items()}
    read = {k: torch.frombuffer(v or bytearray(16), dtype=torch.uint8) for k, v in parts.items()}
    bits = (read["bitmap"][:, None] >> torch.arange(8, dtype=torch.uint8) & 1).bool().reshape(-1)
    values = {k: read[k].view(int(k[6:]), -1).T.contiguous() for k in read if k[:6] == "bytes."}
    state: dict[str, torch.Tensor] = {}
    for name, dtype, shape, stored in json.loads(parts["index"]):
        if isinstance(stored, list):  # a second name of the same tensor
            state[name] = state[stored[0]]
            continue
        tensor = state[name] = torch.zeros(shape, dtype=getattr(torch, dtype))
        keep = torch.ones(tensor.numel(), dtype=torch.bool)
        if stored != "full":
            keep, bits = bits.tensor_split([tensor.numel()])
        key = f"bytes.{tensor.element_size()}"
        size = stored if isinstance(stored, int) else int(keep.sum())
        taken, values[key] = values[key].tensor_split([size])
        if isinstance(stored, int):  # so many values, and a byte for each kept weight: which value
            codes, values["bytes.1"] = values["bytes.1"].tensor_split([int(keep.sum())])
            taken = taken[codes[:, 0].long()]
        tensor.view(-1)[keep] = taken.clone().view(-1).view(tensor.dtype)  # a clone is aligned
    return header, state


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the bytes of all tensors in order, in hexadecimal."""
    flat = [tensor.detach().cpu().contiguous().reshape(-1) for tensor in tensors.values()]
    content = b"".join(part.view(torch.uint8).numpy().tobytes() for part in flat if len(part))
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    save_file(load_sparse(sys.argv[1]), sys.argv[2])
