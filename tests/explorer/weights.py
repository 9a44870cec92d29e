"""A hash of a network's weights, to show that nothing changes the base model."""

import hashlib

from pruning_core.workspaces import Workspace


def weights_hash(space: Workspace) -> str:
    """SHA-256 over the names and bytes of the base model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in space.model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
