"""What a job computes, described so that another process can do it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pruning_core.workspaces import Workspace

Events = Callable[[Workspace], Iterator[object]]
"""Work on a network and its data: the iterator gives its events."""
Keep = Callable[[Iterator[object]], Iterator[object]]
"""Wraps the events where they arrive, such as to keep them in the run history."""


@dataclass(frozen=True, eq=False)
class Work:
    """A function of a network and its data, and both names, by which a worker opens them.

    function: of a module that does not use Streamlit, or a `partial` of it with settings that can
    be pickled; space: what the page has opened by these names, for work in this process.
    """

    model: str
    dataset: str
    space: Workspace
    function: Events

    def here(self) -> Iterator[object]:
        """The events, computed in this process."""
        return self.function(self.space)
