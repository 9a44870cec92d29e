"""Lines of plain PyTorch that compute a task's value, for exported scripts."""

from dataclasses import dataclass

from pruning_core.tasks import (
    Binary,
    Classification,
    FunctionTask,
    Labels,
    LanguageModel,
    Regression,
    Segmentation,
    Task,
    TokenAgreement,
)
from pruning_core.types import Evaluation, PruningError
from pruning_core.user_code import OBJECT_PATH


@dataclass(frozen=True)
class TaskLines:
    """Lines of a script around its loop over batches.

    imports: of the user's task; start: before the loop; answers: the expression for the dense
    network's answers, as targets, in its output `out`; add: in the loop, with the judged outputs
    `out` and the targets `y`; value: the expression for the value; count: of the samples, an
    expression; right: the expression for the number of right samples, "" where there is none.
    """

    start: str
    add: str
    value: str
    count: str = "n"
    right: str = ""
    answers: str = ""
    imports: str = ""


def value_line(measured: Evaluation) -> str:
    """The line that an exported script prints: the value, and on how many samples."""
    task = measured.task
    right = f"{round(measured.value * measured.n)} of " if task.binary else ""
    return f"{task.value_label} {measured.value:.6f} ({right}{measured.n} {task.samples})"


def task_lines(task: Task, path: str) -> TaskLines:
    """The lines for a task. path: package.module:object of a task of the user's.

    Raises PruningError for a task of the user's without a path.
    """
    for kind, make in _MAKERS:
        if type(task) is kind:
            return make(task)
    if not OBJECT_PATH.fullmatch(path):
        raise PruningError(
            f"There is no script for the task '{task.name}': name it package.module:object, so "
            "that a script can import it."
        )
    return (_function if isinstance(task, FunctionTask) else _imported)(path)


def _classification(task: Task) -> TaskLines:
    assert isinstance(task, Classification)
    return TaskLines(
        start="right = n = 0",
        add=f"""\
known = y != {task.ignore_index}
right += int(((out.argmax(1) == y) & known).sum())
n += int(known.sum())""",
        value="right / n",
        right="right",
        answers="out.argmax(1)",
    )


def _labels(task: Task) -> TaskLines:
    assert isinstance(task, Labels)
    add = f"""\
rows = y.reshape(len(y), -1)
known = rows != {task.ignore_index}
right += int((((out.reshape(len(y), -1) > 0) == (rows == 1)) & known).sum())"""
    return TaskLines(
        start="right = labels = n = 0",
        add=f"{add}\nlabels += int(known.sum())\nn += int(known.any(1).sum())",
        value="right / labels",
        right="right" if isinstance(task, Binary) else "",
        answers="(out > 0).long()",
    )


def _segmentation(task: Task) -> TaskLines:
    assert isinstance(task, Segmentation)
    return TaskLines(
        start="intersection = union = n = 0",
        add=f"""\
classes = torch.arange(out.shape[1]).view(1, -1, 1)
known = (y != {task.ignore_index}).flatten(1)[:, None]
predicted = (out.argmax(1).flatten(1)[:, None] == classes) & known
true = (y.flatten(1)[:, None] == classes) & known
intersection = intersection + (predicted & true).sum((0, 2))
union = union + (predicted | true).sum((0, 2))
n += int(known.any(2).sum())""",
        value="float((intersection / union)[union > 0].double().mean())",
        answers="out.argmax(1)",
    )


def _regression(task: Task) -> TaskLines:
    return TaskLines(
        start="squares = numbers = n = 0",
        add="""\
errors = out.double().reshape(len(y), -1) - y.double().reshape(len(y), -1)
squares += float(errors.square().sum())
numbers += errors.numel()
n += len(y)""",
        value="(squares / numbers) ** 0.5",
        answers="out",
    )


def _language_model(task: Task) -> TaskLines:
    assert isinstance(task, LanguageModel)
    return TaskLines(
        start="nats = tokens = n = 0",
        add=_aligned(task)
        + f"""
losses = torch.nn.functional.cross_entropy(
    out.transpose(1, 2).float(), y.long(), ignore_index={task.ignore_index}, reduction="none"
)
nats += float(losses.double().sum())
tokens += int((y != {task.ignore_index}).sum())
n += int((y != {task.ignore_index}).any(1).sum())""",
        value="math.exp(nats / tokens)",
    )


def _token_agreement(task: Task) -> TaskLines:
    assert isinstance(task, TokenAgreement)
    return TaskLines(
        start="right = tokens = n = 0",
        add=_aligned(task)
        + f"""
known = y != {task.ignore_index}
right += int(((out.argmax(2) == y) & known).sum())
tokens += int(known.sum())
n += int(known.any(1).sum())""",
        value="right / tokens",
        answers="out.argmax(2)",
    )


def _aligned(task: LanguageModel) -> str:
    """An output is judged by the token after it, or by its own target."""
    return "out, y = out[:, :-1], y[:, 1:]" if task.shift else "out, y = out, y"


def _function(path: str) -> TaskLines:
    return TaskLines(
        start="values = 0.0\nn = 0",
        add="values += float(value_of_samples(out, y).double().sum())\nn += len(y)",
        value="values / n",
        imports=_import_line(path, "value_of_samples"),
    )


def _imported(path: str) -> TaskLines:
    """A task object of the user's own computes the value itself."""
    return TaskLines(
        start="parts = []\nn = 0",
        add="parts.append(task.measure(out, y))\nn += len(y)",
        value="task.summarise({k: torch.cat([p[k] for p in parts]) for k in parts[0]}).value",
        imports=_import_line(path, "task"),
    )


def _import_line(path: str, alias: str) -> str:
    """Lines that make `alias` the object at package.module:name."""
    module, _, names = path.partition(":")
    first, dot, rest = names.partition(".")
    line = f"from {module} import {first} as {alias}"
    return f"{line}\n{alias} = {alias}.{rest}" if dot else line


_MAKERS = (
    (Classification, _classification),
    (Binary, _labels),
    (Labels, _labels),
    (Segmentation, _segmentation),
    (Regression, _regression),
    (LanguageModel, _language_model),
    (TokenAgreement, _token_agreement),
)
