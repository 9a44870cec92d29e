"""Studies continue after every kind of interruption and measure no run twice."""

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from pruning_core import studies
from pruning_core.backends import executor_backend
from pruning_core.plan import Plan
from pruning_core.studies import (
    Result,
    RunElsewhere,
    RunFailed,
    RunFinished,
    RunStarted,
    run_study,
    sharing,
)
from pruning_core.studies.store import save_result
from pruning_core.training.config import TrainConfig
from pruning_core.types import Step
from pruning_core.workspaces import Workspace
from pruning_core.zoo.request import VARIABLE
from tests.core.events import stop
from tests.core.studies.small_study import SMALL, TUNE, finished_events, same
from tests.core.toy import refusal

DAMAGES: dict[str, Callable[[str], str]] = {
    "half": lambda text: text[: len(text) // 2],
    "not json": lambda text: "\x00" * 40,
    "a list": lambda text: "[]",
    "another run": lambda text: text.replace('"seed": 0', '"seed": 1'),
    "a share above 1": lambda text: json.dumps(
        json.loads(text) | {"initial": json.loads(text)["initial"] | {"top1": 7.0}}
    ),
    "a missing number": lambda text: json.dumps(
        {k: v for k, v in json.loads(text).items() if k != "nonzeros"}
    ),
    "a text for a number": lambda text: json.dumps(json.loads(text) | {"nonzeros": "many"}),
}


def test_a_finished_study_is_loaded_from_disk(
    space: Workspace, finished: tuple[Path, tuple[Result, ...]]
) -> None:
    events = list(run_study(SMALL, space, finished[0]))
    assert all(isinstance(event, RunFinished) and event.from_disk for event in events)
    assert tuple(event.result for event in finished_events(events)) == finished[1]
    assert [event.number for event in finished_events(events)] == list(range(1, 9))


def test_a_closed_study_continues_with_the_interrupted_run(
    space: Workspace, tmp_path: Path, finished: tuple[Path, tuple[Result, ...]]
) -> None:
    events = run_study(SMALL, space, tmp_path)
    seen = list(islice(events, 8))
    stop(events)
    before = len(finished_events(seen))
    assert isinstance(seen[-1], Step | RunStarted | RunFinished)
    assert studies.count_saved_runs(tmp_path) == before < 8
    rest = list(run_study(SMALL, space, tmp_path))
    assert [event.from_disk for event in finished_events(rest)] == [True] * before + [False] * (
        8 - before
    )
    assert all(map(same, studies.load_results(SMALL, tmp_path), finished[1]))


def test_workers_give_the_results_of_one_process(
    space: Workspace, tmp_path: Path, finished: tuple[Path, tuple[Result, ...]]
) -> None:
    """They are given the runs that are not on disk."""
    files = sorted(finished[0].glob("*.json"))
    for file in files[:4]:
        shutil.copy(file, tmp_path / file.name)
    with ThreadPoolExecutor(1) as executor:
        backend = executor_backend(executor, workers=2)
        events = list(run_study(SMALL, space, tmp_path, backend=backend, by_name=True))
    assert Counter(event.from_disk for event in finished_events(events)) == {True: 4, False: 4}
    assert sum(isinstance(event, RunStarted) for event in events) == 4
    assert all(map(same, studies.load_results(SMALL, tmp_path), finished[1]))


def test_two_processes_carry_out_each_run_once(
    space: Workspace,
    tmp_path: Path,
    finished: tuple[Path, tuple[Result, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one has begun four runs. It saves two of them, then it ends."""
    monkeypatch.setattr(sharing, "POLL", 0.001)
    seen = []
    with ExitStack() as other:
        for result in finished[1][:4]:
            assert other.enter_context(sharing._held(tmp_path, result.run))
        for event in run_study(SMALL, space, tmp_path):
            seen.append(event)
            if isinstance(event, RunElsewhere) and event.number == 1:
                for result in finished[1][:2]:
                    save_result(result, tmp_path)
                other.close()
    numbers = [event.number for event in finished_events(seen)]
    assert numbers == [5, 6, 7, 8, 1, 2, 3, 4]
    loaded = [event.from_disk for event in finished_events(seen)]
    assert loaded == [False] * 4 + [True] * 2 + [False] * 2
    assert not list((tmp_path / sharing.LOCKS).iterdir())


def test_a_killed_process_loses_only_its_current_run(
    space: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both processes find the study's folder by themselves. The killed one is not a fork of this
    one: torch refuses to train in a fork of a process whose threads have computed gradients.
    """
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    slow = replace(SMALL, plan=replace(SMALL.plan, fine_tune=replace(TUNE, epochs=3)))
    study_file = tmp_path / "study.json"
    folder = studies.study_folder(slow, studies.fingerprint(space))
    study_file.write_text(slow.to_json())
    command = (sys.executable, "-m", "pruning_core", "study", str(study_file), "--device", "cpu")
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while (
        studies.count_saved_runs(folder) < 2
        and killed.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    there = studies.load_results(slow, folder)
    assert 2 <= len(there) == studies.count_saved_runs(folder) < 8
    again = finished_events(list(run_study(slow, space, folder)))
    assert [event.from_disk for event in again] == [True] * len(there) + [False] * (8 - len(there))
    assert tuple(event.result for event in again[: len(there)]) == there


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_measured_again(
    damage: str, space: Workspace, tmp_path: Path, finished: tuple[Path, tuple[Result, ...]]
) -> None:
    study = replace(SMALL, compressions=(2.0,), seeds=1)
    list(run_study(study, space, tmp_path))
    path = next(tmp_path.glob("random-*"))
    path.write_text(DAMAGES[damage](path.read_text()))
    assert len(studies.load_results(study, tmp_path)) == 1
    events = finished_events(list(run_study(study, space, tmp_path)))
    assert [event.from_disk for event in events] == [True, False]
    assert same(events[1].result, finished[1][1])


def test_a_failed_run_is_reported_and_the_others_continue(space: Workspace, tmp_path: Path) -> None:
    wild = replace(
        SMALL,
        plan=Plan(model="lenet5", fine_tune=TrainConfig(epochs=1, lr=1e30, batch_size=16)),
        seeds=1,
    )
    events = list(run_study(wild, space, tmp_path))
    failed = [event for event in events if isinstance(event, RunFailed)]
    assert failed
    assert len(failed) + len(finished_events(events)) == 4
    assert studies.count_saved_runs(tmp_path) == len(finished_events(events))
    assert all("learning rate" in event.reason for event in failed)


def test_a_folder_that_cannot_be_made_is_reported(space: Workspace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refusal(
        lambda: list(run_study(SMALL, space, tmp_path / "file" / "study"))
    )
