"""What a ratio and hand edits remove, without making the mask: what the lab's page says, worked out
apart from it.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from explorer.components.mask_lab.view import LabView
from pruning_core.granularity import Granularity
from pruning_core.masks import n_removed


class Counts(NamedTuple):
    """How many groups and weights of a layer are removed."""

    groups: int
    weights: int


def counts(
    view: LabView,
    g: Granularity,
    ratio: float,
    edits: Iterable[tuple[int, int, bool]] = (),
    places: Iterable[int] = (),
    *,
    allow_collapse: bool = False,
) -> Counts:
    """The counts of `masks.select` and `masks.apply_hand_edits`. places: those of the edited
    groups, one for each (`LabDetail.places`).
    """
    if not view.groups:
        return Counts(0, 0)
    count = n_removed(g, ratio, view.groups, allow_collapse=allow_collapse)
    more: Counter[int] = Counter()
    for (scope, _, keep), place in zip(edits, places, strict=True):
        more[scope] += int(place >= count) - int(keep)
    # A scope that edits would leave empty keeps its last group.
    emptied = 0 if allow_collapse else sum(count + extra == view.groups for extra in more.values())
    removed = view.scopes * count + sum(more.values()) - emptied
    return Counts(removed, removed * view.size)
