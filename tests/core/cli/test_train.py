"""`pruning train`."""

import json
from pathlib import Path

import pytest

from pruning_core.cli.main import main


def test_train_writes_a_checkpoint_with_a_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "lenet_300_100-digits", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["validation"]["top1"] > 0.9
    assert (tmp_path / "lenet_300_100-digits.safetensors").exists()
    assert json.loads((tmp_path / "lenet_300_100-digits.json").read_text())


def test_an_unknown_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "lenet_300-digits", "--out", str(tmp_path)]) == 2
    assert "lenet_300" in capsys.readouterr().err
