"""Finds parts of a network that torch.utils.checkpoint computes again in its reentrant form."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.autograd.graph import Node

from pruning_core.model.model_io import call, map_tensors, output_tensors
from pruning_core.types import Inputs, PruningError
from pruning_core.user_code import user_code


def refuse_reentrant(work: nn.Module, x: Inputs, action: str) -> None:
    """Raises PruningError where a pass fails, or where gradients would be wrong without an error.

    In such parts, weights have no gradient where no input has one, as behind the network's own
    input. x: one sample. work: a copy, whose parameters have no gradients afterwards.
    """
    for parameter in filter(torch.is_floating_point, work.parameters()):
        parameter.requires_grad_(True)
    given = map_tensors(
        x, lambda t: t.detach().clone().requires_grad_(t.is_floating_point() or t.is_complex())
    )
    with torch.enable_grad(), torch.random.fork_rng([]), user_code(action):
        out = call(work, given)
    nodes = [t.grad_fn for t in output_tensors(out) if t.grad_fn is not None]
    for parameter in work.parameters():
        parameter.requires_grad_(False)
    if _has_reentrant(nodes):
        raise PruningError(
            "The network calls torch.utils.checkpoint with use_reentrant=True, which gives some "
            "weights no gradient: set use_reentrant=False, or choose a criterion that reads no "
            "gradients."
        )


def _has_reentrant(nodes: Iterable[Node]) -> bool:
    """Is there such a part among the operations that lead to these?"""
    todo = list(nodes)
    seen = set(todo)
    while todo:
        node = todo.pop()
        if node.name() == "CheckpointFunctionBackward":
            return True
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    return False
