"""`pruning farthest`: a plan at the largest sparsity within the limit."""

import json
from pathlib import Path

import pytest

from pruning_core.cli.main import main
from pruning_core.plan import Plan


def test_farthest_writes_the_plan_and_prints_what_was_measured(
    plan: Plan, plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "farthest.json"
    assert main(["farthest", str(plan_file), "--lose", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    found = Plan.from_json(out.read_text(encoding="utf-8"))
    assert f"{found.sparsity:.0%} can be removed: top-1" in printed.out
    assert "within the limit" in printed.err
    assert "loses too much" in printed.err
    assert found.model == plan.model
    assert main(["farthest", str(plan_file), "--lose", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["sparsity"] == found.sparsity
    kept = [t["sparsity"] for t in result["tried"] if t["within"]]
    assert max(kept) == found.sparsity
    assert all(t["change"] >= -0.02 for t in result["tried"] if t["within"])


def test_a_file_size_sets_the_sparsity(
    plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "small.json"
    command = ["farthest", str(plan_file), "--bytes", "30%"]
    assert main([*command, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    found = Plan.from_json(out.read_text(encoding="utf-8"))
    assert f"{found.sparsity:.0%} removed: " in printed.out
    assert "(sparse, measured)" in printed.out
    assert "too large" in printed.err
    assert main([*command, "--format", "bitmap", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["bytes"] <= result["limit"] == int(0.3 * result["dense_bytes"])
    assert not result["measured"]
    assert result["sparsity"] >= found.sparsity
    assert main(["farthest", str(plan_file), "--bytes", "small"]) == 2
    assert "'small' is no size" in capsys.readouterr().err
