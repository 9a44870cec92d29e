"""`pruning ratios`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pruning_core.cli.main import main
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig


@pytest.fixture
def curves_file(plan: Plan, plan_file: Path, tmp_path: Path) -> Path:
    """Curves of a plan without training, on few images."""
    plan_file.write_text(replace(plan, probe=60, fine_tune=TrainConfig(epochs=0)).to_json())
    out = tmp_path / "curves.csv"
    command = ["scan", str(plan_file), "--out", str(out), "--grid", "0.3,0.6,0.9"]
    assert main([*command, "--device", "cpu"]) == 0
    return out


def computed(plan_file: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The counts in the report of a run of this plan."""
    capsys.readouterr()
    assert main(["run", str(plan_file), "--out", str(out), "--json", "--device", "cpu"]) == 0
    counts: dict[str, Any] = json.loads(capsys.readouterr().out)["computed"]
    return counts


@pytest.mark.parametrize(
    "more", [[], ["--rule", "least_loss", "--least", "0.2", "--most", "0.85"], ["--of", "macs"]]
)
def test_the_curves_of_one_scan_give_a_plan_for_any_target(
    more: list[str],
    plan_file: Path,
    curves_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = plan_file.read_text()
    new_file = tmp_path / "new" / "plan.json"
    for target in (0.4, 0.6):
        command = ["ratios", str(plan_file), str(curves_file), "--target", str(target)]
        command += ["--out", str(new_file), *more]
        capsys.readouterr()
        assert main([*command, "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["asked"] == target
        assert result["reached"] == pytest.approx(target, abs=0.005)
        plan = Plan.from_json(new_file.read_text())
        assert dict(plan.overrides) == result["ratios"]
        assert replace(plan, overrides=(), sparsity=0.8) == Plan.from_json(before)
        if "--least" in more:
            assert all(0.2 <= ratio <= 0.85 for ratio in result["ratios"].values())
        counts = computed(new_file, tmp_path / "out", capsys)
        macs_removed = 1 - counts["macs_effective"] / counts["macs"]
        removed = macs_removed if "macs" in more else counts["sparsity_masked"]
        assert removed == pytest.approx(result["reached"], abs=1e-6)
        assert counts["sparsity_masked"] == pytest.approx(plan.sparsity, abs=1e-4)
    assert plan_file.read_text() == before
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert all(f"{ratio:.2%}  {name}" in printed for name, ratio in result["ratios"].items())
    assert f"target 60.00% of the {result['of']}" in printed
    assert f"reached {result['reached']:.2%}" in printed


def test_the_older_option_way_is_the_same_as_rule(
    plan_file: Path, curves_file: Path, tmp_path: Path
) -> None:
    plans = []
    for option in ("--rule", "--way"):
        out = tmp_path / f"{option}.json"
        command = ["ratios", str(plan_file), str(curves_file), "--target", "0.5", "--out", str(out)]
        assert main([*command, option, "least_loss"]) == 0
        plans.append(out.read_text())
    assert plans[0] == plans[1]


@pytest.mark.parametrize(
    ("more", "changes", "words"),
    [
        (["--rule", "equal_los"], {}, "did you mean 'equal_loss'"),
        (["--of", "bytes"], {}, "known are weights, macs"),
        (["--target", "0.97"], {}, "scan to higher sparsities"),
        (["--target", "1.5"], {}, "outside [0, 1]"),
        (["--most", "0.5"], {}, "limits"),
        (["--least", "0.9", "--most", "0.5"], {}, "must rise"),
        ([], {"model": "lenet_300_100"}, "different layers"),
        ([], {"criterion": "taylor"}, "no curve of granularity fine and criterion taylor"),
        ([], {"granularity": "2:4"}, "2:4 itself removes 50%"),
    ],
)
def test_impossible_ratios_are_refused_in_one_sentence(
    more: list[str],
    changes: dict[str, Any],
    words: str,
    plan: Plan,
    plan_file: Path,
    curves_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan_file.write_text(replace(plan, **changes).to_json())
    capsys.readouterr()
    out = tmp_path / "new.json"
    command = ["ratios", str(plan_file), str(curves_file), "--target", "0.6", "--out", str(out)]
    assert main([*command, *more]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert len(message.strip().splitlines()) == 1
    assert not out.exists()


def test_corrected_ratios_have_the_lowest_measured_loss_and_no_limits(
    plan_file: Path, curves_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new_file = tmp_path / "plan.json"
    command = ["ratios", str(plan_file), str(curves_file), "--target", "0.8"]
    command += ["--rule", "corrected", "--out", str(new_file)]
    assert main([*command, "--least", "0.2"]) == 2
    assert "has no limits" in capsys.readouterr().err
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["reached"] == pytest.approx(0.8, abs=0.005)
    assert {"uniform", "global", "lamp", "erk", "least_loss"} <= set(result["measured"])
    assert dict(Plan.from_json(new_file.read_text()).overrides) == result["ratios"]
    assert main(command) == 0
    assert "accuracy, measured: Uniform" in capsys.readouterr().out
