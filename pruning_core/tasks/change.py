"""The change of a task's value on the same samples, with its paired 95% interval."""

from dataclasses import dataclass

from pruning_core.errors import PruningError
from pruning_core.intervals import bootstrap_change, paired_interval
from pruning_core.tasks.task import Evaluation, Task


@dataclass(frozen=True)
class Change:
    """The value after minus the value before, on the same n samples. interval: 95%.

    gained: samples that were wrong before and are right after; lost: the other way round; None
    where a sample's value is not 0 or 1.
    """

    value: float
    interval: tuple[float, float]
    n: int
    task: Task
    gained: int | None = None
    lost: int | None = None

    @property
    def certain(self) -> bool:
        """Is "no change" outside the interval?"""
        low, high = self.interval
        return low > 0 or high < 0


def change(before: Evaluation, after: Evaluation) -> Change:
    """Compares two evaluations of one split, sample by sample.

    Tango's interval (`intervals.paired_interval`) where every sample's value is 0 or 1, else a
    paired bootstrap (`intervals.bootstrap_change`). Raises PruningError for evaluations of another
    number of samples, or of other tasks.
    """
    task = before.task
    if before.n != after.n or task.name != after.task.name:
        raise PruningError(
            f"{before.task.label} on {before.n} {task.samples} and {after.task.label} on {after.n} "
            "cannot be compared sample by sample."
        )
    if task.right_or_wrong(before.values) and task.right_or_wrong(after.values):
        gained = int((after.values > before.values).sum())
        lost = int((before.values > after.values).sum())
        value = (gained - lost) / before.n
        interval = paired_interval(gained, lost, before.n)
        return Change(value, interval, before.n, task, gained, lost)
    value = after.value - before.value
    interval = bootstrap_change(task.value_of, before.statistics, after.statistics)
    return Change(value, interval, before.n, task)
