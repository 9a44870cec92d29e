"""Groups that the user keeps or prunes by hand, whatever the ratio: part of a plan, and short
enough for an address.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pruning_core.granularity import granularity
from pruning_core.types import PruningError

Group = tuple[int, int, bool]
"""Scope, group in its scope, keep?"""
MAX_GROUPS = 2_000
"""Edited groups of a plan; a coarser granularity says more with less."""
_RUN = re.compile(r"([kp])(?:(\d{1,9})\.)?(\d{1,9})(?:-(\d{1,9}))?")


@dataclass(frozen=True)
class HandEdits:
    """The edits of one layer at one granularity; at another one the numbers mean other groups, so
    they wait.

    groups: sorted, each once. Raises PruningError for an unknown granularity, a negative number or
    a group named twice.
    """

    layer: str
    granularity: str
    groups: tuple[Group, ...]

    def __post_init__(self) -> None:
        granularity(self.granularity)
        object.__setattr__(
            self,
            "groups",
            tuple(sorted((int(s), int(g), bool(keep)) for s, g, keep in self.groups)),
        )
        if any(min(scope, group) < 0 for scope, group, _ in self.groups):
            raise PruningError(
                f"An edit of {self.layer} names a negative group: groups are counted from 0."
            )
        if len({group[:2] for group in self.groups}) < len(self.groups):
            raise PruningError(
                f"The edits of {self.layer} name one group twice: keep it or prune it."
            )

    @property
    def text(self) -> str:
        """Runs of groups: k = keep, p = prune, the scope before a dot unless it is 0: "k3-7_p2.5"."""
        return "_".join(
            f"{'k' if keep else 'p'}{f'{scope}.' if scope else ''}{first}{f'-{last}' if last > first else ''}"
            for scope, first, last, keep in _runs(self.groups)
        )


def parse_edits(layer: str, name: str, text: str) -> HandEdits:
    """Reads `HandEdits.text`. Raises PruningError for text of another form and for more than MAX_GROUPS
    groups.
    """
    groups: list[Group] = []
    for part in filter(None, text.split("_")):
        run = _RUN.fullmatch(part)
        if run is None:
            raise PruningError(
                f"The edit '{part[:40]}' of {layer} is not of the form k3, p3-7 or k2.5: keep or prune, scope.group."
            )
        sign, scope, first, last = run.groups()
        stop = int(last or first) + 1
        if stop - int(first) + len(groups) > MAX_GROUPS:
            raise PruningError(
                f"More than {MAX_GROUPS:,} edited groups in {layer}: choose a coarser granularity."
            )
        groups += [(int(scope or 0), group, sign == "k") for group in range(int(first), stop)]
    return HandEdits(layer, name, tuple(groups))


def check_edits(edits: Iterable[HandEdits]) -> None:
    """Raises PruningError where a layer comes twice at one granularity, or there are more than MAX_GROUPS
    groups in all.
    """
    found = tuple(edits)
    if len({(each.layer, each.granularity) for each in found}) < len(found):
        raise PruningError(
            "The plan's edits name one layer twice at one granularity: put them together."
        )
    if (count := sum(len(each.groups) for each in found)) > MAX_GROUPS:
        raise PruningError(
            f"{count:,} groups are edited by hand; a plan holds {MAX_GROUPS:,}: choose a coarser granularity."
        )


def to_raw(edits: Iterable[HandEdits]) -> dict[str, dict[str, str]]:
    """JSON's form: layer -> granularity -> text."""
    raw: dict[str, dict[str, str]] = {}
    for each in edits:
        raw.setdefault(each.layer, {})[each.granularity] = each.text
    return raw


def from_raw(raw: Any) -> tuple[HandEdits, ...]:
    """The inverse of `to_raw`. Raises PruningError for another form."""
    if not isinstance(raw, Mapping) or not all(isinstance(each, Mapping) for each in raw.values()):
        raise PruningError(
            "'edits' in the plan must map layers to granularities to edits such as \"k3-7_p2.5\"."
        )
    texts = (
        (str(layer), str(name), text) for layer, each in raw.items() for name, text in each.items()
    )
    return tuple(parse_edits(layer, name, str(text)) for layer, name, text in texts)


def _runs(groups: Iterable[Group]) -> Iterator[tuple[int, int, int, bool]]:
    """Scope, first and last group, keep?: neighbours that are edited alike become one run."""
    run: list[Group] = []
    for group in groups:
        if run and (group[0], group[1] - 1, group[2]) != run[-1]:
            yield run[0][0], run[0][1], run[-1][1], run[0][2]
            run = []
        run.append(group)
    if run:
        yield run[0][0], run[0][1], run[-1][1], run[0][2]
