"""Networks and data that can be opened by name: the subjects of the user first, then the zoo's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pruning_core.subjects.registry import subjects
from pruning_core.types import PruningError
from pruning_core.zoo import DATASETS, MODELS, datasets_for
from pruning_core.zoo.uploads import (
    ImagesCard,
    NetworkCard,
    find_upload,
    is_upload_name,
)

Kind = TypeVar("Kind", NetworkCard, ImagesCard)


@dataclass(frozen=True)
class Listed:
    """A network or a data set with its texts for people. source: of a network; get: of data."""

    name: str
    label: str
    help: str
    source: str = ""
    get: str = ""


def known_models(*uploads: str) -> dict[str, Listed]:
    """Name -> network: the subjects, these uploads, the zoo. Unknown uploads are left out.

    All uploads of this machine are not listed: each visitor's pages list that visitor's own.
    """
    own = {
        name: Listed(name, subject.label, subject.help, subject.source)
        for name, subject in subjects().items()
    }
    zoo = {
        name: Listed(name, entry.label, entry.help, entry.source) for name, entry in MODELS.items()
    }
    return own | dict(_uploaded(uploads, NetworkCard, _listed_network)) | zoo


def known_datasets(*uploads: str) -> dict[str, Listed]:
    """Name -> data set: those of the subjects, these uploads, the zoo's."""
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
    return own | dict(_uploaded(uploads, ImagesCard, _listed_images)) | zoo


def _uploaded(
    names: Sequence[str], kind: type[Kind], listed: Callable[[str, Kind], Listed]
) -> Iterator[tuple[str, Listed]]:
    for name in filter(is_upload_name, names):
        try:
            card = find_upload(name, kind)[1]
        except PruningError:
            continue
        yield name, listed(name, card)


def _listed_network(name: str, card: NetworkCard) -> Listed:
    return Listed(
        name,
        name,
        f"An upload: {card.architecture} with {card.classes} outputs, which reads "
        f"{' x '.join(map(str, card.transform.shape))}.",
        f"Weights from the file {card.file}.",
    )


def _listed_images(name: str, card: ImagesCard) -> Listed:
    return Listed(
        name,
        name,
        f"Uploaded images: {card.summary}",
        get=f"From the file {card.file}.",
    )


def datasets_of(model: str) -> tuple[str, ...]:
    """Names of the data that a network can be opened with.

    Raises PruningError for an unknown network.
    """
    own = subjects()
    return (own[model].dataset,) if model in own else datasets_for(model)
