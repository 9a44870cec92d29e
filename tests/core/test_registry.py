"""Every entry of every axis describes itself; an unknown name gets the nearest known one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import pytest

from pruning_core.allocation import ALLOCATIONS, FunctionAllocation, uniform
from pruning_core.criteria import CRITERIA, POOLS, Criterion, FunctionCriterion
from pruning_core.criteria.weight import magnitude
from pruning_core.dropout import REGULARISERS
from pruning_core.flows import FLOWS
from pruning_core.granularity import GRANULARITIES
from pruning_core.penalties import PENALTIES, Penalty, bn_scale_l1
from pruning_core.registry import Described, Entry, find
from pruning_core.repairs import REPAIRS
from pruning_core.schedule import SCHEDULES, FunctionSchedule, agp
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from tests.core.toy import LAYERS, refusal

AXES: Mapping[str, Mapping[str, Any]] = {
    "criterion": CRITERIA,
    "granularity": GRANULARITIES,
    "allocation": ALLOCATIONS,
    "schedule": SCHEDULES,
    "flow": FLOWS,
    "penalty": PENALTIES,
    "repair": REPAIRS,
    "sensitivity rule": SENSITIVITY_RULES,
    "regulariser": REGULARISERS,
}
PROMISED = {
    "criterion": (
        "magnitude_l1 magnitude_l2 magnitude_linf gradient taylor taylor_group snip snip_batch "
        "grasp grasp_batch synflow obd obs bn_scale fpgm wanda apoz mean_activation seven "
        "random"
    ),
    "granularity": (
        "fine row 2:4 1:4 4:8 vector_row vector_col kernel filter channel shape block:4x4 head"
    ),
    "allocation": "uniform uniform_plus global lamp erk manual",
    "schedule": "one_shot iterative agp linear exponential",
    "flow": (
        "rounds blockwise lottery gradual seven_pre seven_dyn movement platon surgery rigl "
        "gates slimming group_lasso magnitude_quantile gradient_quantile"
    ),
    "repair": "none bn bias least_squares obs",
    "penalty": "bn_scale_l1 group_lasso",
    "sensitivity rule": "equal_accuracy equal_loss delta_inversion least_loss",
    "regulariser": "dropout dropconnect",
}
ENTRIES = [
    pytest.param(axis, name, id=f"{axis}-{name}")
    for axis, registry in AXES.items()
    for name in registry
]


@pytest.mark.parametrize(("axis", "name"), ENTRIES)
def test_every_entry_describes_itself(axis: str, name: str) -> None:
    entry = AXES[axis][name]
    assert isinstance(entry, Entry)
    for text in (entry.label, entry.help, entry.formula, entry.source):
        assert isinstance(text, str)
        assert text == text.strip() != ""
        assert "\n" not in text
    assert entry.help.endswith(".")
    if axis != "sensitivity rule":
        years = ("19", "20")
        assert any(year in entry.source for year in years), f"{name} names no source with a year"


@pytest.mark.parametrize("axis", AXES)
def test_labels_are_distinct(axis: str) -> None:
    labels = [entry.label for entry in AXES[axis].values()]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("axis", AXES)
def test_the_axes_have_every_promised_entry(axis: str) -> None:
    """There may be more: `list`, the side bar, tables and the tests here include them."""
    assert set(PROMISED[axis].split()) <= set(AXES[axis])


@dataclass(frozen=True, kw_only=True)
class Thing(Described):
    """A thing with a class. Its second sentence.

    More about it. And more.
    """


@dataclass(frozen=True)
class Made(Described):
    """Made of a function."""

    function: Callable[[], int]


def seven() -> int:
    """The number
    seven.

    Always.
    """
    return 7


class Texts(TypedDict):
    """The texts that an entry needs."""

    label: str
    formula: str
    source: str


TEXTS: Texts = {"label": "Thing", "formula": "t = 7", "source": "Nobody 2020"}


def test_the_help_is_the_first_sentence_of_the_docstring_unless_given() -> None:
    assert Thing(**TEXTS).help == "A thing with a class."
    assert Thing(**TEXTS, help="Given.").help == "Given."
    assert Made(seven, **TEXTS).help == "The number seven."
    assert replace(Thing(**TEXTS), label="Other").help == "A thing with a class."
    assert isinstance(Thing(**TEXTS), Entry)


def test_a_new_entry_of_each_axis_is_one_function() -> None:
    """The same function that an entry holds, with four texts and no other fact, is an entry."""
    criterion = FunctionCriterion(magnitude, **TEXTS)
    facts = (criterion.needs, criterion.passes, criterion.pool, criterion.per_filter)
    assert facts == ("nothing", "none", "mean_abs", False)
    assert not criterion.needs_data
    assert not criterion.runs_network
    assert criterion.supports(LAYERS[0]) is None
    assert FunctionAllocation(uniform, **TEXTS)(LAYERS, {}, 0.5) == dict.fromkeys(
        (layer.name for layer in LAYERS), 0.5
    )
    assert FunctionSchedule(agp, rounds=2, **TEXTS)(0.5) == 0.875
    assert not Penalty(bn_scale_l1, **TEXTS).per_group


@pytest.mark.parametrize("name", CRITERIA)
def test_criteria_have_a_known_pool_and_state_what_they_read_and_cost(name: str) -> None:
    criterion = CRITERIA[name]
    assert isinstance(criterion, Criterion)
    assert criterion.pool in POOLS
    assert ("images" in criterion.needs) == criterion.needs_data
    assert ("forward" in criterion.passes) == criterion.runs_network
    assert criterion.runs_network == (criterion.needs_data or "shape" in criterion.needs)


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
