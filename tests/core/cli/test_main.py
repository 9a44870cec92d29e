"""Bad input of any command gives one sentence and the exit status 2."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pruning_core.cli.main import COMMANDS, main, parser
from pruning_core.hand_edits import HandEdits
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from tests.third_party import write_package


def test_the_help_calls_the_program_pruning_and_lists_every_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("usage: pruning ")
    assert COMMANDS.keys() <= {line.split()[0] for line in lines if line.strip()}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_has_valid_arguments(name: str) -> None:
    program, command, *arguments = COMMANDS[name].example.split()
    assert (program, command) == ("pruning", name)
    assert parser().parse_args([command, *arguments]).command == name


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
def test_a_bad_plan_gives_one_sentence_and_status_2(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert len(message.strip().splitlines()) == 1


def test_a_full_disk_behind_the_standard_output_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # its end fails if a part is left
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["list", "--json"]) == 2
    expected = "The standard output cannot be read or written: No space left on device.\n"
    assert capsys.readouterr().err == expected


def test_the_message_names_a_missing_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path / "none.json"), "--out", str(tmp_path)]) == 2
    assert "none.json" in capsys.readouterr().err


def test_the_message_names_an_unknown_device(
    tmp_path: Path, plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(plan_file), "--out", str(tmp_path), "--device", "tpu"]) == 2
    assert "tpu" in capsys.readouterr().err


@pytest.mark.parametrize(
    "unknown_layer",
    [
        {"overrides": (("conv9.weight", 0.5),)},
        {"edits": (HandEdits("conv9.weight", "fine", ((0, 0, True),)),)},
    ],
    ids=["ratio", "groups"],
)
def test_every_command_refuses_manual_changes_of_an_unknown_layer(
    unknown_layer: dict[str, Any],
    plan: Plan,
    plan_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan_file.write_text(replace(plan, **unknown_layer).to_json())
    messages = set()
    for command in ("run", "scan", "preview"):
        out = str(tmp_path / command)
        assert main([command, str(plan_file), "--out", out, "--device", "cpu"]) == 2
        messages.add(capsys.readouterr().err.strip().splitlines()[-1])
    (message,) = messages
    assert "conv9.weight" in message


def test_commands_open_subjects_and_report_how_data_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_package(tmp_path, "cli_package")
    plan = Plan(model="pictures", dataset="pictures_data", fine_tune=TrainConfig(epochs=0))
    (tmp_path / "plan.json").write_text(plan.to_json())
    subject = ("--subject", str(file))
    run = ("run", str(tmp_path / "plan.json"), "--out", str(tmp_path / "out"), *subject)
    assert main(run) == 0
    assert "A tenth of train=" in capsys.readouterr().err
    assert "cli_package.nets" in (tmp_path / "out" / "load_masks.py").read_text()
    assert main(("list", *subject)) == 0
    assert "pictures_data" in capsys.readouterr().out
    assert main(run[:-2]) == 2
    assert "There is no model 'pictures'" in capsys.readouterr().err
    for broken, words in (("broken", "does_not_exist"), ("failing", "first line")):
        text = plan.to_json().replace("pictures", broken)
        (tmp_path / "plan.json").write_text(text)
        assert main(run) == 2
        error = capsys.readouterr().err
        assert words in error
        assert "nets.py, line" in error
        assert "Traceback" not in error
