"""The command line: list, run, scan, preview, ratios, train, study; bad input is one sentence and
status 2.
"""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from pruning_core.cli.commands import AXES, main
from pruning_core.hand_edits import HandEdits
from pruning_core.plan import Plan
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.training.config import TrainConfig
from pruning_core.zoo import DATASETS, MODELS

PLAN = Plan(model="lenet5", dataset="digits", sparsity=0.8, fine_tune=TrainConfig(epochs=1))


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(PLAN.to_json())
    return path


def test_list_names_every_entry_of_every_axis_with_formula_and_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    named = {(row["axis"], row["name"]) for row in rows}
    assert {(axis, name) for axis, entries in AXES.items() for name in entries} <= named
    assert {("model", name) for name in MODELS} | {("dataset", name) for name in DATASETS} <= named
    assert {("ratios", name) for name in SENSITIVITY_RULES} <= named
    assert ("model", "resnet18") in named
    assert all(
        row["formula"] and row["source"] and row["help"] for row in rows if row["axis"] in AXES
    )
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert all(entry.formula in text for entries in AXES.values() for entry in entries.values())


def test_run_writes_report_plan_masks_and_weights(
    plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["run", str(plan_file), "--out", str(out), "--json", "--device", "cpu"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "report.json").read_text())
    assert Plan.from_json((out / "plan.json").read_text()) == PLAN
    masks = load_file(out / "masks.safetensors")
    weights = load_file(out / "weights.safetensors")
    assert all(not weights[name][~mask].any() for name, mask in masks.items())
    gone = sum(int((~mask).sum()) for mask in masks.values()) / sum(
        mask.numel() for mask in masks.values()
    )
    assert gone == pytest.approx(report["computed"]["sparsity_masked"])


