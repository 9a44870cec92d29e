"""The events of a run, narrowed to one kind."""

from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

Kind = TypeVar("Kind")


def of_kind(kind: type[Kind], events: Iterable[object]) -> list[Kind]:
    """The events of that kind, in their order."""
    return [event for event in events if isinstance(event, kind)]


def last_of(kind: type[Kind], events: Iterable[object]) -> Kind:
    """The last event, which must be of that kind."""
    *_, last = events
    assert isinstance(last, kind)
    return last


def stop(events: Iterator[object]) -> None:
    """Stops a run in the middle, as a page does."""
    assert isinstance(events, Generator)
    events.close()
