"""What every choice on an axis says about itself, and how it is found by its name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from pruning_core.errors import PruningError

Choice = TypeVar("Choice")


@runtime_checkable
class Entry(Protocol):
    """One choice on an axis: a frozen dataclass with four texts for people.

    label: a few words. help: one or two sentences. formula: what is computed. source: authors and
    year, with the arXiv number where there is one.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def label(self) -> str: ...

    @property
    def help(self) -> str: ...

    @property
    def formula(self) -> str: ...

    @property
    def source(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Described:
    """The texts of an `Entry`. Without `help`, it is the first sentence of a docstring.

    That is the docstring of the field `function`, or of the class if it has no such field.
    """

    label: str
    formula: str = field(repr=False)
    source: str = field(repr=False)
    help: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.help:
            documented = getattr(self, "function", type(self))
            object.__setattr__(self, "help", first_sentence(documented.__doc__ or ""))


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring, on one line.

    >>> first_sentence("Small weights are\\n    removed first. Needs no data.")
    'Small weights are removed first.'
    """
    summary = " ".join(docstring.partition("\n\n")[0].split())
    sentence, end, _ = summary.partition(". ")
    return sentence + "." if end else sentence


def find(registry: Mapping[str, Choice], name: str, axis: str) -> Choice:
    """The entry with that name. axis: what the registry holds, for the error message.

    Raises PruningError with the nearest known name, or with all known names if none is near.
    """
    if name in registry:
        return registry[name]
    name = str(name)[:80]
    near = get_close_matches(name, registry, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(registry)}."
    raise PruningError(f"There is no {axis} '{name}'; {hint}")
