"""Looking a name up in one of the axes."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from pruning_core.types import PruningError

Entry = TypeVar("Entry")


def find(registry: Mapping[str, Entry], name: str, what: str) -> Entry:
    """The entry of that name. Raises PruningError with the nearest known name, or all of them."""
    if name in registry:
        return registry[name]
    near = get_close_matches(str(name), registry, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(registry)}."
    raise PruningError(f"There is no {what} '{name}'; {hint}")
