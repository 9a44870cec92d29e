"""A target in time: what is found is within the limit by its own measurement."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch

from pruning_core.compress import time_target
from pruning_core.compress.machine import Machine, machine
from pruning_core.compress.paired_times import Compared, Variant
from pruning_core.compress.target_search import smallest_within
from pruning_core.compress.time_target import FittedTime, TimeTarget, TriedTime, fit_time
from pruning_core.plan import Plan
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace, open_workspace
from tests.core.compress.test_latency import timing

PLAN = Plan(model="lenet5", dataset="digits", granularity="filter", probe=40)


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace(PLAN.model, PLAN.dataset)


def by_first_width(reference: Variant, variants: Sequence[Variant], **_: object) -> Compared:
    """Times as if the time were the output of the network's first layer: its number of channels."""
    thinned = variants[0].call()
    assert isinstance(thinned, int)
    return Compared((timing("dense"), timing("thin", 6 / thinned, 0.1)))


def first_width(_runtime: object, model: torch.nn.Module, _x: object) -> object:
    return lambda: model.get_parameter("conv1.weight").shape[0]


def searched(space: Workspace, target: TimeTarget) -> tuple[list[TriedTime], FittedTime]:
    with (
        patch.object(time_target, "compare", by_first_width),
        patch.object(time_target, "prepared", first_width),
    ):
        *tried, last = fit_time(PLAN, space, target)
    assert isinstance(last, FittedTime)
    return [event for event in tried if isinstance(event, TriedTime)], last


def test_the_sparsity_is_the_smallest_whose_thinned_network_is_within(space: Workspace) -> None:
    tried, last = searched(space, TimeTarget(0.5))
    assert last.plan.sparsity == 0.42  # round(0.42 * 6) = 3 of 6 filters, the first such percent
    assert last.chosen.share == 0.5
    assert last.chosen.within
    assert last.thinned.widths[0].out == (6, 3)
    assert len(tried) == len(last.tried) <= 8
    assert last.change.n == 40
    assert last.limit == 0.5
    _, sure = searched(space, TimeTarget(0.5, sure=True))
    assert sure.chosen.interval[1] <= 0.5
    assert sure.plan.sparsity > last.plan.sparsity
    busy = replace(last, machine=replace(machine(torch.device("cpu")), load=99.0))
    assert isinstance(busy.machine, Machine)
    assert busy.busy is not None
    assert "99.0 processes" in busy.busy


def test_one_sparsity_is_measured_in_pairs_and_one_without_removed_channels_is_not(
    space: Workspace,
) -> None:
    target = TimeTarget(0.5, batch=2, round_to=8, rounds=7, budget=0.01)
    search = time_target._Search(PLAN, space, target)
    measured = search.try_at(90)
    assert measured.timing is not None
    assert measured.timing.n == 7
    low, high = measured.interval
    assert low <= measured.share <= high
    assert search.fitted(90).thinned.widths[2].out == (120, 16)
    unchanged = search.try_at(1)
    assert (unchanged.share, unchanged.timing, unchanged.within) == (1.0, None, False)


def test_impossible_targets_are_refused(space: Workspace) -> None:
    fine = replace(PLAN, granularity="fine")
    for case, target, sentence in (
        (PLAN, TimeTarget(1.5), "give a part of the dense time between 0 and 1"),
        (fine, TimeTarget(0.5), "removes no whole channels, and zeros save no time"),
        (PLAN, TimeTarget(0.5, runtime="tvm"), "There is no runtime 'tvm'"),
        (replace(PLAN, granularity="2:4"), TimeTarget(0.5), "sets the sparsity of every layer"),
    ):
        with pytest.raises(PruningError, match=sentence):
            list(fit_time(case, space, target))
    with pytest.raises(PruningError, match="At most 1% of the dense time is not possible here"):
        searched(space, TimeTarget(0.01))


@pytest.mark.parametrize(("border", "wanted"), [(0, 0), (1, 1), (57, 57), (100, 100), (101, None)])
def test_bisection_finds_the_border(border: int, wanted: int | None) -> None:
    def attempt(step: int) -> TriedTime:
        return TriedTime(step / 100, 1.0, (1.0, 1.0), step >= border, None)

    def last() -> Iterator[TriedTime | int | None]:
        yield (yield from smallest_within(attempt))

    assert list(last())[-1] == wanted
