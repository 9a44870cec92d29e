"""What a run keeps in files: masks, weights and answers as safetensors, curves as JSON."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pruning_core.export.report import evaluations_by_state
from pruning_core.export.weights import weights_safetensors
from pruning_core.tasks import TASKS, ClassAnswers
from pruning_core.types import (
    Epoch,
    Evaluation,
    Finished,
    GivenMasks,
    PruningError,
    Step,
)

MASKS = "masks"
START_MASKS = "start_masks"
ANSWERS = "answers"
WEIGHTS = "weights"
CURVES = "curves"
LARGEST_WEIGHTS = 1 << 28
"""Most bytes of weights that are kept: 256 MiB."""
MOST_STEPS = 1500
"""Most points of the curve of the batch loss; each is a mean of several steps."""
SHAPE = ":shape"


def pack_masks(masks: GivenMasks) -> bytes:
    """Masks with one bit per weight. Beside each tensor "name" is its shape, "name:shape"."""
    tensors = {}
    for name, mask in masks.items():
        bits = np.packbits(torch.as_tensor(mask).cpu().bool().numpy())
        tensors[name] = torch.from_numpy(bits)
        tensors[name + SHAPE] = torch.tensor(mask.shape, dtype=torch.int64)
    return save(tensors)


def unpack_masks(content: bytes) -> dict[str, Tensor]:
    """The masks, True = keep. Raises PruningError for bytes that are no masks."""
    tensors = _loaded(content, "masks")
    masks = {}
    for name, bits in tensors.items():
        if name.endswith(SHAPE):
            continue
        shape = [int(size) for size in tensors.get(name + SHAPE, torch.tensor([-1])).flatten()]
        count = math.prod(shape)
        fits = bits.dtype == torch.uint8 and min(shape) >= 0 and len(bits) == -(-count // 8)
        if not fits or bits.ndim != 1:
            raise PruningError("The masks of a run in the history are damaged.")
        mask = np.unpackbits(bits.numpy(), count=count).astype(bool)
        masks[name] = torch.from_numpy(mask).view(shape)
    return masks


def pack_answers(measured: Mapping[str, Evaluation]) -> bytes:
    """What paired comparisons need, by the state of the network: each sample's value or
    statistics, and the predicted classes.
    """
    tensors: dict[str, Tensor] = {}
    for state, evaluation in measured.items():
        if evaluation.task.binary:
            tensors[f"{state}/values"] = evaluation.values.to(torch.uint8)
        else:
            tensors |= {f"{state}/{name}": part for name, part in evaluation.statistics.items()}
        if evaluation.classes is not None:
            tensors[f"{state}/classes"] = evaluation.classes.predictions.to(torch.int32)
    return save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})


def unpack_answers(content: bytes, task: str) -> dict[str, Evaluation]:
    """The evaluations by state, as far as comparisons need them. None of a task of the user's.

    Raises PruningError for bytes that are no answers of this task.
    """
    if task not in TASKS:
        return {}
    own = TASKS[task]
    states: dict[str, dict[str, Tensor]] = {}
    for name, tensor in _loaded(content, "answers").items():
        state, _, part = name.partition("/")
        states.setdefault(state, {})[part] = tensor
    try:
        return {state: _evaluation(parts, own) for state, parts in states.items()}
    except (KeyError, RuntimeError, StopIteration, IndexError) as error:
        raise PruningError("The answers of a run in the history are damaged.") from error


def _evaluation(parts: dict[str, Tensor], task: Any) -> Evaluation:
    predictions = parts.pop("classes", None)
    if task.binary:
        values = parts["values"].double()
        value = float(values.mean())
    else:
        values = parts["count"].double()
        value = float(task.value_of({name: p.sum(0, keepdim=True) for name, p in parts.items()}))
    classes = None
    if predictions is not None:
        classes = ClassAnswers((), torch.zeros(0, 0, dtype=torch.int64), predictions.long())
    none = (-math.inf, math.inf)
    return Evaluation(len(values), value, math.nan, none, values, task, {}, classes, parts)


@dataclass(frozen=True)
class Curves:
    """The curves of a training over the epochs of all its parts.

    steps: (epochs done, loss of the batches); epochs: (epoch, training loss, validation loss,
    value, low, high, is it the best); updates: (epochs done before a mask update, the value after
    it).
    """

    steps: tuple[tuple[float, ...], ...] = ()
    epochs: tuple[tuple[float, ...], ...] = ()
    updates: tuple[tuple[float, ...], ...] = ()


def curves_of(
    events: Iterable[object],
    updates: Sequence[tuple[int, float]] = (),
) -> Curves:
    """The curves of Step and Epoch events; other events are ignored. Epochs are counted over all
    trainings. updates: the optimizer steps before each mask update, and the value after it.
    """
    steps: list[tuple[float, float]] = []
    per_epoch = 1
    epochs: list[tuple[float, ...]] = []
    for event in events:
        if isinstance(event, Step):
            steps.append((len(steps) + 1.0, event.loss))
            per_epoch = event.steps
        elif isinstance(event, Epoch):
            own = event.evaluation
            number = len(epochs) + 1.0
            epochs.append(
                (number, event.train_loss, own.loss, own.value, *own.interval, float(event.best))
            )
    scaled = [(done / per_epoch, loss) for done, loss in _means(steps)]
    moved = ((done / per_epoch, value) for done, value in updates)
    return Curves(tuple(scaled), tuple(epochs), tuple(moved))


def _means(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    size = max(1, -(-len(points) // MOST_STEPS))
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [tuple(np.mean(part, axis=0).tolist()) for part in parts]


def pack_curves(curves: Curves) -> bytes:
    """The curves as JSON; numbers that are not finite are null."""

    def finite(row: Sequence[float]) -> list[float | None]:
        return [float(f"{x:.7g}") if math.isfinite(x) else None for x in row]

    rows = {name: [finite(row) for row in getattr(curves, name)] for name in ROWS}
    return json.dumps(rows, allow_nan=False).encode()


ROWS = {"steps": 2, "epochs": 7, "updates": 2}
"""A field of Curves -> the numbers of one row."""


def unpack_curves(content: bytes) -> Curves:
    """The curves. Raises PruningError for bytes that are no curves."""
    try:
        raw = json.loads(content)
        return Curves(
            **{name: tuple(_row(row, size) for row in raw[name]) for name, size in ROWS.items()}
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise PruningError("The curves of a run in the history are damaged.") from error


def _row(row: Any, size: int) -> tuple[float, ...]:
    if type(row) is not list or len(row) != size:
        raise ValueError(row)
    return tuple(math.nan if x is None else float(x) for x in row)


def files_of(
    finished: Finished, curves: Curves, start: GivenMasks | None = None
) -> dict[str, bytes]:
    """The files of a finished run of a plan. start: the masks that it started from."""
    files = {
        MASKS: pack_masks(finished.masks),
        ANSWERS: pack_answers(evaluations_by_state(finished)),
    }
    if curves.epochs:
        files[CURVES] = pack_curves(curves)
    if start is not None:
        files[START_MASKS] = pack_masks(start)
    size = sum(t.numel() * t.element_size() for t in finished.model.state_dict().values())
    if finished.tuned is not None and size <= LARGEST_WEIGHTS:
        files[WEIGHTS] = weights_safetensors(finished.model)
    return files


def unpack_tensors(content: bytes) -> dict[str, Tensor]:
    """Named tensors, such as weights. Raises PruningError for bytes that are no safetensors."""
    return _loaded(content, "weights")


def _loaded(content: bytes, what: str) -> dict[str, Tensor]:
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise PruningError(f"The {what} of a run in the history are damaged.") from error
