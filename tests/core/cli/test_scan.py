"""`pruning scan`."""

import csv
import json
from pathlib import Path

import pytest

from pruning_core.cli.main import main
from pruning_core.plan import Plan


def scan(plan_file: Path, out: Path, *more: str) -> int:
    return main(["scan", str(plan_file), "--out", str(out), *more])


def test_scan_writes_a_row_per_layer_and_sparsity(plan_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "curves.csv"
    assert scan(plan_file, out, "--grid", "0.5,0.9", "--device", "cpu") == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["parameter", "granularity", "sparsity", "loss", "top1"]
    assert {row["sparsity"] for row in rows} == {"0", "0.5", "0.9"}
    assert len(rows) == 3 * len({row["parameter"] for row in rows})
    assert {row["criterion"] for row in rows} == {"magnitude_l1"}


def test_a_new_process_gives_the_same_table_as_this_one(
    plan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two processes: tests/core/sensitivity/test_grid.py, without the imports of new ones."""
    one = tmp_path / "one.csv"
    other = tmp_path / "other.csv"
    criteria = ("magnitude_l1", "random")
    axes = ("--criteria", ",".join(criteria), "--granularities", "fine,row", "--grid", "0.9")
    assert scan(plan_file, one, *axes, "--device", "cpu", "--json") == 0
    points = json.loads(capsys.readouterr().out)
    assert {(point["criterion"], point["granularity"]) for point in points} == {
        (criterion, granularity) for criterion in criteria for granularity in ("fine", "row")
    }
    assert scan(plan_file, other, *axes, "--device", "cpu", "--workers", "1") == 0
    assert one.read_bytes() == other.read_bytes()
    assert scan(plan_file, one, *axes, "--workers", "0") == 2
    assert "At least one worker" in capsys.readouterr().err


def test_a_folder_instead_of_a_csv_file_is_refused_before_the_scan(
    tmp_path: Path, plan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scan(plan_file, tmp_path, "--device", "cpu") == 2
    message = capsys.readouterr().err
    assert "is a folder" in message
    assert len(message.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "group"),
    [((), "stem.conv.weight pair1.depthwise.conv.weight"), (("--alone",), "")],
    ids=["tied", "alone"],
)
def test_filters_of_tied_layers_are_removed_together_except_with_alone(
    flags: tuple[str, ...], group: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_file = tmp_path / "tied.json"
    plan = Plan(model="mobilenet", dataset="digits", granularity="filter", probe=32)
    plan_file.write_text(plan.to_json())
    out = tmp_path / "tied.csv"
    assert scan(plan_file, out, "--grid", "0.01,0.5", "--device", "cpu", *flags) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert {row["group"] for row in rows if row["parameter"] == "stem.conv.weight"} == {group}
    progress = capsys.readouterr().err
    assert "stem.conv.weight 0.01: top-1" in progress
    assert "nothing removed: less than one whole group" in progress
