"""The task of the network that the pages show: their help texts use its words."""

from explorer.session import state
from explorer.texts.help import reword_with
from explorer.texts.task_words import for_task
from pruning_core.tasks import CLASSIFICATION, Task

_TASK = "task"


def use_words_of(task: Task) -> None:
    """Help texts that are drawn from now on in this session are in the words of the task."""
    state.store(_TASK, task)


reword_with(lambda text: for_task(text, state.stored(_TASK, CLASSIFICATION)))
