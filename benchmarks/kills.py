"""Kills commands (-9) at random moments, and checks that nothing finished is lost.

    OMP_NUM_THREADS=1 nice -n 15 python -m benchmarks.kills --kills 50

`pruning run`, `study`, `search`, `scan`, `thin`, `store`, `time` and `runs export` run on LeNet-5
and digits. Each is killed at a uniformly random moment of its usual time, once or twice, then given
again, and must end well. What a command needs to go on is written after every epoch and every layer
of a scan, not every 10 seconds. After every kill: each run that it reported as kept is in the
history with its files, SQLite's integrity check passes, and every file under a final name is whole.
At the end the results are those of a command that was never killed, except for measured times.
`benchmarks.history_kills` kills a process that writes to the history all the time.
"""

import argparse
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from itertools import cycle
from pathlib import Path
from unittest.mock import patch

from safetensors.torch import load_file, save

from benchmarks.forked import (
    Ended,
    broken_files,
    commands,
    files,
    forked,
    history_faults,
    prepare,
)
from pruning_core.cli.main import main
from pruning_core.history import VARIABLE as HISTORY
from pruning_core.history import History, unfinished
from pruning_core.training.journal import Journal
from pruning_core.zoo.request import VARIABLE as DATA

KEPT = re.compile(r"kept in the run history as ([0-9a-f]{12})")
TIMED = ("time", "runs export")
"""Commands whose files hold times, or every run so far: each result is another one."""
STUDY = "study/"
LOCKS = "study/locks/"
UNLIKE = ("report.json", "study.csv", STUDY)
"""Files that hold times."""
KILLED = ("run", "study", "search", "scan", "thin", "store", "time", "runs export")


class Killer:
    """Kills commands and counts what is wrong. folder: an empty one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.history = folder / "history"
        self.out = folder / "out"
        self.inputs = folder / "inputs"
        self.wait = random.Random(0)
        self.kept: set[str] = set()
        self.usual: dict[str, Ended] = {}
        self.wanted: dict[str, dict[str, bytes]] = {}
        self.faults: list[str] = []
        prepare(self.inputs)

    def measure(self) -> None:
        """Each command once, without a kill."""
        for name in KILLED:
            shutil.rmtree(self.out, ignore_errors=True)
            ended = self.usual[name] = self._forked(name)
            self._check(name, ended)
            if ended.status:
                self.faults.append(f"{name}: {ended.output}")
            self.wanted[name] = self._results()
            print(f"{name}: {ended.seconds:.1f} s, {len(self.wanted[name])} files", flush=True)

    def kill(self, name: str) -> int:
        """Kills a command once or twice, then lets it end. The number of kills that hit it."""
        shutil.rmtree(self.out, ignore_errors=True)
        kills = 0
        for _ in range(self.wait.choice((1, 2))):
            seconds = self.wait.uniform(0, self.usual[name].seconds)
            before = files(self.out) if self.out.exists() else {}
            ended = self._forked(name, seconds)
            kills += ended.status == -9
            self._check(name, ended)
            self.faults += [f"{name}: {path} is lost" for path in self._lost(before)]
        ended = self._forked(name)
        self._check(name, ended)
        if ended.status:
            self.faults.append(f"{name}, given again: {ended.output[-500:]}")
        wanted = self.wanted[name]
        results = self._results()
        other = [path for path in wanted | results if results.get(path) != wanted.get(path)]
        if other and name not in TIMED:
            self.faults.append(f"{name}, given again: other content of {other}")
        return kills

    def _lost(self, before: Mapping[str, bytes]) -> list[str]:
        """Files that are gone, and finished runs of the study that are not what they were."""
        now = files(self.out)
        same = {path: path.startswith(STUDY) for path in before if not path.startswith(LOCKS)}
        return [p for p, equal in same.items() if p not in now or (equal and now[p] != before[p])]

    def _forked(self, name: str, kill_after: float | None = None) -> Ended:
        self.out.mkdir(exist_ok=True)
        arguments = commands(self.inputs, self.out)[name]
        folders = {HISTORY: self.history, DATA: self.folder / "data"}
        return forked(lambda: main(arguments), folders, kill_after)

    def _check(self, name: str, ended: Ended) -> None:
        self.kept |= set(KEPT.findall(ended.output))
        wrong = [*broken_files(self.out), *history_faults(self.history, self.kept)]
        self.faults += [f"{name}: {fault}" for fault in wrong]

    def _results(self) -> dict[str, bytes]:
        return {
            path: tensors(self.out / path) if path.endswith(".safetensors") else content
            for path, content in files(self.out).items()
            if not path.endswith(UNLIKE[0]) and not path.startswith(UNLIKE[1:])
        }


def tensors(path: Path) -> bytes:
    """The tensors of a file; its metadata may stand in any order."""
    return save(dict(sorted(load_file(path).items())))


def kill_all(kills: int) -> int:
    """Prints a line per command; the number of faults."""
    often = partial(Journal, every=0.0, share=1e9)
    with patch.object(unfinished, "Journal", often), tempfile.TemporaryDirectory() as name:
        killer = Killer(Path(name))
        killer.measure()
        hits = dict.fromkeys(KILLED, 0)
        for command in cycle(KILLED):
            hits[command] += killer.kill(command)
            if sum(hits.values()) >= kills:
                break
        states = [run.state for run in History(killer.history).runs()]
        for command, count in hits.items():
            print(f"{command:12} {count} kills")
        counted = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        print(f"{sum(hits.values())} kills; the history has {counted}; {len(killer.kept)} reported")
        for fault in killer.faults:
            print(f"FAULT {fault}")
    print(f"{len(killer.faults)} faults")
    return len(killer.faults)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    sys.exit(kill_all(parser.parse_args().kills) > 0)
