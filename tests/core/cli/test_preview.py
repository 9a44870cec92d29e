"""`pruning preview`."""

import csv
import json
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from pruning_core.cli.main import main
from pruning_core.cli.preview import mean_width
from pruning_core.sensitivity.preview_bands import Band, bands_csv
from pruning_core.tasks import TASKS


def test_preview_writes_bands_and_prints_them_as_json(
    plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bands.csv"
    command = ["preview", str(plan_file), "--out", str(out), "--grid", "0.5,0.8,0.9"]
    command += ["--device", "cpu", "--json"]
    assert main([*command, "--share", "0.3"]) == 0
    printed = capsys.readouterr()
    bands = json.loads(printed.out)
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["parameter"], float(row["sparsity"])) for row in rows] == [
        (band["parameter"], band["sparsity"]) for band in bands
    ]
    for row in rows:
        assert float(row["low"]) <= float(row["top1"]) + 1e-6 <= float(row["high"]) + 2e-6
    assert any(0 < int(row["images"]) < int(row["n"]) for row in rows)
    assert "of the full scan's evaluations" in printed.err
    assert main([*command, "--share", "7"]) == 2
    assert "[0, 1]" in capsys.readouterr().err


def test_bands_without_both_ends_have_no_mean_width() -> None:
    band = Band("w", "fine", 0.5, 0.5, 2.0, (1.0, 4.0), 10, 20, task=TASKS["regression"])
    open_end = replace(band, interval=(1.0, inf))
    assert mean_width([band, band]) == "3"
    assert mean_width([band, open_end]) == "not known yet (1 of 2 bands have both ends)"
    header = bands_csv([replace(band, task=replace(band.task, samples="samples"))]).split("\n")[0]
    assert "achieved,samples,n" in header
    assert "images" not in header
