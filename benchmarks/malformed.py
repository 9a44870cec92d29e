"""Reads malformed inputs of every kind: a sentence each, no traceback, no code run.

    OMP_NUM_THREADS=1 nice -n 15 python -m benchmarks.malformed --each 100

The inputs are drawn by hypothesis, the same ones in every run: real files with changed, missing and
repeated bytes, and files made to do harm. Prints for each kind how many were drawn, how many gave a
sentence (PruningError), were read all the same, or gave another error; the longest time of one; how
much the memory of the process grew at most while it was read; and what was run or written outside
of its folder, as Python's audit events tell.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from hypothesis import given
from hypothesis.configuration import set_hypothesis_home_dir

from benchmarks.forked import forked
from benchmarks.malformed_inputs import MARK
from benchmarks.malformed_kinds import Kind, always_the_same, kinds
from pruning_core.errors import MAX_MESSAGE
from pruning_core.types import PruningError

FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect")
ROW = "row.json"
MOST_SECONDS = 5.0
MOST_GROWTH = 400.0
"""MB."""


@dataclass
class Seen:
    """What was seen of a kind. sentences: how many were refused; ran: forbidden audit events."""

    n: int = 0
    sentences: int = 0
    slowest: float = 0.0
    growth: float = 0.0
    faults: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)


def audited(seen: Seen, folder: Path) -> Callable[[str, tuple[object, ...]], None]:
    """An audit hook that notes what no input may make the program do."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and any(letter in str(arguments[1]) for letter in "wxa+")
        outside = writes and not str(arguments[0]).startswith((str(folder), "/proc/", "/dev/"))
        if event in FORBIDDEN or (outside and not isinstance(arguments[0], int)):
            seen.ran.append(f"{event}: {str(arguments)[:100]}")

    return hook


class Watching:
    """A finder of modules that notes when `MARK` is imported."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Finds nothing."""
        if name == MARK:
            self.seen.ran.append(f"import {name}")


def peak(reset: bool = False) -> float:
    """The most memory of this process since it was reset, in MB."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def read_all(kind: Kind, folder: Path, each: int, seen: Seen) -> None:
    """Reads so many inputs of a kind, and counts. Raises what is no PruningError."""
    set_hypothesis_home_dir(folder / "hypothesis")
    os.environ["PRUNING_EXPLORER_DATA"] = str(folder / "data")
    kind.read(kind.whole, folder / "data")  # it is accepted, and imports what it needs
    sys.addaudithook(audited(seen, folder))
    sys.meta_path.insert(0, Watching(seen))

    @always_the_same(each)
    @given(kind.inputs)
    def check(content: bytes) -> None:
        shutil.rmtree(folder / "data", ignore_errors=True)
        _read(kind, content, folder / "data", seen)

    check()


def _read(kind: Kind, content: bytes, folder: Path, seen: Seen) -> None:
    seen.n += 1
    before = peak(reset=True)
    begun = time.perf_counter()
    try:
        kind.read(content, folder)
    except PruningError as error:
        seen.sentences += 1
        if not 0 < len(str(error)) <= MAX_MESSAGE + 3:
            seen.faults.append(f"{len(str(error))} characters")
    seconds = time.perf_counter() - begun
    growth = peak() - before
    if seconds > MOST_SECONDS or growth > MOST_GROWTH:
        seen.faults.append(f"{content[:60]!r}: {seconds:.1f} s, {growth:.0f} MB")
    seen.slowest = max(seen.slowest, seconds)
    seen.growth = max(seen.growth, growth)


def main(each: int, names: list[str]) -> int:
    """Prints the table; the number of faults."""
    print("| kind | inputs | a sentence | read | other errors | code run | slowest s | MB |")
    print("| --- |" + " ---: |" * 7, flush=True)
    total = faults = 0
    torch.set_num_threads(1)  # else a forked process waits for its parent's OpenMP threads
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in kinds(folder / "made"):
            if names and kind.name not in names:
                continue
            ended = forked(partial(_counted, kind, folder, each))
            seen = Seen(**json.loads((folder / ROW).read_text()))
            faults_here = [*seen.faults, *dict.fromkeys(seen.ran), *[ended.output] * ended.status]
            counts = (seen.n, seen.sentences, seen.n - seen.sentences - ended.status)
            others = (ended.status, len(seen.ran), f"{seen.slowest:.2f}", f"{seen.growth:.0f}")
            print(f"| {' | '.join(map(str, (kind.name, *counts, *others)))} |", flush=True)
            for fault in faults_here:
                print(f"FAULT {kind.name}: {fault[-1500:]}", file=sys.stderr)
            total += seen.n
            faults += len(faults_here)
    print(f"{total:,} inputs, {faults} faults")
    return faults


def _counted(kind: Kind, folder: Path, each: int) -> int:
    seen = Seen()
    try:
        read_all(kind, folder, each, seen)
    finally:
        (folder / ROW).write_text(json.dumps(asdict(seen)))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=100, metavar="N", help="inputs of each kind")
    parser.add_argument("--kind", action="append", default=[], help="only this kind")
    options = parser.parse_args()
    sys.exit(main(options.each, options.kind) > 0)
