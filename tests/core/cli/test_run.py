"""`pruning run`."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from pruning_core.cli.main import main
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig


def run(plan_file: Path, out: Path, *more: str) -> int:
    return main(["run", str(plan_file), "--out", str(out), "--device", "cpu", *more])


def test_run_writes_report_plan_masks_and_weights(
    plan: Plan, plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(plan_file, out, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "report.json").read_text())
    assert Plan.from_json((out / "plan.json").read_text()) == plan
    masks = load_file(out / "masks.safetensors")
    weights = load_file(out / "weights.safetensors")
    assert all(not weights[name][~mask].any() for name, mask in masks.items())
    removed = sum(int((~mask).sum()) for mask in masks.values())
    sparsity = removed / sum(mask.numel() for mask in masks.values())
    assert sparsity == pytest.approx(report["computed"]["sparsity_masked"])
    stored = report["computed"]["stored_bytes"]
    assert stored["dense"] == report["computed"]["dense_bytes"] > stored["bitmap"]


def test_a_sparse_start_of_layers_that_the_plan_cannot_prune_has_a_report(
    plan: Plan, plan_file: Path, tmp_path: Path
) -> None:
    first = replace(plan, fine_tune=TrainConfig(epochs=0))
    plan_file.write_text(first.to_json())
    assert run(plan_file, tmp_path / "fine") == 0
    plan_file.write_text(replace(first, granularity="filter", sparsity=0.3).to_json())
    masks = str(tmp_path / "fine" / "masks.safetensors")
    assert run(plan_file, tmp_path / "filter", "--start-masks", masks, "--time") == 0
    report = json.loads((tmp_path / "filter" / "report.json").read_text())
    assert report["time"]["speedup"] > 0
    assert report["time"]["n"] >= 7
    computed = report["computed"]
    assert computed["stored_bytes"]["bitmap"] < computed["stored_bytes"]["dense"] / 4


def test_the_report_has_the_number_of_threads(
    plan: Plan, plan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_file.write_text(replace(plan, fine_tune=TrainConfig(epochs=0)).to_json())
    monkeypatch.setenv("PRUNING_EXPLORER_THREADS", "2")
    assert run(plan_file, tmp_path, "--json") == 0
    assert json.loads((tmp_path / "report.json").read_text())["threads"] == 2


def test_two_runs_of_a_plan_give_the_same_report(plan_file: Path, tmp_path: Path) -> None:
    reports = []
    for name in ("a", "b"):
        assert run(plan_file, tmp_path / name, "--json") == 0
        reports.append((tmp_path / name / "report.json").read_bytes())
    assert reports[0] == reports[1]


def test_without_epochs_the_weights_are_not_fine_tuned(
    plan: Plan, plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_file.write_text(replace(plan, fine_tune=TrainConfig(epochs=0)).to_json())
    assert run(plan_file, tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "pruned" in printed
    assert "tuned" not in printed
