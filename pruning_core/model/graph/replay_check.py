"""Makes the replay of a model and proves on one input that it gives the model's own bits."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import Node
from torch.utils._pytree import tree_leaves

from pruning_core.errors import first_line
from pruning_core.model.graph.calls import record
from pruning_core.model.graph.cuts import call_order, own_writes
from pruning_core.model.graph.program import Values
from pruning_core.model.graph.replay import ERRORS, Replay, replay
from pruning_core.model.model_io import call, map_tensors, require_logits
from pruning_core.types import Inputs


def checked_replay(
    root: nn.Module,
    x: Inputs,
    wanted: Tensor,
    outputs: Callable[[Any], Tensor] = require_logits,
) -> Replay | str:
    """The replay of a model, or the reason why its passes must be computed in full.

    It is used only if the state at every cut gives the next state, and the last one `wanted`, the
    outputs that are judged, bit for bit. Before this, the modules compute another input, so that a
    value which a module keeps for another module is seen to be the wrong one.
    """
    other = map_tensors(x, _changed)
    with torch.no_grad():  # as for a trace: in another mode, torch may choose another kernel
        try:
            first = record(root, map_tensors(x, torch.clone), outputs)
            second = record(root, map_tensors(other, torch.clone), outputs)
        except ERRORS as error:
            return f"its calls cannot be recorded: {first_line(error)}"
        if own_writes(root, (first, second)):
            return "it writes over its own parameters or buffers"
        program = replay(root, x, call_order(root, (first, second)), outputs)
        if not program.order.cuts:
            return "no module with weights is called the same way for every input"
        try:
            return _problem(program, x, other, wanted) or program
        except ERRORS as error:
            return f"it cannot be computed from the middle on: {first_line(error)}"


def _problem(program: Replay, x: Inputs, other: Inputs, wanted: Tensor) -> str | None:
    steps = tuple(program.steps)
    kept = program.run(program.stages(steps, steps), program.start(map_tensors(x, torch.clone)))
    if not torch.equal(kept[program.result], wanted):
        return "it gives other logits for the same input"
    program.outputs(call(program.root, map_tensors(other, torch.clone)))
    for before, node in zip(steps[-2::-1], steps[:0:-1], strict=True):
        values: Values = {before: kept[before]}
        value = program.run(program.stages((node,), (node,)), values)[node]
        if not _same(value, kept[node]):
            return f"it gives other values from {_place(program, before)} on"
    return None


def _place(program: Replay, node: Node) -> str:
    return program.order.calls[program.order.cuts[program.steps[node]].call].path


def _same(one: Any, other: Any) -> bool:
    """Are all tensors in the two values equal, bit for bit, and all else equal?"""
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return all(
        torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b
        for a, b in pairs
    )


def _changed(tensor: Tensor) -> Tensor:
    """Another valid input: rolled along its last axis, numbers with the other sign."""
    if not tensor.dim():
        return tensor.clone()
    moved = tensor.roll(1, -1)
    return -moved if tensor.is_floating_point() else moved
