"""`pruning study`."""

import csv
import json
from pathlib import Path

import pytest

from pruning_core.cli.main import main
from pruning_core.errors import PruningError
from pruning_core.studies import runner

STUDY = (
    '{"plan": {"model": "lenet5", "fine_tune": {"epochs": 0}}, "compressions": [2, 8], "seeds": 2}'
)


def test_study_writes_a_row_per_run_and_prints_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study.json"
    out = tmp_path / "runs.csv"
    study.write_text(STUDY)
    command = ["study", str(study), "--out", str(out), "--folder", str(tmp_path / "runs")]
    command += ["--device", "cpu"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "run 8 of 8: top-1" in printed.err
    assert printed.out.count("magnitude_l1") == printed.out.count("random") == 2
    with out.open() as file:
        assert len(list(csv.DictReader(file))) == 8
    assert main([*command, "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err.count("loaded from disk") == 8
    assert [row["seeds"] for row in json.loads(printed.out)] == [2, 2, 2, 2]


def test_a_bad_study_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study.json"
    study.write_text('{"seeds": 0}')
    assert main(["study", str(study), "--device", "cpu"]) == 2
    assert "seeds" in capsys.readouterr().err


def test_a_study_whose_every_run_fails_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise PruningError("The loss is not finite.")

    monkeypatch.setattr(runner.StudyRunner, "events", fails)
    study = tmp_path / "study.json"
    study.write_text(STUDY.replace("[2, 8]", "[2]").replace('"seeds": 2', '"seeds": 1'))
    command = ["study", str(study), "--folder", str(tmp_path / "runs"), "--device", "cpu"]
    assert main(command) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "Every run of the study failed; the last one: The loss is not finite."
    )
