"""Numbers as text: percentages, counts, intervals, tensor shapes."""

from collections.abc import Iterable, Sequence

from explorer.texts.translate import N_, _, from_core
from pruning_core.tasks import CLASSIFICATION, Task
from pruning_core.types import Evaluation

LAYER_KINDS = {
    "conv1d": N_("Convolution 1-D"),
    "conv2d": N_("Convolution"),
    "depthwise": N_("Depthwise conv."),
    "conv3d": N_("Convolution 3-D"),
    "conv_transpose1d": N_("Transposed conv. 1-D"),
    "conv_transpose2d": N_("Transposed conv."),
    "conv_transpose3d": N_("Transposed conv. 3-D"),
    "linear": N_("Linear"),
    "adapted": N_("Linear with adapter"),
    "bilinear": N_("Bilinear"),
    "rnn": N_("Recurrent"),
    "embedding": N_("Embedding"),
    "matrix": N_("Matrix"),
    "stacked": N_("Stacked matrices"),
    "experts": N_("Experts"),
    "attention_in": N_("Attention q, k, v"),
    "attention_proj": N_("Attention q, k, v"),
    "attention_out": N_("Attention output"),
}
"""`Layer.kind` -> its name on the page, in English: `_(LAYER_KINDS[kind])`."""


def percent(fraction: float, digits: int = 1) -> str:
    """0.875 -> "87.5%", 0.5 -> "50%". "100%" and "0%" stand only for exactly 1 and 0."""
    text = decimal_percent(fraction, digits)[:-1]
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"


def decimal_percent(fraction: float, digits: int = 1) -> str:
    """0.875 -> "87.5%", 0.5 -> "50.0%". "100.0%" and "0.0%" stand only for exactly 1 and 0."""
    text = f"{100 * fraction:.{digits}f}"
    if (float(text) >= 100 and fraction < 1) or (float(text) <= 0 and fraction > 0):
        text = f"{100 * fraction:.{digits + 2}f}"
    return f"{text}%"


def signed(change: float, interval: tuple[float, float], task: Task = CLASSIFICATION) -> str:
    """A change of the task's value with its 95% interval.

    -0.0123 -> "-1.2 points (95%: -2.0 to -0.5)". "no change" where change and interval are 0.
    Of a value that is no fraction, without "points".
    """
    if not change and not any(interval):
        return _("no change")
    low, high = (change_text(end, task) for end in interval)
    value = f"{change_text(change, task)}{points(task)}"
    return _("{value} (95%: {low} to {high})", value=value, low=low, high=high)


def change_text(change: float, task: Task = CLASSIFICATION) -> str:
    """-0.0123 -> "-1.2", in points; of a value that is no fraction, with three digits."""
    return f"{100 * change:+.1f}" if task.percent else f"{change:+.3g}"


def points(task: Task) -> str:
    """What follows a `change_text`: " points", or nothing for a value that is no fraction."""
    return _(" points") if task.percent else ""


def value_text(value: float, task: Task) -> str:
    """The task's value: 0.87 -> "87.0%", and a perplexity 12.3456 -> "12.35"."""
    return decimal_percent(value) if task.percent else f"{value:.4g}"


def title(task: Task) -> str:
    """What the task's value is called at the start of a line: "Accuracy"."""
    label = from_core(task.value_label)
    return label[:1].upper() + label[1:]


def scale(task: Task) -> float:
    """What the task's value is multiplied with on an axis: 100 for a fraction."""
    return 100.0 if task.percent else 1.0


def axis_title(task: Task) -> str:
    """The title of an axis of the task's value: "top-1 accuracy, %"."""
    label = from_core(task.axis_label)
    return _("{value}, %", value=label) if task.percent else label


def whole_percent(fraction: float) -> int:
    """0.54 -> 54, for sliders. 100 and 0 stand only for exactly 1 and 0."""
    if fraction in (0, 1):
        return round(100 * fraction)
    return min(99, max(1, round(100 * fraction)))


def count(number: float) -> str:
    """1234567 -> "1.23 M"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            scaled = number / (1e3 if unit == "k" else size)
            return f"{scaled:.3g} {unit}" if scaled < 1000 else f"{scaled:.0f} {unit}"
    return f"{number:,.0f}"


def interval(evaluation: Evaluation) -> str:
    """The 95% interval of the value, such as "91.0–93.5%"."""
    low, high = evaluation.interval
    if evaluation.task.percent:
        return f"{100 * low:.1f}–{100 * high:.1f}%"
    return f"{low:.4g}–{high:.4g}"


def interval_words(interval: tuple[float, float], task: Task) -> str:
    """As `interval`, in words: "91.0 to 93.5%"."""
    low, high = interval
    if task.percent:
        return _("{low} to {high}%", low=f"{100 * low:.1f}", high=f"{100 * high:.1f}")
    return _("{low} to {high}", low=f"{low:.4g}", high=f"{high:.4g}")


def listed(names: Iterable[str]) -> str:
    """The names with the page's comma between them."""
    return _(", ").join(names)


def in_words(names: Sequence[str]) -> str:
    """The names as a sentence has them: "A, B and C"; "" without names."""
    if len(names) < 2:
        return "".join(names)
    return _("{names} and {last}", names=listed(names[:-1]), last=names[-1])


def shape(sizes: tuple[int, ...]) -> str:
    """(16, 3, 3, 3) -> "16 × 3 × 3 × 3"."""
    return " × ".join(map(str, sizes))
