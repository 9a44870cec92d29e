"""The last result under each name, and masks and values that it gives again."""

from itertools import count

import pytest
import torch

from pruning_core import open_workspace
from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.granularity import granularity
from pruning_core.last_results import LARGE, LastResults
from pruning_core.pipeline import group_scores_of
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace


def test_a_result_is_computed_again_where_a_source_is_another_one() -> None:
    last = LastResults()
    numbers = count()
    first = torch.ones(2)

    def result(name: str, *sources: object) -> int:
        return last.get(name, sources, lambda: next(numbers))

    assert result("a", first, 7) == result("a", first, 7) == 0
    assert result("a", torch.ones(2), 7) == 1  # equal, but another object
    assert result("a", first, 7) == 2  # only the last one is kept
    assert result("a", first, 8) == 3
    assert result("a", first) == 4
    assert result("b", first) == 5
    assert result("a", first) == 4
    assert result("a", True) != result("a", 1)


def test_results_of_large_tensors_are_computed_at_each_call() -> None:
    last = LastResults()
    numbers = count()
    assert [last.get("a", (), lambda: next(numbers), LARGE) for _ in range(2)] == [0, 0]
    assert [last.get("b", (), lambda: next(numbers), LARGE + 1) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("name", ["3:5", "block:2x3", "kernel"])
def test_a_granularity_is_one_object_for_each_name(name: str) -> None:
    """A mask is given again for the same one only."""
    assert granularity(name) is granularity(name)


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


def plan(**overrides: float) -> Plan:
    ratios = tuple((name.replace("_", "."), ratio) for name, ratio in overrides.items())
    return Plan(model="lenet5", dataset="digits", sparsity=0.5, overrides=ratios)


def test_masks_and_tensors_of_unchanged_layers_are_given_again(space: Workspace) -> None:
    last = LastResults()
    first = plan(conv2_weight=0.3).resolve(space)
    second = plan(conv2_weight=0.7).resolve(space)
    _, groups = group_scores_of(plan(), space)
    made = [
        (masks, each.pruned_tensors(masks, last), each.pruned_tensors(masks))
        for each in (first, second, first)
        for masks in [each.masks(groups, each.ratios(groups), last)]
    ]
    (masks, tensors, _), (other_masks, other_tensors, _), _ = made
    assert [name for name in masks if masks[name] is not other_masks[name]] == ["conv2.weight"]
    assert [n for n in tensors if tensors[n] is not other_tensors[n]] == ["conv2.weight"]
    for (masks, tensors, wanted), each in zip(made, (first, second, first), strict=True):
        assert tensors.keys() == wanted.keys()
        assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)
        plain = each.masks(groups, each.ratios(groups))
        assert all(torch.equal(masks[name], plain[name]) for name in plain)


def test_a_tensor_that_was_changed_in_place_is_read_again(space: Workspace) -> None:
    split = space.dataset.val.subset(range(64))
    forward = IncrementalForward(space.model, split, judge=Judge.of(space.dataset))
    weight = space.model.get_parameter("conv2.weight").detach().clone()
    dense = forward.evaluation({"conv2.weight": weight})
    weight.zero_()
    emptied = forward.evaluation({"conv2.weight": weight})
    again = forward.evaluation({"conv2.weight": torch.zeros_like(weight)})
    assert emptied.loss == again.loss != dense.loss
