"""What is the network for? Every task: its loss, and a value on a split."""

from pruning_core.registry import find
from pruning_core.tasks.change import Change, change
from pruning_core.tasks.classification import CLASSIFICATION, Classification
from pruning_core.tasks.task import ClassAnswers, Evaluation, Parts, Task, joined

__all__ = [
    "CLASSIFICATION",
    "TASKS",
    "Change",
    "ClassAnswers",
    "Classification",
    "Evaluation",
    "Parts",
    "Task",
    "change",
    "find_task",
    "joined",
]

TASKS: dict[str, Task] = {task.name: task for task in (CLASSIFICATION,)}
"""A new task: a frozen dataclass on `Task`, and one entry here."""


def find_task(name: str) -> Task:
    """The task of that name. Raises PruningError for an unknown one.

    >>> find_task("classification").value_label
    'accuracy'
    """
    return find(TASKS, name, "task")
