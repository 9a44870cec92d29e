"""`pruning farthest`: a plan at the largest sparsity within the limit."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from pruning_core.cli.main import main
from pruning_core.compress import time_target
from pruning_core.compress.time_target import TriedTime
from pruning_core.plan import Plan
from tests.core.compress.test_latency import timing


def test_farthest_writes_the_plan_and_prints_what_was_measured(
    plan: Plan, plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "farthest.json"
    assert main(["farthest", str(plan_file), "--lose", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    found = Plan.from_json(out.read_text(encoding="utf-8"))
    assert f"{found.sparsity:.0%} of the prunable weights can be removed: top-1" in printed.out
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


def test_a_time_is_searched_on_the_thinned_network(
    plan: Plan, plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["farthest", str(plan_file), "--time", "0.4"]) == 2
    assert "zeros save no time" in capsys.readouterr().err
    assert main(["farthest", str(plan_file), "--time", "fast"]) == 2
    assert "'fast' is no part of the dense time" in capsys.readouterr().err
    plan_file.write_text(replace(plan, granularity="filter", probe=40).to_json())
    found = TriedTime(0.5, 0.4, (0.39, 0.41), True, timing("thin", 2.5, 0.1))
    with patch.object(time_target._Search, "try_at", lambda self, step: _tried(self, step, found)):
        assert main(["farthest", str(plan_file), "--time", "45%"]) == 0
        printed = capsys.readouterr().out
        assert "1% removed: 40% of the dense time [39%, 41%], n = 31, within the limit" in printed
        assert "(PyTorch, batch 32, thinned, measured), at most 45%" in printed
        assert main(["farthest", str(plan_file), "--time", "0.45", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["share_interval_95"] == [0.39, 0.41]
    assert result["limit"] == 0.45


def _tried(search: time_target._Search, step: int, measured: TriedTime) -> TriedTime:
    search.tried[step] = replace(measured, sparsity=step / 100)
    return search.tried[step]
