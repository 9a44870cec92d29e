"""What commands print: results on standard output, progress on standard error."""

import json
import sys
from collections.abc import Sequence

from pruning_core.sensitivity.preview_bands import Band
from pruning_core.tasks import Change
from pruning_core.types import Epoch, SensitivityPoint


def note(line: str) -> None:
    """Prints a line on standard error."""
    print(line, file=sys.stderr)


def note_epoch(event: Epoch) -> None:
    """Reports the validation value after an epoch."""
    task = event.evaluation.task
    value = f"{task.short_label} {task.text(event.evaluation.value)}"
    note(f"epoch {event.epoch} of {event.epochs}: validation {value}")


def note_full_passes(points: Sequence[SensitivityPoint | Band]) -> None:
    """Gives the reason where every point needed a full forward pass."""
    reason = next((point.in_full for point in points), None)
    if reason is not None:
        note(f"every point needed a full forward pass: {reason}")


def change_words(change: Change, unit: str = "") -> str:
    """A change and its 95% interval: in points of a percentage, else followed by `unit`."""
    percent = change.task.percent
    scale = 100 if percent else 1
    low, high = (scale * end for end in change.interval)
    shown = f"{scale * change.value:+.2f}{' points' if percent else unit}"
    return f"{shown}, 95% [{low:+.2f}, {high:+.2f}]"


def print_json(value: object) -> None:
    """Prints a value as JSON on standard output."""
    print(json.dumps(value, indent=2))
