"""The script load_sparse.py, which reads a sparse file with torch and safetensors alone."""

LOADER = '''\
"""Restores the network in a sparse file of Pruning Explorer, bit for bit.

Use it as a module:
    model.load_state_dict(load_sparse("sparse.safetensors"))
or convert the file: python load_sparse.py sparse.safetensors dense.safetensors
"""

import hashlib
import json
import lzma
import sys
from pathlib import Path

import torch
from safetensors.torch import load, save_file


def load_sparse(path):
    """The tensors of the file by name: a state_dict. They are checked against their SHA-256."""
    content = Path(path).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    parts = {key: part.numpy().tobytes() for key, part in load(content).items()}
    if header["compression"] == "lzma":
        parts = {key: lzma.decompress(part) for key, part in parts.items()}
    parts = {key: bytearray(part) for key, part in parts.items()}
    read = {key: torch.frombuffer(part, dtype=torch.uint8) for key, part in parts.items() if part}
    bits = read.get("bitmap", torch.zeros(0, dtype=torch.uint8))
    bits = (bits[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).bool().reshape(-1)
    values = {key: read[key].view(int(key[6:]), -1).T for key in read if key.startswith("bytes.")}
    state, hashed = {}, hashlib.sha256()
    for name, dtype, shape, stored in json.loads(bytes(parts["index"])):
        if isinstance(stored, list):  # a second name of the same tensor
            state[name] = state[stored[0]]
        else:
            tensor = state[name] = torch.zeros(shape, dtype=getattr(torch, dtype))
            keep = torch.ones(tensor.numel(), dtype=torch.bool)
            if stored == "masked":
                keep, bits = bits[: len(keep)], bits[len(keep) :]
            key, count = f"bytes.{tensor.element_size()}", int(keep.sum())
            if count:
                taken, values[key] = values[key][:count], values[key][count:]
                tensor.view(-1)[keep] = taken.reshape(-1).view(tensor.dtype)
        if state[name].numel():
            hashed.update(state[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    if hashed.hexdigest() != header["sha256"]:
        raise ValueError("the file is damaged: its tensors do not have the hash in it")
    return state


if __name__ == "__main__":
    save_file(load_sparse(sys.argv[1]), sys.argv[2])
'''
