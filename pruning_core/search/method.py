"""What a search method is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from pruning_core.registry import Described, Entry
from pruning_core.search.candidates import Candidate, Evaluate
from pruning_core.search.space import RatioSpace
from pruning_core.types import Ratios


@runtime_checkable
class SearchMethod(Entry, Protocol):
    """A search is a frozen dataclass with one field per setting (`settings.setting`).

    Called, it yields at most `evaluations` candidates, each measured by one call of `evaluate`.
    Most make a `Candidates` and yield what it measures. starts: ratios by name that a search may
    begin with, already fitted to the budget. Equal seeds give equal candidates.
    several: it looks for the best trade-off of several costs, and needs no budget.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    several: ClassVar[bool]

    def __call__(
        self,
        space: RatioSpace,
        evaluate: Evaluate,
        evaluations: int,
        seed: int,
        starts: Mapping[str, Ratios],
    ) -> Iterator[Candidate]: ...


@dataclass(frozen=True, kw_only=True)
class SearchDefaults(Described):
    """The usual facts of a search method: one cost.

    A new method is a frozen dataclass with this base, a label, formula and source, and `__call__`.
    Its help is the first sentence of its docstring, unless it has its own.
    """

    several: ClassVar[bool] = False
