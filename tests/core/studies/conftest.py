"""Fixtures of the tests of studies: a small network, and a small study that is finished."""

from pathlib import Path

import pytest

from pruning_core.studies import Result, load_results, run_study
from pruning_core.workspaces import Workspace, open_workspace
from tests.core.studies.small_study import SMALL


@pytest.fixture(scope="session")
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


@pytest.fixture(scope="session")
def finished(
    space: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[Result, ...]]:
    folder = tmp_path_factory.mktemp("study")
    list(run_study(SMALL, space, folder))
    return folder, load_results(SMALL, folder)
