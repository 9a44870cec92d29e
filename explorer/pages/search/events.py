"""The events of a search in the background. This module does not use Streamlit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from explorer.texts.translate import N_
from pruning_core.backends import configured_backend
from pruning_core.plan import Plan
from pruning_core.search import Candidate, Candidates, Judged, Part
from pruning_core.search.run import SearchResult, SearchSettings, prepared, search
from pruning_core.training.journal import Journal
from pruning_core.types import SensitivityPoint
from pruning_core.workers import WorkerLost
from pruning_core.workspaces import Workspace

BASELINES = {"uniform": N_("uniform"), "global": N_("global magnitude")}
"""Ratios that need no search and are measured at the same budget, with their names in charts."""


@dataclass(frozen=True, eq=False)
class Started:
    """The first event of a search.

    plan: it keeps every layer, and has all other choices that candidates are measured with; dense:
    the network with nothing removed; baselines: of `BASELINES`, by name.
    """

    plan: Plan
    dense: Judged
    baselines: Mapping[str, Candidate]
    parts: tuple[Part, ...]


def search_events(
    plan: Plan,
    space: Workspace,
    settings: SearchSettings,
    points: tuple[SensitivityPoint, ...] = (),
    folder: Path | None = None,
) -> Iterator[Started | Candidate | WorkerLost | SearchResult]:
    """Measures the baselines, then yields the events of `search` without their tensors.

    points: of a finished scan, whose ratios by rule are starts too. folder: keeps how many
    candidates are measured (`Journal`); a search that continues finds their values where all are.
    """
    journal = None if folder is None else Journal(folder)
    ready = prepared(plan, space, settings)
    measured = Candidates(ready.space, ready)
    starts = ready.space.starts()
    baselines = {
        name: _without_tensors(measured.measure(starts[name], name))
        for name in BASELINES
        if name in starts
    }
    nothing = {name: 0.0 for part in ready.space.parts for name in part.layers}
    yield Started(ready.space.plan_with(nothing), ready.dense(), baselines, ready.space.parts)
    workers = configured_backend()
    for event in search(plan, space, settings, points=points, backend=workers, by_name=True):
        yield _without_tensors(event) if isinstance(event, Candidate) else event
        if journal is not None and isinstance(event, Candidate):
            journal.done += 1
            journal.keep("candidates", lambda: b"")


def _without_tensors(candidate: Candidate) -> Candidate:
    """A long search would else hold every sample's value of every candidate."""
    return replace(candidate, judged=replace(candidate.judged, evaluation=None))
