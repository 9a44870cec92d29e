"""Studies: which runs they have, their JSON, and which methods a network supports."""

from dataclasses import replace
from pathlib import Path

import pytest

from pruning_core import studies
from pruning_core.granularity import granularity
from pruning_core.plan import Plan
from pruning_core.studies import (
    BASELINES,
    Run,
    Study,
    run_plan,
    run_study,
    runnable_runs,
    unsupported_methods,
)
from pruning_core.training.config import TrainConfig
from pruning_core.workspaces import Workspace
from tests.core.studies.small_study import ROOT, SMALL, TUNE
from tests.core.toy import refusal


def test_baselines_are_always_included_and_studies_with_equal_content_are_equal() -> None:
    one = Study(
        criteria=("wanda", "snip"), compressions=(8.0, 2.0, 2.0), granularities=("filter", "fine")
    )
    other = Study(
        Plan(criterion="snip", sparsity=0.9, seed=5, fine_tune=TrainConfig(seed=9)),
        ("random", "snip", "wanda"),
    )
    assert one.criteria == other.criteria == (*BASELINES, "snip", "wanda")
    assert one.compressions == (2.0, 8.0)
    assert one.granularities == ("fine", "filter")
    assert replace(one, compressions=studies.COMPRESSIONS, granularities=("fine",)) == other


def test_runs_are_ordered_by_seed_and_appear_once() -> None:
    study = Study(
        criteria=("snip",), granularities=("fine", "2:4"), compressions=(2.0, 4.0), seeds=2
    )
    runs = study.runs
    assert len(set(runs)) == len(runs) == 2 * 3 * (2 + 1)
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)
    assert granularity("2:4").fixed_ratio == 0.5
    assert {run.compression for run in runs if run.granularity == "2:4"} == {2.0}


@pytest.mark.parametrize("compression", [2.0, 4.0, 8.0, 16.0, 32.0])
def test_the_plan_of_a_run_has_its_sparsity_and_its_seed(compression: float) -> None:
    plan = run_plan(SMALL, Run("snip", "kernel", compression, 7))
    assert plan.sparsity == 1 - 1 / compression
    assert (plan.criterion, plan.granularity, plan.seed, plan.fine_tune.seed) == (
        "snip",
        "kernel",
        7,
        7,
    )
    assert plan.fine_tune == replace(TUNE, seed=7)


def test_a_study_read_from_its_json_is_equal() -> None:
    study = replace(
        SMALL,
        criteria=("seven", "my_module:score"),
        granularities=("block:2x2", "fine"),
        compressions=(1.5, 3.0),
    )
    assert Study.from_json(study.to_json()) == study
    assert Study.from_json("{}") == Study()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ('{"version": 9}', "version 9"),
        ('{"criteria": ["snap"]}', "did you mean 'snip'"),
        ('{"criteria": "snip"}', "list of names"),
        ('{"granularities": []}', "at least one"),
        ('{"granularities": ["kernal"]}', "did you mean 'kernel'"),
        ('{"compressions": []}', "at least one"),
        ('{"compressions": [1]}', "outside 1"),
        ('{"compressions": [true]}', "list of numbers"),
        ('{"seeds": 0}', "outside 1"),
        ('{"seeds": 2.5}', "whole number"),
        ('{"images": -1}', "negative"),
        ('{"seads": 3}', "did you mean 'seeds'"),
        ('{"plan": {"allocation": "manual"}}', "manual"),
        ('{"plan": {"overrides": {"conv1.weight": 0.5}}}', "set by hand"),
        ('{"plan": {"model": 3}}', "model"),
    ],
)
def test_invalid_json_is_refused_in_one_sentence(text: str, words: str) -> None:
    assert words in refusal(lambda: Study.from_json(text))


def test_methods_that_cannot_prune_the_network_are_left_out_with_a_reason(space: Workspace) -> None:
    study = replace(SMALL, criteria=("bn_scale",), granularities=("fine", "head"))
    without = unsupported_methods(study, space)
    assert {("bn_scale", "fine"), ("random", "head"), ("magnitude_l1", "head")} <= without.keys()
    assert all(len(why.split()) > 4 for why in without.values())
    assert {(run.criterion, run.granularity) for run in runnable_runs(study, space)} == {
        ("magnitude_l1", "fine"),
        ("random", "fine"),
    }
    nothing = replace(study, granularities=("head",))
    assert "No method" in refusal(lambda: list(run_study(nothing, space, Path("never made"))))
    assert not Path("never made").exists()


def test_the_included_study_has_75_runs() -> None:
    study = Study.from_json((ROOT / "benchmarks/studies/resnet20.json").read_text())
    assert len(study.criteria) == 5
    assert study.compressions == studies.COMPRESSIONS
    assert len(study.runs) == 75
