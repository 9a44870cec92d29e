"""The shared caches: each result has the right key, and nothing changes the base model."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
import streamlit as st
import torch

from explorer.jobs.processes import Processes
from explorer.jobs.work import Work
from explorer.limits import variable
from explorer.session import cache
from pruning_core import pipeline
from pruning_core.pipeline import choose_masks
from pruning_core.plan import Plan
from pruning_core.types import DataMissing, PruningError
from pruning_core.workspaces import Workspace, open_workspace
from tests.explorer.weights import weights_hash

PLAN = Plan(model="lenet5", probe=64, calibration=32)


@pytest.fixture(scope="module")
def space() -> Workspace:
    return cache.workspace("lenet5", "digits")


def test_the_workspace_is_shared(space: Workspace) -> None:
    assert cache.workspace("lenet5", "digits") is space


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        replace(PLAN, criterion="taylor", granularity="filter", sparsity=0.4),
        replace(PLAN, criterion="gradient", allocation="lamp", sparsity=0.9),
        replace(PLAN, granularity="row", sparsity=0.7),
    ],
    ids=lambda plan: f"{plan.criterion}-{plan.granularity}-{plan.allocation}",
)
def test_results_equal_those_of_the_core_and_the_base_model_stays(
    plan: Plan, space: Workspace
) -> None:
    before = weights_hash(space)
    ratios, masks = choose_masks(plan, space)
    assert cache.ratios(plan, space) == ratios
    assert all(torch.equal(masks[name], mask) for name, mask in cache.masks(plan, space).items())
    pruned = cache.accuracy(plan, space)
    dense = cache.dense_accuracy(plan, space)
    assert pruned.n == dense.n == len(cache.probe(plan, space)) == 64
    assert cache.dense_report(space).nonzeros > cache.report(plan, space).nonzeros
    assert cache.test_accuracy(plan, space).n == len(cache.test_split(plan, space))
    assert weights_hash(space) == before == weights_hash(open_workspace("lenet5", "digits"))


def test_the_hash_depends_on_every_weight(space: Workspace) -> None:
    other = open_workspace("lenet5", "digits")
    with torch.no_grad():
        next(other.model.parameters()).view(-1)[0] += 1
    assert weights_hash(other) != weights_hash(space)


def test_each_caller_gets_its_own_pruned_model(space: Workspace) -> None:
    first = cache.pruned_model(PLAN, space)
    second = cache.pruned_model(PLAN, space)
    assert first is not second
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert any(parameter.any() for parameter in second.parameters())


def test_scores_are_kept_while_only_the_sparsity_moves(space: Workspace) -> None:
    with patch.object(pipeline, "group_scores_of", wraps=pipeline.group_scores_of) as scoring:
        for sparsity in (0.11, 0.12, 0.13):
            cache.masks(replace(PLAN, criterion="random", seed=99, sparsity=sparsity), space)
    assert scoring.call_count == 1


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"sparsity": 0.6}, True),
        ({"overrides": (("conv1.weight", 0.1),)}, True),
        ({"seed": 5}, True),
        ({"calibration": 64}, True),
        ({"criterion": "random"}, False),
        ({"granularity": "row"}, False),
        ({"model": "vgg"}, False),
        ({"dataset": "mnist"}, False),
    ],
    ids=str,
)
def test_a_score_key_contains_only_what_scores_depend_on(
    change: dict[str, Any], same: bool
) -> None:
    assert (cache.score_key(replace(PLAN, **change)) == cache.score_key(PLAN)) is same


def test_seed_and_calibration_are_in_the_key_only_where_they_are_used() -> None:
    chance = replace(PLAN, criterion="random")
    slope = replace(PLAN, criterion="taylor")
    assert cache.score_key(chance) != cache.score_key(replace(chance, seed=1))
    assert cache.score_key(slope) != cache.score_key(replace(slope, calibration=64))
    assert cache.score_key(replace(PLAN, criterion="magnitude_l2")) != cache.score_key(PLAN)


def test_ratios_of_layers_that_cannot_be_pruned_are_not_used(space: Workspace) -> None:
    plan = replace(
        PLAN, granularity="filter", overrides=(("conv1.weight", 0.5), (space.layers[-1].name, 0.5))
    )
    runnable, sentences = cache.runnable_plan(plan, space)
    assert runnable.overrides == (("conv1.weight", 0.5),)
    assert len(sentences) == 1
    assert "outputs" in sentences[0]
    cache.masks(runnable, space)


def test_missing_files_are_not_requested_again_at_once() -> None:
    with patch.object(cache, "open_workspace", side_effect=DataMissing("Not here.")) as opening:
        for _ in range(3):
            with pytest.raises(DataMissing, match="Not here"):
                cache.workspace("vgg", "mnist")
    assert opening.call_count == 1


def test_an_unknown_name_raises() -> None:
    with pytest.raises(PruningError, match="There is no"):
        cache.workspace("resnet2000", "digits")


@dataclass(frozen=True)
class First:
    value: int


@dataclass(frozen=True)
class Second:
    value: int


def test_a_key_contains_the_type_of_a_nested_value() -> None:
    """Streamlit's own hash of (First(1),) and (Second(1),) is the same."""
    calls: list[object] = []

    @cache.cached(lambda value: (value,), 4)
    def name_of(value: object) -> str:
        calls.append(value)
        return type(value).__name__

    for _ in range(2):
        assert [name_of(First(1)), name_of(Second(1))] == ["First", "Second"]
    assert calls == [First(1), Second(1)]


def test_two_functions_with_equal_keys_have_separate_caches() -> None:
    @cache.cached(lambda value: value, 4)
    def double(value: int) -> int:
        return 2 * value

    @cache.cached(lambda value: value, 4)
    def triple(value: int) -> int:
        return 3 * value

    assert [double(5), triple(5), double(5)] == [10, 15, 10]


def test_a_network_of_the_same_name_gets_its_own_results(space: Workspace) -> None:
    other = open_workspace("lenet5", "digits")
    with torch.no_grad():
        other.model.get_parameter("fc3.weight").neg_()
    assert cache.accuracy(PLAN, space).value > cache.accuracy(PLAN, other).value
    assert cache.cached_detail(lambda: "own", space, "part") == "own"
    assert cache.cached_detail(lambda: "other", other, "part") == "other"
    assert cache.cached_detail(lambda: "again", space, "part") == "own"


def test_a_browser_that_clears_the_caches_of_streamlit_deletes_no_run() -> None:
    jobs = cache.jobs()
    owners = cache.owners()
    st.cache_resource.clear()
    st.cache_data.clear()
    assert cache.jobs() is jobs
    assert cache.owners() is owners


def test_runs_compute_in_processes_where_the_server_is_set_so(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def events(_self: Processes, work: Work) -> Iterator[object]:
        yield (work.model, work.dataset, work.space is space)
        yield from work.here()

    def layers(own: Workspace) -> Iterator[object]:
        yield len(own.layers)

    monkeypatch.setattr(Processes, "events", events)
    cache.processes.cache_clear()
    monkeypatch.setenv(variable("job_processes"), "1")
    start = cache.work(PLAN, space, partial(layers), lambda own: (("kept", e) for e in own))
    cache.processes.cache_clear()
    assert list(start()) == [("kept", ("lenet5", "digits", True)), ("kept", 5)]
    monkeypatch.setenv(variable("job_processes"), "0")
    assert list(cache.work(PLAN, space, partial(layers))()) == [5]
