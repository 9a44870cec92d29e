"""Networks and data that can be opened by name: the subjects of the user first, then the zoo's."""

from dataclasses import dataclass

from pruning_core.subjects.registry import subjects
from pruning_core.zoo import DATASETS, MODELS, datasets_for


@dataclass(frozen=True)
class Listed:
    """A network or a data set with its texts for people. source: of a network; get: of data."""

    name: str
    label: str
    help: str
    source: str = ""
    get: str = ""


def known_models() -> dict[str, Listed]:
    """Name -> network, the subjects first."""
    own = {
        name: Listed(name, subject.label, subject.help, subject.source)
        for name, subject in subjects().items()
    }
    zoo = {
        name: Listed(name, entry.label, entry.help, entry.source) for name, entry in MODELS.items()
    }
    return own | zoo


def known_datasets() -> dict[str, Listed]:
    """Name -> data set, those of the subjects first."""
    own = {
        subject.dataset: Listed(
            subject.dataset,
            subject.data_label,
            subject.data_help,
            get=f"{subject.label} is opened with it.",
        )
        for subject in subjects().values()
    }
    zoo = {
        name: Listed(name, source.label, source.help, get=source.get)
        for name, source in DATASETS.items()
    }
    return own | zoo


def datasets_of(model: str) -> tuple[str, ...]:
    """Names of the data that a network can be opened with.

    Raises PruningError for an unknown network.
    """
    own = subjects()
    return (own[model].dataset,) if model in own else datasets_for(model)
