"""What every choice of an axis says of itself, and looking one up by its name."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Protocol, TypeVar, runtime_checkable

from pruning_core.types import PruningError

Found = TypeVar("Found")


@runtime_checkable
class Entry(Protocol):
    """One choice of an axis, in words for people."""

    @property
    def label(self) -> str: ...

    @property
    def help(self) -> str: ...

    @property
    def formula(self) -> str: ...

    @property
    def source(self) -> str: ...


def find(registry: Mapping[str, Found], name: str, what: str) -> Found:
    """The entry of that name. Raises PruningError with the nearest known name, or all of them."""
    if name in registry:
        return registry[name]
    near = get_close_matches(str(name), registry, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(registry)}."
    raise PruningError(f"There is no {what} '{name}'; {hint}")
