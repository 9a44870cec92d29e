"""Words about a task's value: its help texts, and the numbers that only some tasks have."""

from typing import Literal

from explorer.texts.formats import change_text, points, value_text
from explorer.texts.help import HELP, TEXTS
from explorer.texts.translate import N_, _, from_core
from pruning_core.tasks import CLASSIFICATION, Change, FunctionTask, Task
from pruning_core.types import Evaluation

IN_OTHER_WORDS = {
    N_("many images it still classifies correctly"): N_("well it still does"),
    N_("many\nimages it still classifies correctly"): N_("well it still does"),
    N_("intervals, each class, the images whose answer changed, and"): N_("intervals, and"),
}
"""Parts of texts for classifiers -> the words for another task."""


def value_help(task: Task) -> str:
    """What the value is."""
    if task.name == CLASSIFICATION.name:
        return HELP["accuracy"]
    return _("{value} Without training after pruning. Measured now.", value=from_core(task.help))


def interval_help(task: Task) -> str:
    """What its 95% interval is."""
    if task.binary:
        return HELP["interval"]
    if isinstance(task, FunctionTask):
        return _(
            "95% interval of the value. On other samples of this kind, the value would probably be "
            "in this interval."
        )
    return _(
        "95% interval of the value, by a bootstrap over the samples. On other samples of this "
        "kind, the value would probably be in this interval."
    )


def ranges_words(task: Task) -> str:
    """What the ranges of a chart are."""
    if task.binary:
        return _("Ranges are Wilson 95% intervals.")
    if isinstance(task, FunctionTask):  # exact where every sample has the value 0 or 1
        return _("Ranges are 95% intervals.")
    return _("Ranges are 95% intervals, by a bootstrap.")


def paired_help(task: Task) -> str:
    """What the interval of a change is."""
    return HELP["paired"] if task.binary else paired_words(task)


def paired_words(task: Task) -> str:
    """As `paired_help`, for a caption: without a link."""
    if task.binary:
        return _(TEXTS["paired"])
    if isinstance(task, FunctionTask):
        return _(
            "The change against the dense network on the same samples, with its 95% interval. If "
            "the interval contains 0, the change can be chance."
        )
    return _(
        "The change against the dense network on the same samples, with its 95% interval (paired "
        "bootstrap). If the interval contains 0, the change can be chance."
    )


def loss_help(task: Task) -> str:
    """What the loss is."""
    if task.gives_logits:
        return _("Mean cross-entropy in nats. Lower is better.")
    return _("The mean loss of training. Lower is better.")


def loss_limit_label(task: Task) -> str:
    """The label of a number field: how much of the value may be lost."""
    label = from_core(task.value_label)
    if task.percent:
        return _("Lose at most, points of {value}", value=label)
    return _("Lose at most, {value}", value=label)


def only_classes(what: str, task: Task) -> str:
    """The sentence in place of a panel that only classification has. what: "Recall is"."""
    return _(
        "{what} shown for classification only: this network's task is {task}.",
        what=_(what),
        task=from_core(task.label).lower(),
    )


def extras_text(evaluation: Evaluation) -> str:
    """The other numbers of a task, such as "; pixel accuracy 0.914". Nothing for classification."""
    if evaluation.task.name == CLASSIFICATION.name:
        return ""
    return "".join(
        _("; {name} {value}", name=from_core(label), value=f"{value:.3g}")
        for label, value in evaluation.extras.items()
    )


def change_words(change: float, task: Task) -> str | int:
    """A change beside a number: "-1.2 points", "+0.31", or 0 where it rounds to nothing."""
    text = change_text(change, task)
    if not float(text):
        return 0
    return f"{text}{points(task)}"


def delta_color(difference: Change, task: Task) -> Literal["normal", "inverse", "off"]:
    """The colour of a change: of a rise green ("normal") or red ("inverse"), or "off": grey, where
    the change can be chance.
    """
    if not difference.certain:
        return "off"
    return "normal" if task.higher_is_better else "inverse"


def value_words(evaluation: Evaluation) -> str:
    """The value on a card: "91.0% correct", "mean IoU 45.2%", "perplexity 12.3"."""
    task = evaluation.task
    text = value_text(evaluation.value, task)
    if task.name == CLASSIFICATION.name:
        return _("{value} correct", value=text)
    return f"{from_core(task.value_label)} {text}"


def band_words(dense: Evaluation) -> str:
    """What a card's bar shows; nothing where a value that is no fraction has no bar."""
    text = value_text(dense.value, dense.task)
    if not dense.task.percent:
        return _("dense: {value}. ", value=text)
    return _("mark and 95% band; dotted line: dense, {value}. ", value=text)


def for_task(text: str, task: Task) -> str:
    """A text that was written for classifiers of images, in the words of another task.

    text: an English text with a mark, or one that is in the page's language already.
    """
    text = _(text)
    pairs: dict[str, str] = {}
    if task.name != CLASSIFICATION.name:
        pairs = {_(old): _(new) for old, new in IN_OTHER_WORDS.items()}
        best = _("best {value}", value=from_core(task.value_label))
        pairs |= {_("highest accuracy"): best, _("accuracy"): _("value")}
        pairs.setdefault(_("Accuracy"), _("The value"))
    if task.samples != CLASSIFICATION.samples:
        samples = from_core(task.samples)
        one = samples.removesuffix("s")
        pairs |= {_(" (patch of the image)"): "", "an image": f"a {one}", _("images"): samples}
        pairs.setdefault(_("image"), one)
        pairs.setdefault(_("Images"), samples.capitalize())
    for old, new in pairs.items():
        text = text.replace(old, new)
    return text
