"""The value of a model on a split, by the task: of a classifier its accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.model.device import choose_device, on_device
from pruning_core.model.model_io import call, copy_model, to_device
from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.tasks.task import Evaluation, Parts, Task, joined, with_count
from pruning_core.types import Dataset, PruningError, Split


@dataclass(frozen=True)
class Judge:
    """Measures what a model gives for a batch, by the task.

    outputs: the logits that stand for the classes; None for all. read: what it gets is not the
    model's output but `Task.outputs` of it, as a `Program` gives it.
    """

    task: Task = CLASSIFICATION
    outputs: tuple[int, ...] | None = None
    read: bool = False

    @classmethod
    def of(cls, dataset: Dataset) -> "Judge":
        """The judge of a data set."""
        return cls(dataset.task, dataset.outputs)

    def judged(self, out: Any) -> Tensor:
        """The part of the model's output that is judged."""
        tensor = out if self.read else self.task.outputs(out)
        return tensor if self.outputs is None else tensor[:, list(self.outputs)]

    @torch.inference_mode()
    def parts(self, out: Any, targets: Tensor) -> dict[str, Tensor]:
        """What is kept of a batch (`Task.measure`)."""
        outputs = self.judged(out)
        return self.task.measure(outputs, targets.to(outputs.device))

    def loss(self, out: Any, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss of a batch, differentiable. Raises PruningError for other targets."""
        outputs = self.judged(out)
        self.task.check(outputs, targets)
        return self.task.loss(outputs, targets.to(outputs.device), label_smoothing=label_smoothing)

    @torch.inference_mode()
    def similarity(self, out: Any, targets: Tensor) -> dict[str, Tensor]:
        """Numbers of each sample of a batch by which similar samples are neighbours."""
        outputs = self.judged(out)
        return self.task.similarity(outputs, targets.to(outputs.device))

    def statistics(self, parts: Sequence[Parts]) -> dict[str, Tensor]:
        """What the task's value reads of each sample of all batches, with their "count"."""
        own = joined(parts)
        return with_count(
            {name: own[name] for name in (*self.task.statistics, "count") if name in own}
        )

    def evaluate(
        self,
        model: nn.Module,
        split: Split,
        device: torch.device | str | None = None,
        batch_size: int | None = None,
    ) -> Evaluation:
        """As the function `evaluate`."""
        if not len(split):
            raise PruningError(f"There are no {self.task.samples} to evaluate on.")
        where = choose_device(device)
        # A copy, because a network may change its buffers or keep values when it is called.
        placed = on_device(copy_model(model, model.parameters()), where)
        with torch.inference_mode():
            parts = [
                self.parts(call(placed, to_device(x, where)), y)
                for x, y in split.batches(batch_size or self.task.batch_size)
            ]
        return self.summarise(parts)

    def summarise(self, parts: Sequence[Parts]) -> Evaluation:
        """The evaluation of all batches."""
        return self.task.summarise(joined(parts))


def evaluate(
    model: nn.Module,
    split: Split | Dataset,
    *,
    task: Task | None = None,
    outputs: Sequence[int] | None = None,
    device: torch.device | str | None = None,
    batch_size: int | None = None,
) -> Evaluation:
    """The task's value of the model on all samples of a split, and its loss.

    split: a data set stands for its test split, its task and its outputs; a split alone is one of
    classification, unless `task` says more. The model is not changed. outputs: the logits that
    stand for the classes (None = all logits). batch_size: the task's own where it is left out.
    Raises PruningError for an empty split, for targets that do not fit the model's outputs, and for
    outputs that are not finite.

    >>> from pruning_core import open_workspace
    >>> space = open_workspace("lenet5", "digits")
    >>> measured = evaluate(space.model, space.dataset)
    >>> measured.n, measured.value > 0.9
    (359, True)
    """
    judge = Judge()
    if isinstance(split, Dataset):
        judge = Judge.of(split)
        split = split.test
    judge = Judge(task or judge.task, judge.outputs if outputs is None else tuple(outputs))
    return judge.evaluate(model, split, device, batch_size)


def summarise(outputs: Tensor, targets: Tensor, task: Task = CLASSIFICATION) -> Evaluation:
    """The evaluation of outputs against targets. Raises PruningError as `evaluate`."""
    judge = Judge(task)
    return judge.summarise([judge.parts(outputs, targets)])
