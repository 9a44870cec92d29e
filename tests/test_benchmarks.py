"""`make bench` runs every benchmark and reports those left out; documented commands exist."""

import importlib.util
import inspect
import json
import re
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

from benchmarks import mask_lab_drag, release
from benchmarks.run import SCRIPTS, Script, measured
from benchmarks.studies import granularity_order, seven_table
from benchmarks.timing import Row, Seconds, Unmeasured
from pruning_core.types import DataMissing

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks"
ROW = Row("a claim", Seconds(1, 0.5), Seconds(3, 2), "a peer", 2.0)


def test_every_benchmark_of_the_folder_is_run() -> None:
    # They print tables of the docs, not times.
    tables = {
        "torchvision_table",
        "sparse_file",
        "ratio_rules",
        "read_only_root",
        "lessons",
        "reproductions",
        "history_kills",
        "history_page",
        "full_disk",
        "kills",
        "malformed",
        "repairs",
        "search_eagleeye",
        "search_methods",
        "search_planted",
        "server_restart",
        "sessions",
        "thin_table",
        "workbench",
    }
    parts = {"forked", "malformed_inputs", "malformed_kinds"}
    tools = {"run", "timing", "network_table", *tables, *parts}
    modules = {path.stem for path in FOLDER.glob("*.py")} - tools
    assert set(SCRIPTS) == modules
    for name, script in SCRIPTS.items():
        assert script.rows.__module__ == f"benchmarks.{name}"
        inspect.signature(script.rows).bind(script.quick)
        assert 1 <= script.quick <= script.rounds


@pytest.mark.parametrize(
    "path",
    [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(FOLDER.rglob("*.py"))],
    ids=lambda path: path.name,
)
def test_documented_commands_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert all(
        importlib.util.find_spec(name) for name in re.findall(r"-m (benchmarks\.[\w.]*\w)", text)
    )
    assert not re.search(r"python benchmarks/", text)


def test_a_benchmark_that_cannot_be_measured_is_left_out_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(_: int) -> list[Row]:
        raise Unmeasured("It needs a thing.")

    rounds_used: list[int] = []

    def works(rounds: int) -> list[Row]:
        rounds_used.append(rounds)
        return [ROW]

    path = tmp_path / "results.json"
    scripts = {"first": Script(refuses, 3, 1), "second": Script(works, 3, 1)}
    assert measured(scripts, quick=True, path=path) == ([ROW], {"first": "It needs a thing."})
    assert rounds_used == [1]
    assert re.search(r"first +\| left out: It needs a thing\.\n", capsys.readouterr().out)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["left_out"] == {"first": "It needs a thing."}
    assert [row["ratio"] for row in written["rows"]] == [4.0]


def test_missing_chromium_or_images_are_reported_in_one_sentence() -> None:
    with (
        patch.object(shutil, "which", return_value=None),
        pytest.raises(Unmeasured, match="Chromium"),
    ):
        mask_lab_drag.rows(1)
    missing = DataMissing("There is no Fashion-MNIST here.")
    with (
        patch.object(release, "load_data", side_effect=missing),
        pytest.raises(Unmeasured, match="Fashion-MNIST"),
    ):
        release.rows(1)


def test_studies_have_their_own_folder() -> None:
    assert {path.stem for path in (FOLDER / "studies").glob("*.py")} == {
        "granularity_order",
        "seven_table",
    }
    assert vars(seven_table)["finished"] is granularity_order.finished
