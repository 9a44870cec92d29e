"""Groups that the user keeps or prunes by hand: part of a plan, with a short text for addresses."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pruning_core.granularity import granularity
from pruning_core.types import PruningError

GroupEdit = tuple[int, int, bool]
"""Scope, group in its scope, and True = keep."""
MAX_GROUPS = 2_000
"""The largest number of edited groups in a plan."""
_RUN = re.compile(r"([kp])(?:(\d{1,9})\.)?(\d{1,9})(?:-(\d{1,9}))?")


@dataclass(frozen=True)
class HandEdits:
    """The edits of one layer at one granularity. At another granularity they have no effect.

    groups: sorted, each once. Raises PruningError for an unknown granularity, a negative number,
    and a group named twice.

    >>> HandEdits("conv1.weight", "filter", ((0, 4, True), (0, 3, True), (2, 5, False))).text
    'k3-4_p2.5'
    """

    layer: str
    granularity: str
    groups: tuple[GroupEdit, ...]

    def __post_init__(self) -> None:
        granularity(self.granularity)
        groups = sorted((int(scope), int(group), bool(keep)) for scope, group, keep in self.groups)
        object.__setattr__(self, "groups", tuple(groups))
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
        """Runs of groups, joined by _. k = keep, p = prune, then scope and dot if scope > 0."""
        return "_".join(_run_text(*run) for run in _runs(self.groups))


def parse_edits(layer: str, name: str, text: str) -> HandEdits:
    """Reads `HandEdits.text`. name: the granularity.

    Raises PruningError for text of another form, and for more than MAX_GROUPS groups.
    """
    groups: list[GroupEdit] = []
    for part in filter(None, text.split("_")):
        run = _RUN.fullmatch(part)
        if run is None:
            raise PruningError(
                f"The edit '{part[:40]}' of {layer} is not of the form k3, p3-7 or k2.5: "
                "keep or prune, scope.group."
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
    """Raises PruningError if a layer is named twice at one granularity, or groups are too many."""
    checked = tuple(edits)
    if len({(edit.layer, edit.granularity) for edit in checked}) < len(checked):
        raise PruningError(
            "The plan's edits name one layer twice at one granularity: put them together."
        )
    if (count := sum(len(edit.groups) for edit in checked)) > MAX_GROUPS:
        raise PruningError(
            f"{count:,} groups are edited by hand; a plan holds {MAX_GROUPS:,}: "
            "choose a coarser granularity."
        )


def to_raw(edits: Iterable[HandEdits]) -> dict[str, dict[str, str]]:
    """The form in JSON: layer -> granularity -> text."""
    raw: dict[str, dict[str, str]] = {}
    for edit in edits:
        raw.setdefault(edit.layer, {})[edit.granularity] = edit.text
    return raw


def from_raw(raw: Any) -> tuple[HandEdits, ...]:
    """The inverse of `to_raw`. Raises PruningError for any other form."""
    if not isinstance(raw, Mapping) or not all(
        isinstance(texts, Mapping) for texts in raw.values()
    ):
        raise PruningError(
            "'edits' in the plan must map layers to granularities to edits such as \"k3-7_p2.5\"."
        )
    return tuple(
        parse_edits(str(layer), str(name), str(text))
        for layer, texts in raw.items()
        for name, text in texts.items()
    )


def _run_text(scope: int, first: int, last: int, keep: bool) -> str:
    """One run as text: "k3-7", "p2.5"."""
    start = f"{scope}.{first}" if scope else str(first)
    end = f"-{last}" if last > first else ""
    return f"{'k' if keep else 'p'}{start}{end}"


def _runs(groups: Iterable[GroupEdit]) -> Iterator[tuple[int, int, int, bool]]:
    """Scope, first group, last group, keep?: one run for neighbours with the same edit."""
    run: list[GroupEdit] = []
    for group in groups:
        if run and (group[0], group[1] - 1, group[2]) != run[-1]:
            yield run[0][0], run[0][1], run[-1][1], run[0][2]
            run = []
        run.append(group)
    if run:
        yield run[0][0], run[0][1], run[-1][1], run[0][2]
