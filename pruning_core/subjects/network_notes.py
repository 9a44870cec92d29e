"""What one may not expect of a network: calls that differ, and outputs that nothing reads."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.model.inventory import answers
from pruning_core.model.model_io import input_tensors
from pruning_core.subjects.networks import trial
from pruning_core.subjects.samples import ItemSplit, Samples
from pruning_core.tasks import Labels, LanguageModel, Task
from pruning_core.types import Inputs

SAMPLES_TRIED = 16
"""Samples whose outputs are looked at: a few logits may all be between 0 and 1 by chance."""


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


def notes_on_frozen(network: nn.Module) -> tuple[str, ...]:
    """A note where parameters are not trained (`requires_grad` is False)."""
    frozen = [name for name, own in network.named_parameters() if not own.requires_grad]
    if not frozen:
        return ()
    return (
        f"{len(frozen):,} parameters of the network are frozen, such as {frozen[0]}: they can be "
        "pruned, and training does not change them.",
    )


def notes_on_task(
    network: nn.Module, train: Samples | ItemSplit, task: Task, judged: Tensor
) -> tuple[str, ...]:
    """Notes where the network or the targets are usually made for another task.

    judged: the outputs for the first samples of train.
    """
    count = min(SAMPLES_TRIED, len(train)) if isinstance(task, Labels) else len(judged)
    x, targets = next(train.subset(range(count)).batches(count))
    notes = _notes_on_tokens(x, targets, task)
    if not task.gives_logits:
        return notes
    outputs = task.outputs(trial(network, x)) if isinstance(task, Labels) else judged
    return notes + _notes_on_probabilities(outputs, task)


def _notes_on_probabilities(outputs: Tensor, task: Task) -> tuple[str, ...]:
    """A note where the outputs are not logits, but what softmax or sigmoid makes of them."""
    if bool((outputs < 0).any()):
        return ()
    if isinstance(task, Labels):
        if bool((outputs > 1).any()):
            return ()
        return (
            f"All outputs for the first {len(outputs)} samples are between 0 and 1, and the task "
            f"{task.name} reads logits, which mean yes above 0: leave a sigmoid at the end of the "
            "network out.",
        )
    sums = outputs.sum(-1 if isinstance(task, LanguageModel) else 1)
    if not torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        return ()
    return (
        f"The network gives probabilities, which add up to 1, and the task {task.name} reads "
        "logits: leave the softmax at the end of the network out, or the loss is that of a second "
        "softmax.",
    )


def _notes_on_tokens(x: Inputs, targets: Tensor, task: Task) -> tuple[str, ...]:
    """A note where the targets of a language model are not moved once, but twice or never."""
    tokens = input_tensors(x)[0]
    if not isinstance(task, LanguageModel) or task.dense_answers or tokens.shape != targets.shape:
        return ()
    counted = targets != task.ignore_index
    same = bool((targets == tokens)[counted].all())
    moved = bool((targets[:, :-1] == tokens[:, 1:])[counted[:, :-1]].all())
    if same == moved or same == task.shift:
        return ()
    return (
        "The targets are the inputs moved by one token, and the task language_model moves them "
        "once more: choose the task next_token."
        if task.shift
        else "The targets are the inputs themselves, and the task next_token does not move them: "
        "choose the task language_model.",
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