def test_the_report_names_the_number_of_threads(
    plan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_THREADS", "2")
    assert main(["run", str(plan_file), "--out", str(tmp_path), "--json", "--device", "cpu"]) == 0
    assert json.loads((tmp_path / "report.json").read_text())["threads"] == 2


def test_two_runs_of_one_plan_give_one_report(plan_file: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert (
            main(
                ["run", str(plan_file), "--out", str(tmp_path / name), "--json", "--device", "cpu"]
            )
            == 0
        )
    assert (tmp_path / "a" / "report.json").read_bytes() == (
        tmp_path / "b" / "report.json"
    ).read_bytes()


def test_scan_writes_the_tidy_table(plan_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "curves.csv"
    assert (
        main(["scan", str(plan_file), "--out", str(out), "--grid", "0.5,0.9", "--device", "cpu"])
        == 0
    )
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["parameter", "granularity", "sparsity", "loss", "top1"]
    assert {row["sparsity"] for row in rows} == {"0", "0.5", "0.9"}
    assert len(rows) == 3 * len({row["parameter"] for row in rows})
    assert {row["criterion"] for row in rows} == {"magnitude_l1"}


def test_preview_writes_bands_round_by_round(
    plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bands.csv"
    asked = [
        "preview",
        str(plan_file),
        "--out",
        str(out),
        "--grid",
        "0.5,0.8,0.9",
        "--device",
        "cpu",
        "--json",
    ]
    assert main([*asked, "--share", "0.3"]) == 0
    said = capsys.readouterr()
    bands = json.loads(said.out)
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["parameter"], float(row["sparsity"])) for row in rows] == [
        (b["parameter"], b["sparsity"]) for b in bands
    ]
    assert all(
        float(row["low"]) <= float(row["top1"]) + 1e-6 <= float(row["high"]) + 2e-6 for row in rows
    )
    assert any(0 < int(row["images"]) < int(row["n"]) for row in rows)
    assert "of the full scan's evaluations" in said.err
    assert main([*asked, "--share", "7"]) == 2
    assert "[0, 1]" in capsys.readouterr().err


def test_scan_of_two_criteria_and_granularities_by_two_processes_gives_the_same_table(
    plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = tmp_path / "ours.csv"
    theirs = tmp_path / "theirs.csv"
    asked = [
        "scan",
        str(plan_file),
        "--grid",
        "0.9",
        "--criteria",
        "magnitude_l1,random",
        "--granularities",
        "fine,row",
    ]
    assert main([*asked, "--out", str(ours), "--device", "cpu", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)
    assert {(p["criterion"], p["granularity"]) for p in points} == {
        (how, g) for how in ("magnitude_l1", "random") for g in ("fine", "row")
    }
    assert main([*asked, "--out", str(theirs), "--device", "cpu", "--workers", "2"]) == 0
    assert ours.read_bytes() == theirs.read_bytes()
    assert main([*asked, "--out", str(ours), "--workers", "0"]) == 2
    assert "At least one worker" in capsys.readouterr().err


@pytest.fixture
def curves_file(plan_file: Path, tmp_path: Path) -> Path:
    """The curves of a network without training, on few images."""
    plan_file.write_text(replace(PLAN, probe=60, fine_tune=TrainConfig(epochs=0)).to_json())
    out = tmp_path / "curves.csv"
    assert (
        main(
            ["scan", str(plan_file), "--out", str(out), "--grid", "0.3,0.6,0.9", "--device", "cpu"]
        )
        == 0
    )
    return out


@pytest.mark.parametrize(
    "more", [[], ["--way", "least_loss", "--least", "0.2", "--most", "0.85"], ["--of", "macs"]]
)
def test_one_scan_gives_plans_that_run_to_any_target(
    more: list[str],
    plan_file: Path,
    curves_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = plan_file.read_text()
    for target in (0.4, 0.6):
        made = tmp_path / "made" / "plan.json"
        out = tmp_path / "out"
        asked = [
            "ratios",
            str(plan_file),
            str(curves_file),
            "--target",
            str(target),
            "--out",
            str(made),
            *more,
        ]
        capsys.readouterr()
        assert main([*asked, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["asked"] == target
        assert told["reached"] == pytest.approx(target, abs=0.005)
        plan = Plan.from_json(made.read_text())
        assert dict(plan.overrides) == told["ratios"]
        assert replace(plan, overrides=(), sparsity=0.8) == Plan.from_json(before)
        if "--least" in more:
            assert all(0.2 <= ratio <= 0.85 for ratio in told["ratios"].values())
        assert main(["run", str(made), "--out", str(out), "--json", "--device", "cpu"]) == 0
        counts = json.loads(capsys.readouterr().out)["computed"]
        share = (
            1 - counts["macs_effective"] / counts["macs"]
            if "macs" in more
            else counts["sparsity_masked"]
        )
        assert share == pytest.approx(told["reached"], abs=1e-6)
        assert counts["sparsity_masked"] == pytest.approx(plan.sparsity, abs=1e-4)
    assert plan_file.read_text() == before
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert all(f"{ratio:.2%}  {name}" in said for name, ratio in told["ratios"].items())
    assert f"asked for 60.00% of the {told['of']}" in said
    assert f"reached {told['reached']:.2%}" in said


@pytest.mark.parametrize(
    ("more", "plan", "words"),
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
def test_ratios_that_cannot_be_made_are_refused_in_a_sentence(
    more: list[str],
    plan: dict[str, str],
    words: str,
    plan_file: Path,
    curves_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan_file.write_text(replace(PLAN, **plan).to_json())
    capsys.readouterr()
    made = tmp_path / "made.json"
    assert (
        main(
            [
                "ratios",
                str(plan_file),
                str(curves_file),
                "--target",
                "0.6",
                "--out",
                str(made),
                *more,
            ]
        )
        == 2
    )
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert not made.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ('{"sparsity": 2}', "outside [0, 1]"),
        ('{"granularity": "kernal"}', "did you mean 'kernel'"),
        ('{"model": "resnet21"}', "resnet21"),
        ('{"overrides": {"nowhere.weight": 0.5}}', "nowhere.weight"),
        ('{"model": "lenet_300_100", "granularity": "kernel"}', "Kernel"),
    ],
)
def test_a_bad_plan_is_one_sentence_and_status_2(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1


def test_a_missing_plan_and_an_unknown_device_are_told(
    tmp_path: Path, plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path / "none.json"), "--out", str(tmp_path)]) == 2
    assert "none.json" in capsys.readouterr().err
    assert main(["run", str(plan_file), "--out", str(tmp_path), "--device", "tpu"]) == 2
    assert "tpu" in capsys.readouterr().err


def test_a_folder_in_place_of_the_csv_is_told_before_the_scan(
    tmp_path: Path, plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", str(plan_file), "--out", str(tmp_path), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "is a folder" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "strange",
    [
        {"overrides": (("conv9.weight", 0.5),)},
        {"edits": (HandEdits("conv9.weight", "fine", ((0, 0, True),)),)},
    ],
    ids=["ratio", "groups"],
)
def test_what_is_set_by_hand_for_an_unknown_layer_is_refused_by_every_command(
    strange: dict[str, Any], plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_file.write_text(replace(PLAN, **strange).to_json())
    sentences = set()
    for command in ("run", "scan", "preview"):
        assert (
            main([command, str(plan_file), "--out", str(tmp_path / command), "--device", "cpu"])
            == 2
        )
        sentences.add(capsys.readouterr().err.strip().splitlines()[-1])
    (said,) = sentences
    assert "conv9.weight" in said


def test_train_writes_a_checkpoint_with_a_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "lenet_300_100-digits", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["validation"]["top1"] > 0.9
    assert (tmp_path / "lenet_300_100-digits.safetensors").exists()
    assert json.loads((tmp_path / "lenet_300_100-digits.json").read_text())
    assert main(["train", "lenet_300-digits", "--out", str(tmp_path)]) == 2
    assert "lenet_300" in capsys.readouterr().err


def test_zero_epochs_leave_the_weights(
    plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_file.write_text(replace(PLAN, fine_tune=TrainConfig(epochs=0)).to_json())
    assert main(["run", str(plan_file), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "pruned" in said
    assert "tuned" not in said


def test_scan_cuts_tied_filters_together_unless_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "tied.json"
    plan.write_text(
        Plan(model="mobilenet", dataset="digits", granularity="filter", probe=32).to_json()
    )
    for flags, group in (([], "stem.conv.weight pair1.depthwise.conv.weight"), (["--alone"], "")):
        out = tmp_path / "tied.csv"
        assert (
            main(
                [
                    "scan",
                    str(plan),
                    "--out",
                    str(out),
                    "--grid",
                    "0.01,0.5",
                    "--device",
                    "cpu",
                    *flags,
                ]
            )
            == 0
        )
        rows = list(csv.DictReader(out.read_text().splitlines()))
        assert {row["group"] for row in rows if row["parameter"] == "stem.conv.weight"} == {group}
        assert "stem.conv.weight 0.01: top-1" in (told := capsys.readouterr().err)
        assert "nothing removed: no whole group goes" in told


def test_study_writes_a_row_per_run_and_prints_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = tmp_path / "study.json"
    out = tmp_path / "runs.csv"
    folder = tmp_path / "runs"
    asked.write_text(
        '{"plan": {"model": "lenet5", "fine_tune": {"epochs": 0}}, "compressions": [2, 8], "seeds": 2}'
    )
    command = ["study", str(asked), "--out", str(out), "--folder", str(folder), "--device", "cpu"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "run 8 of 8: top-1" in said.err
    assert said.out.count("magnitude_l1") == said.out.count("random") == 2
    with out.open() as file:
        assert len(list(csv.DictReader(file))) == 8
    assert main([*command, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err.count("loaded from disk") == 8
    assert [row["seeds"] for row in json.loads(said.out)] == [2, 2, 2, 2]
    asked.write_text('{"seeds": 0}')
    assert main(command) == 2
    assert "seeds" in capsys.readouterr().err
