"""A command that was killed continues when it is given again."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pruning_core import __version__, open_workspace
from pruning_core.cli.files import read_plan
from pruning_core.cli.main import main
from pruning_core.history import History, unfinished
from pruning_core.history.records import content_id
from pruning_core.history.unfinished import Jobs
from pruning_core.plan import Plan
from pruning_core.sensitivity.grid_jobs import Job, JobRunner
from pruning_core.studies import fingerprint
from pruning_core.training.config import TrainConfig
from pruning_core.training.journal import Journal
from pruning_core.types import GroupScores, SensitivityPoint

Command = Callable[..., None]


@pytest.fixture
def folder(tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a plan, where everything is kept at once."""
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))
    monkeypatch.setenv("PRUNING_EXPLORER_HISTORY", str(tmp_path / "history"))
    monkeypatch.setattr(unfinished, "Journal", partial(Journal, every=0.0, share=math.inf))
    two = replace(plan, fine_tune=TrainConfig(epochs=2, batch_size=256))
    (tmp_path / "plan.json").write_text(two.to_json())
    return tmp_path


@pytest.fixture
def killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command that ends when the module's function is called for the nth time."""

    def run(command: str, out: str, module: str, function: str, nth: int, *more: str) -> None:
        calls = []

        def end(*arguments: object) -> None:
            calls.append(arguments)
            if len(calls) == nth:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(f"pruning_core.cli.{module}.{function}", end)
            with pytest.raises(KeyboardInterrupt):
                main([command, str(folder / "plan.json"), "--out", str(folder / out), *more])

    return run


def given(folder: Path, command: str, out: str, *more: str) -> Path:
    assert main([command, str(folder / "plan.json"), "--out", str(folder / out), *more]) == 0
    assert not list((folder / "jobs").iterdir())
    return folder / out


def test_run_goes_on_after_its_epoch(
    folder: Path, killed: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    killed("run", "cut", "run", "note_epoch", 2)
    (begun,) = History(folder / "history").runs()
    capsys.readouterr()
    cut = given(folder, "run", "cut")
    notes = capsys.readouterr().err
    assert "the same run was interrupted" in notes
    assert "continues after epoch 1 of 2" in notes
    (ended,) = History(folder / "history").runs()
    assert (begun.state, ended.state, begun.id) == ("interrupted", "finished", ended.id)
    whole = given(folder, "run", "whole", "--no-history")
    for name in ("weights.safetensors", "report.json"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


def test_scan_goes_on_after_its_layer_and_is_kept(
    folder: Path, killed: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = ("--grid", "0.5,0.9")
    killed("scan", "cut.csv", "scan", "_note_point", 5, *grid)
    jobs = []
    measured = JobRunner.run

    def run(runner: JobRunner, job: Job, groups: GroupScores) -> list[SensitivityPoint]:
        jobs.append(job)
        return measured(runner, job, groups)

    monkeypatch.setattr(JobRunner, "run", run)
    cut = given(folder, "scan", "cut.csv", *grid)
    assert len(jobs) == 4
    whole = given(folder, "scan", "whole.csv", *grid, "--no-history")
    assert cut.read_bytes() == whole.read_bytes()
    (scan,) = History(folder / "history").runs()
    assert (scan.kind, scan.state) == ("scan", "finished")
    assert scan.settings["scan"]["grid"] == [0.0, 0.5, 0.9]


def test_a_killed_search_is_known_by_its_settings_and_not_by_a_class_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the class of the settings had another name then."""
    plan = read_plan(folder / "plan.json")
    settings = (
        "Settings(method='random', budget='macs', keep=0.5, evaluations=2, seed=0, least=0.0, "
        "most=0.9, round_to=1, repair=None)"
    )
    base = fingerprint(open_workspace(plan.model, plan.dataset))
    parts = (base, plan.to_json(), settings, str(folder / "killed"))
    job = Jobs(folder / "jobs").begin(content_id(__version__, "search", *parts), {})
    assert job is not None
    job.close(delete=False)
    given(folder, "search", "killed", "--method", "random", "--evaluations", "2")
    assert "the same search was interrupted" in capsys.readouterr().err


def test_search_says_that_it_goes_on(
    folder: Path, killed: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--method", "random", "--evaluations", "2")
    killed("search", "found", "search", "_line", 1, *more)
    assert not list((folder / "jobs").iterdir())  # its evaluations are in its own folder
    given(folder, "search", "found", *more)
    assert "1 measured now" in capsys.readouterr().out
