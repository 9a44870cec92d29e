"""Words about a task's value: its help texts, and the numbers that only some tasks have."""

from typing import Literal

from explorer.texts.formats import change_text, points, rounded_text
from explorer.texts.help import HELP
from pruning_core.tasks import CLASSIFICATION, Task
from pruning_core.types import Evaluation

ONLY_CLASSES = "{what} shown for classification only: this network's task is {task}."


def value_help(task: Task) -> str:
    """What the value is."""
    if task.name == CLASSIFICATION.name:
        return HELP["accuracy"]
    return f"{task.help} Without training after pruning. Measured now."


def interval_help(task: Task) -> str:
    """What its 95% interval is."""
    if task.binary:
        return HELP["interval"]
    return (
        "95% interval of the value, by a bootstrap over the samples. On other samples of this "
        "kind, the value would probably be in this interval."
    )


def paired_help(task: Task) -> str:
    """What the interval of a change is."""
    if task.binary:
        return HELP["paired"]
    return (
        "The change against the dense network on the same samples, with its 95% interval (paired "
        "bootstrap). If the interval contains 0, the change can be chance."
    )


def loss_help(task: Task) -> str:
    """What the loss is."""
    kind = "Mean cross-entropy in nats" if task.gives_logits else "The mean loss of training"
    return f"{kind}. Lower is better."


def loss_limit_label(task: Task) -> str:
    """The label of a number field: how much of the value may be lost."""
    unit = "points of " if task.percent else ""
    return f"Lose at most, {unit}{task.value_label}"


def only_classes(what: str, task: Task) -> str:
    """The sentence in place of a panel that only classification has. what: "Recall is"."""
    return ONLY_CLASSES.format(what=what, task=task.label.lower())


def extras_text(evaluation: Evaluation) -> str:
    """The other numbers of a task, such as "; pixel accuracy 0.914". Nothing for classification."""
    if evaluation.task.name == CLASSIFICATION.name:
        return ""
    return "".join(f"; {label} {value:.3g}" for label, value in evaluation.extras.items())


def change_words(change: float, task: Task) -> str | int:
    """A change beside a number: "-1.2 points", "+0.31", or 0 where it rounds to nothing."""
    text = change_text(change, task)
    if not float(text):
        return 0
    return f"{text}{points(task)}"


def delta_color(task: Task) -> Literal["normal", "inverse"]:
    """The colour of a rise: "normal" is green, "inverse" is red."""
    return "normal" if task.higher_is_better else "inverse"


def value_words(evaluation: Evaluation) -> str:
    """The value on a card: "91.0% correct", "mean IoU 45.2%", "perplexity 12.3"."""
    task = evaluation.task
    text = rounded_text(evaluation.value, task)
    return f"{text} correct" if task.name == CLASSIFICATION.name else f"{task.value_label} {text}"


def band_words(dense: Evaluation) -> str:
    """What a card's bar shows; nothing where a value that is no fraction has no bar."""
    text = rounded_text(dense.value, dense.task)
    if not dense.task.percent:
        return f"dense: {text}. "
    return f"mark and 95% band; dotted line: dense, {text}. "


def for_task(text: str, task: Task) -> str:
    """A text that was written for classifiers of images, in the words of another task."""
    pairs: list[tuple[str, str]] = []
    if task.name != CLASSIFICATION.name:
        pairs += [
            ("many images it still classifies correctly", "well it still does"),
            ("many\nimages it still classifies correctly", "well it still does"),
            ("intervals, each class, the images whose answer changed, and", "intervals, and"),
            ("highest accuracy", f"best {task.value_label}"),
            ("accuracy", "value"),
        ]
    if task.samples != CLASSIFICATION.samples:
        pairs += [
            ("images", task.samples),
            ("image", task.samples.removesuffix("s")),
            ("Images", task.samples.capitalize()),
        ]
    for old, new in pairs:
        text = text.replace(old, new)
    return text
