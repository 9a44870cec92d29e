"""What one may not expect of a network: calls that differ, and outputs that nothing reads."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pruning_core.model.inventory import answers
from pruning_core.tasks import Task


def notes_on_buffers(changed: Sequence[str]) -> tuple[str, ...]:
    """A note where a call changes buffers."""
    if not changed:
        return ()
    return (
        f"The network changes its buffers when it is called ({', '.join(changed[:3])}). Here every "
        "call in evaluation mode starts with their stored values.",
    )


def notes_on_outputs(out: Any, task: Task) -> tuple[str, ...]:
    """A note where there are several outputs: the task may not read all."""
    given = len(answers(out))
    if given <= 1:
        return ()
    return (
        f"The network gives {given} outputs. Weights that lead only to those that the task "
        f"{task.name} does not read have no influence on the loss: criteria that read gradients "
        "remove them first.",
    )


def notes_on_chance(first: Tensor, again: Tensor) -> tuple[str, ...]:
    """A note where two calls for the same samples gave different outputs."""
    if first.shape == again.shape and torch.allclose(first, again, rtol=1e-5, equal_nan=True):
        return ()
    apart = float((first - again).abs().max()) if first.shape == again.shape else float("inf")
    return (
        f"The network gives other outputs each time for the same samples, {apart:.2g} apart at the "
        "most. Differences between results that are not larger than this chance mean nothing.",
    )
