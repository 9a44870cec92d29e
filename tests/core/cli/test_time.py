"""`pruning time`: a table, a record, and the files of the advised network."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pruning_core.cli.main import main
from pruning_core.plan import Plan


def test_time_prints_and_writes_what_was_measured(
    plan: Plan, plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "times"
    plan_file.write_text(replace(plan, granularity="filter").to_json())
    common = ["time", str(plan_file), "--batch", "2", "--seconds", "0.05", "--runtimes", "eager"]
    assert main([*common, "--advise", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "Masked (zeros)" in printed.out
    assert "Thinned, 16s: " in printed.out
    assert "\nAdvice: " in printed.out
    assert "preparing PyTorch, batch 2" in printed.err
    record = json.loads((out / "latency.json").read_text(encoding="utf-8"))
    assert {t["variant"] for t in record["times"][0]["timings"]} >= {
        "dense",
        "masked",
        "thin",
        "csr",
    }
    assert record["machine"]["threads"] >= 1
    assert [layer["layer"] for layer in record["advice"]["layers"]] == ["fc1", "fc2", "fc3"]
    assert {t["variant"] for t in record["advice"]["timings"]} >= {"dense", "masked", "thin"}
    assert {path.name for path in out.iterdir()} == {"latency.json", "mixed.pt", "load_mixed.py"}


def test_an_unknown_runtime_is_one_sentence(
    plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["time", str(plan_file), "--runtimes", "onnx"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("There is no runtime 'onnx'")
