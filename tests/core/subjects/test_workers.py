"""Worker processes open a subject by its name."""

import os
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from pruning_core import Plan
from pruning_core.sensitivity.backends import dask, in_process
from pruning_core.sensitivity.grid import measure
from pruning_core.sensitivity.grid_jobs import Grid, OpenByName
from pruning_core.subjects import VARIABLE, subject_files
from tests.core.toy import refusal
from tests.third_party import write_package

GRID = Grid((0.5, 0.9))
PLAN = Plan(model="pictures", dataset="pictures_data", probe=10)


def test_dask_workers_open_a_subject_by_its_name(tmp_path: Path) -> None:
    """The process pool is the same, and inherits the environment."""
    file = write_package(tmp_path, "worker_package")
    with subject_files([file]):
        here = list(measure(GRID, PLAN, backend=in_process()))
        with (
            LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="") as cluster,
            Client(cluster) as client,
        ):
            assert list(measure(GRID, PLAN, backend=dask(client))) == here


def test_a_worker_without_the_variable_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert VARIABLE not in os.environ
    assert VARIABLE in refusal(OpenByName(PLAN))
