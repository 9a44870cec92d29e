"""A network and data that a script under test imports, and a task of somebody's own."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pruning_core.tasks import Regression

HELD: dict[str, Any] = {}
"""`model` and `test`, set by the test."""


@dataclass(frozen=True, kw_only=True)
class WorstNumber(Regression):
    """The largest error of a sample's numbers."""

    name: str = "worst_number"
    value_label: str = "worst error"

    def value_of(self, sums: dict[str, Tensor]) -> Tensor:
        return super().value_of(sums) * 2


WORST = WorstNumber()
