"""A task of the user's own: an object, or a function that gives the value of each sample."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pruning_core.errors import PruningError
from pruning_core.tasks.task import Task, reduced
from pruning_core.user_code import user_code

PerSample = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> one number per sample."""
FACTS = ("value_label", "higher_is_better", "low", "high", "percent", "samples", "batch_size")
"""Attributes of a function that become fields of its task."""


@dataclass(frozen=True, kw_only=True)
class FunctionTask(Task):
    """The mean of a function's value per sample. The function has a `loss` per sample.

    function: (outputs, targets) -> value of each sample. loss_function: the same for the loss,
    differentiable.
    """

    function: PerSample = field(repr=False)
    loss_function: PerSample = field(repr=False)

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """The function's loss."""
        self.no_label_smoothing(label_smoothing)
        losses = self._per_sample(self.loss_function, "loss", outputs, targets)
        return reduced(losses, reduction)

    def sample_values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The function's values."""
        return self._per_sample(self.function, "value", outputs, targets)

    def try_functions(self, outputs: Tensor, targets: Tensor) -> None:
        """Calls the function and its loss once."""
        self.sample_values(outputs, targets)
        self.loss(outputs, targets, "none")

    def right_or_wrong(self, values: Tensor) -> bool:
        """Has each of these samples the value 0 or 1?"""
        return bool(((values == 0) | (values == 1)).all())

    def _per_sample(
        self, function: PerSample, what: str, outputs: Tensor, targets: Tensor
    ) -> Tensor:
        with user_code(f"The {what} of the task {self.name}"):
            given: Any = function(outputs, targets)
        if not isinstance(given, Tensor) or given.shape != outputs.shape[:1]:
            got = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
            mean = isinstance(given, Tensor) and not given.ndim
            hint = " Losses of torch give one with reduction='none'." if mean else ""
            raise PruningError(
                f"The {what} of the task {self.name} must be a tensor with one number per sample, "
                f"so of shape ({len(outputs)},), not {got}." + hint
            )
        return given


def task_from(target: Any, name: str) -> Task:
    """The task that an object is: a Task as it is, or a function, made one.

    name: of the object, for messages. A function states its loss as the attribute `loss`, and may
    state `FACTS`. Raises PruningError for anything else.
    """
    if isinstance(target, Task):
        return target
    loss = getattr(target, "loss", None)
    if isinstance(target, type) or not callable(target):
        raise PruningError(
            f"The task {name} is neither a Task nor a function (outputs, targets) -> value of "
            "each sample."
        )
    if not callable(loss):
        raise PruningError(
            f"The task {name} has no loss: set {name.rpartition(':')[2]}.loss to a function "
            "(outputs, targets) -> loss of each sample."
        )
    facts = {fact: getattr(target, fact) for fact in FACTS if hasattr(target, fact)}
    label = name.rpartition(":")[2].replace("_", " ")
    described = {"label": label, "value_label": label, "help": "A function of your own."}
    return FunctionTask(name=name, function=target, loss_function=loss, **described | facts)
