"""Bands: the points of sensitivity curves that are estimated from a part of the images."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.tasks.task import Task

BAND_COLUMNS = (
    "parameter",
    "granularity",
    "sparsity",
    "top1",
    "low",
    "high",
    "achieved",
    "images",
    "n",
    "group",
    "in_full",
)
"""Columns of the table."""


@dataclass(frozen=True)
class Band:
    """One point of a curve before it is measured on all images.

    value: the estimate. interval: where the full scan's value should lie.
    images: number of images that the point was measured on, of n; 0 where the estimate is
    interpolated between other points.
    The other fields are as in `SensitivityPoint`.
    """

    parameter: str
    granularity: str
    sparsity: float
    achieved: float
    value: float
    interval: tuple[float, float]
    images: int
    n: int
    group: tuple[str, ...] = ()
    why: str | None = None
    in_full: str | None = None
    task: Task = field(default=CLASSIFICATION, repr=False)

    @property
    def no_op(self) -> bool:
        """Was nothing removed at a sparsity above 0?"""
        return self.sparsity > 0 and self.achieved == 0


def bands_csv(bands: Sequence[Band]) -> str:
    """Tidy table with the columns `BAND_COLUMNS`, for another task as in `scan.to_csv`,
    and `images` is called by the task's word for its samples.

    group: names separated by spaces. in_full: as in `scan.to_csv`.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    other = {band.task.name for band in bands} - {CLASSIFICATION.name}
    words = {"top1": "value", "images": bands[0].task.samples} if other else {}
    names = tuple(words.get(name, name) for name in BAND_COLUMNS)
    table.writerow((*names, "task") if other else names)
    for band in bands:
        numbers = (f"{value:.6f}" for value in (band.value, *band.interval, band.achieved))
        point = (band.parameter, band.granularity, f"{band.sparsity:g}", *numbers)
        cells = (*point, band.images, band.n, " ".join(band.group), band.in_full or "")
        table.writerow((*cells, band.task.name) if other else cells)
    return out.getvalue()
