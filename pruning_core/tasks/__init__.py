"""What is the network for? Every task: its loss, and a value on a split."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from pruning_core.registry import find
from pruning_core.tasks.change import Change, change
from pruning_core.tasks.classification import CLASSIFICATION, Classification
from pruning_core.tasks.custom import FunctionTask, task_from
from pruning_core.tasks.labels import Binary, Labels
from pruning_core.tasks.positions import LanguageModel, Segmentation, TokenAgreement
from pruning_core.tasks.regression import Regression
from pruning_core.tasks.task import ClassAnswers, Evaluation, Parts, Task, joined
from pruning_core.user_code import import_object

__all__ = [
    "CLASSIFICATION",
    "TASKS",
    "Binary",
    "Change",
    "ClassAnswers",
    "Classification",
    "Evaluation",
    "FunctionTask",
    "Labels",
    "LanguageModel",
    "Parts",
    "Regression",
    "Segmentation",
    "Task",
    "TokenAgreement",
    "as_task",
    "change",
    "find_task",
    "joined",
]

AGREEMENT: dict[str, Any] = {
    "value_label": "agreement with the dense network",
    "axis_label": "",
    "short_label": "agreement",
    "help": "The dense network's own answers are the targets: no labels are needed.",
    "dense_answers": True,
}
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        CLASSIFICATION,
        Binary(),
        Labels(),
        Segmentation(),
        Regression(),
        LanguageModel(),
        replace(
            LanguageModel(),
            name="next_token",
            label="Language modelling, targets given",
            help="As language modelling; every position has its own target.",
            shift=False,
        ),
        Classification(name="agreement", label="Agreement with the dense network", **AGREEMENT),
        Segmentation(
            name="segmentation_agreement",
            label="Agreement of pixels with the dense network",
            **AGREEMENT | {"value_label": "mean IoU with the dense network"},
        ),
        Regression(
            name="regression_agreement",
            label="Distance from the dense network",
            **AGREEMENT
            | {"value_label": "RMSE from the dense network", "short_label": "RMSE from dense"},
        ),
        TokenAgreement(),
    )
}
"""A new task: a frozen dataclass on `Task`, and one entry here."""


def find_task(name: str) -> Task:
    """The task of that name. "package.module:object" imports one of the user's own.

    Raises PruningError for an unknown name, and as `custom.task_from`.

    >>> find_task("language_model").value_label
    'perplexity'
    """
    if ":" in name:
        return task_from(import_object(name, "task"), name)
    return find(TASKS, name, "task")


def as_task(given: str | Task | Callable[[Tensor, Tensor], Tensor]) -> Task:
    """The task that a name, a task or a function means. Raises PruningError as `find_task`."""
    if isinstance(given, str):
        return find_task(given)
    name = getattr(given, "__qualname__", type(given).__name__)
    return task_from(given, f"{getattr(given, '__module__', '')}:{name}")
