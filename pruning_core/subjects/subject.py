"""A network of the user with its data, under a name."""

from collections.abc import Callable
from dataclasses import dataclass

from pruning_core.workspaces.space import Workspace


@dataclass(frozen=True, eq=False)
class Subject:
    """A network with its data that `open_workspace(name, dataset)` opens.

    name: what a plan calls it (`Plan.model`); dataset: what a plan calls its data (`Plan.dataset`);
    open: opens both; label, help, source: texts for people; data_help: where the data is from.
    """

    name: str
    dataset: str
    open: Callable[[], Workspace]
    label: str
    help: str
    source: str
    data_label: str
    data_help: str
