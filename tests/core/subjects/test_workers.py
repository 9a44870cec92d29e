"""Workers open a subject by its name. A process that a command starts inherits the variable."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pruning_core import Plan
from pruning_core.backends import executor_backend, in_process, pickle_runner
from pruning_core.sensitivity.grid import measure
from pruning_core.sensitivity.grid_jobs import Grid, OpenByName, RunnerSource, job_runner
from pruning_core.subjects import VARIABLE, subject_files
from pruning_core.workspaces import open_workspace
from tests.core.toy import refusal
from tests.third_party import write_package

GRID = Grid((0.5, 0.9))
PLAN = Plan(model="pictures", dataset="pictures_data", probe=10)


def test_workers_are_sent_names_and_open_them(tmp_path: Path) -> None:
    file = write_package(tmp_path, "worker_package")
    with subject_files([file]), ThreadPoolExecutor(1) as executor:
        here = list(measure(GRID, PLAN, backend=in_process(1)))
        assert list(measure(GRID, PLAN, backend=executor_backend(executor))) == here
        space = open_workspace(PLAN.model, PLAN.dataset)
        sent = pickle_runner(RunnerSource(job_runner(PLAN, space), PLAN))
    assert b"pictures_data" in sent
    assert len(sent) < 4000


def test_a_worker_without_the_variable_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert VARIABLE in refusal(OpenByName(PLAN))
