"""Every entry of every axis describes itself; unknown names get the nearest known one."""

from collections.abc import Mapping
from typing import Any

import pytest

from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import CRITERIA, POOLS, Criterion
from pruning_core.flows import FLOWS
from pruning_core.granularity import GRANULARITIES
from pruning_core.penalties import PENALTIES
from pruning_core.registry import find
from pruning_core.schedule import SCHEDULES
from tests.core.toy import refusal

AXES: Mapping[str, Mapping[str, Any]] = {
    "criterion": CRITERIA,
    "granularity": GRANULARITIES,
    "allocation": ALLOCATIONS,
    "schedule": SCHEDULES,
    "flow": FLOWS,
    "penalty": PENALTIES,
}
ENTRIES = [
    pytest.param(axis, name, id=f"{axis}-{name}")
    for axis, registry in AXES.items()
    for name in registry
]


@pytest.mark.parametrize(("axis", "name"), ENTRIES)
def test_every_entry_tells_what_it_is(axis: str, name: str) -> None:
    entry = AXES[axis][name]
    for text in (entry.label, entry.help, entry.formula, entry.source):
        assert isinstance(text, str)
        assert text == text.strip() != ""
    assert entry.help.endswith(".")
    assert any(year in entry.source for year in ("19", "20")), f"{name} names no source with a year"


@pytest.mark.parametrize("axis", AXES)
def test_labels_and_names_are_distinct(axis: str) -> None:
    labels = [entry.label for entry in AXES[axis].values()]
    assert len(set(labels)) == len(labels)


def test_the_axes_offer_what_the_issue_lists() -> None:
    """More may come: they appear by themselves in `list`, side bar and tables, and the tests here
    take them up.
    """
    assert {
        "magnitude_l1",
        "magnitude_l2",
        "magnitude_linf",
        "gradient",
        "taylor",
        "taylor_group",
        "snip",
        "grasp",
        "synflow",
        "obd",
        "bn_scale",
        "fpgm",
        "wanda",
        "apoz",
        "mean_activation",
        "seven",
        "random",
    } <= set(CRITERIA)
    assert {"uniform", "uniform_plus", "global", "lamp", "erk", "manual"} <= set(ALLOCATIONS)
    assert {"one_shot", "iterative", "agp", "linear", "exponential"} <= set(SCHEDULES)
    assert {
        "rounds",
        "lottery",
        "gradual",
        "seven_pre",
        "seven_dyn",
        "movement",
        "platon",
        "surgery",
        "rigl",
        "slimming",
        "group_lasso",
        "magnitude_quantile",
        "gradient_quantile",
    } <= set(FLOWS)
    assert {"bn_scale_l1", "group_lasso"} <= set(PENALTIES)
    assert {
        "fine",
        "row",
        "2:4",
        "1:4",
        "4:8",
        "vector_row",
        "vector_col",
        "kernel",
        "filter",
        "channel",
        "shape",
        "head",
    } < set(GRANULARITIES)


@pytest.mark.parametrize("name", CRITERIA)
def test_criteria_pool_in_a_known_way_and_say_what_they_read_and_cost(name: str) -> None:
    how = CRITERIA[name]
    assert isinstance(how, Criterion)
    assert how.pool in POOLS
    assert ("images" in how.needs) == how.needs_data
    assert ("forward" in how.passes) == (how.needs_data or "shape" in how.needs) == how.runs_network


def test_entries_are_hashable_values() -> None:
    for registry in AXES.values():
        assert len({repr(entry) for entry in registry.values()}) == len(registry)
        assert len(set(registry.values())) == len(registry)


def test_find_suggests_the_nearest_name() -> None:
    assert find({"a": 1}, "a", "thing") == 1
    assert (
        refusal(lambda: find(CRITERIA, "magnitude", "criterion"))
        == "There is no criterion 'magnitude'; did you mean 'magnitude_l2'?"
    )
    assert (
        refusal(lambda: find({"one": 1, "two": 2}, "xyz", "thing"))
        == "There is no thing 'xyz'; known are one, two."
    )
