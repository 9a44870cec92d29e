"""Kills processes that keep runs, at random moments, and checks that nothing finished is lost.

    nice -n 15 python -m benchmarks.history_kills --kills 50

Each process keeps runs with files of 200 kB, exports all of them as a zip, and begins runs that it
never ends. After every kill: each run that it reported as kept is there with its files, the
database passes SQLite's integrity check, and the zip on disk is whole. Works where Python can fork.
"""

import argparse
import os
import random
import signal
import sqlite3
import tempfile
import time
from pathlib import Path

from pruning_core.history import History, Run, import_zip, to_zip
from pruning_core.history.database import NAME
from pruning_core.history.run import FINISHED, INTERRUPTED
from pruning_core.history.tensors import CURVES, Curves, pack_curves
from pruning_core.plan import Plan
from pruning_core.whole_files import write_file

EXPORTED = 5
"""Runs after which the zip is written again."""


def keep_runs(folder: Path, reported: int) -> None:
    """Keeps runs until the process is killed, and writes the id of each that is kept."""
    history = History(folder)
    for number in range(10**6):
        steps = tuple((float(step), float(number)) for step in range(15_000))
        run = Run("tune", Plan().to_json(), "f")
        history.begin(Run("flow", Plan().to_json(), "f"))
        history.save(run, {CURVES: pack_curves(Curves(steps))})
        os.write(reported, f"{run.id}\n".encode())
        if number % EXPORTED == 0:
            write_file(folder / "runs.zip", to_zip(history, history.runs()[:EXPORTED]))


def killed(folder: Path, seconds: float) -> list[str]:
    """Starts a process, kills it after so many seconds, and returns what it reported."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            keep_runs(folder, writer)
        finally:
            os._exit(1)
    os.close(writer)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(reader, encoding="ascii") as lines:
        return [line.strip() for line in lines if line.endswith("\n")]


def check(folder: Path, reported: list[str]) -> int:
    """Raises AssertionError where something is lost or half written; the number of runs."""
    history = History(folder)
    runs = {run.id: run for run in history.runs()}
    assert not history.sentences, history.sentences
    assert set(reported) <= runs.keys(), "a finished run is lost"
    for run in runs.values():
        assert run.state in (FINISHED, INTERRUPTED), run.state
        assert run.state == INTERRUPTED or history.file(run, CURVES), "a file is lost"
    connection = sqlite3.connect(folder / NAME)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    if (folder / "runs.zip").exists():
        with tempfile.TemporaryDirectory() as other:
            import_zip(History(Path(other)), folder / "runs.zip")
    return len(runs)


def main() -> None:
    """Prints a line after every ten kills."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    kills = parser.parse_args().kills
    wait = random.Random(0)
    reported: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(1, kills + 1):
            reported += killed(folder, wait.uniform(0.02, 1.5))
            runs = check(folder, reported)
            if number % 10 == 0 or number == kills:
                print(f"{number} kills: {len(reported)} reported, {runs} runs", flush=True)
        History(folder).purge()
        assert not list(folder.glob("files/*/.*")), "a part of a file is left"
    print(f"{kills} kills: no finished run lost, no half file, every integrity check passed")


if __name__ == "__main__":
    main()
