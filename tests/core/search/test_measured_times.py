"""A budget of time: measured once for equal ratios, estimated before, and said with its noise."""

from pathlib import Path

import pytest
from torch import nn

from pruning_core import Plan, PruningError
from pruning_core.compress import latency
from pruning_core.compress.forms import THIN, forms_of
from pruning_core.compress.paired_times import Timing
from pruning_core.search import Candidate
from pruning_core.search.measured_times import MeasuredTimes, TimeShare, time_words
from pruning_core.search.plan_space import PlanSpace
from pruning_core.search.record_log import FileLog
from pruning_core.search.run import SearchResult, SearchSettings, search
from pruning_core.types import Masks, Ratios
from pruning_core.workspaces import Workspace, open_workspace

FIRST = tuple({"a": a / 4, "b": b / 2} for a in range(5) for b in range(3))


def share_of(ratios: Ratios) -> float:
    return 0.3 + 0.4 * (1 - ratios["a"]) + 0.3 * (1 - ratios["b"])


def facts_of(ratios: Ratios) -> tuple[float, ...]:
    parts = (0.5 * (1 - ratios["a"]), 0.5 * (1 - ratios["b"]))
    return (sum(parts), *parts)


def test_times_are_measured_once_and_estimated_before(tmp_path: Path) -> None:
    asked: list[Ratios] = []

    def measure(ratios: Ratios) -> TimeShare:
        asked.append(ratios)
        own = share_of(ratios) + 0.1 * (ratios == {"a": 0.3, "b": 0.3})
        return TimeShare(own, own - 0.01, own + 0.01, 15)

    times = MeasuredTimes(measure, facts_of, lambda: FIRST, FileLog(tmp_path))
    odd: Ratios = {"a": 0.3, "b": 0.3}
    assert share_of(odd) <= times.cost(odd) < share_of(odd) + 0.03
    assert len(asked) == len(FIRST)
    assert times.measured(odd).share == times.cost(odd) == share_of(odd) + 0.1
    other: Ratios = {"a": 0.9, "b": 0.1}
    later = MeasuredTimes(measure, facts_of, lambda: FIRST, FileLog(tmp_path))
    assert later.cost(odd) == times.cost(odd)
    assert later.cost(other) == times.cost(other)
    assert len(asked) == len(FIRST) + 1
    assert later.again(odd).share == times.cost(odd)
    assert asked[-1] == odd


def test_a_search_within_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scripted clock: the time of a network follows its parameters."""
    timed: list[float] = []

    def measured(plan: Plan, space: Workspace, masks: Masks, model: nn.Module) -> Timing:
        made = forms_of(plan, space, masks, model=model).thinned.get(THIN)
        before, after = made.parameters if made else (1, 1)
        timed.append(0.2 + 0.8 * after / before)
        speedup = 1 / timed[-1]
        interval = (speedup * 0.98, speedup * 1.02)
        return Timing("pruned", "pruned", 1.0, (1.0, 1.0), 1.0, speedup, interval, 0.2, 15, 1)

    monkeypatch.setattr(latency, "pruned_timing", measured)
    plan = Plan(model="lenet_300_100", granularity="filter", probe=16, repair="none")
    space = open_workspace(plan.model, plan.dataset)
    settings = SearchSettings("random", "time", 0.6, evaluations=4)
    *events, found = search(plan, space, settings, tmp_path)
    assert isinstance(found, SearchResult)
    candidates = [event for event in events if isinstance(event, Candidate)]
    assert all(candidate.cost in timed for candidate in candidates)
    assert all(0.4 < candidate.cost < 0.65 for candidate in candidates)
    assert found.best.cost <= 0.605
    assert f"takes {found.best.cost:.1%}" in found.note
    assert "halves of one measurement differ by 20%" in found.note
    before = len(timed)
    *again, _ = search(plan, space, settings, tmp_path)
    assert [event.ratios for event in again if isinstance(event, Candidate)] == [
        candidate.ratios for candidate in candidates
    ]
    assert len(timed) == before + 1  # the second measurement of the best one


def test_zeros_save_no_time() -> None:
    space = open_workspace("lenet_300_100", "digits")
    with pytest.raises(PruningError, match="zeros save no time"):
        PlanSpace(Plan(model="lenet_300_100"), space, budget="time", keep=0.6)
    assert time_words(TimeShare(0.5, 0.4, 0.6, 15)).endswith("PyTorch on the CPU.")
