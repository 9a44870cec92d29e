"""How benchmarks measure: medians of interleaved runs, peak memory, and one row per claim."""

import argparse
import gc
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import torch

from pruning_core.compress.machine import machine as this_machine

STATUS = Path("/proc/self/status")
REFERENCES = Path("/proc/self/clear_refs")


class Unmeasured(Exception):
    """Something that the benchmark needs is missing on this machine. The message names it."""


@dataclass(frozen=True)
class Seconds:
    """Medians of one call. wall: clock time.

    cpu: processor time of all threads, which other programs disturb less.
    """

    wall: float
    cpu: float


@dataclass(frozen=True)
class Row:
    """One claim: two calls, measured in the same run.

    ours, peer: medians. ratio: peer / ours, by processor time. wanted: the promised ratio.
    ours_bytes, peer_bytes: peak memory above that before the call; None where it was not measured.
    more: other figures.
    """

    what: str
    ours: Seconds
    peer: Seconds
    against: str
    wanted: float
    ours_bytes: int | None = None
    peer_bytes: int | None = None
    more: Mapping[str, float | int | str] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times faster than the peer."""
        return self.peer.cpu / self.ours.cpu

    def json(self) -> dict[str, object]:
        """The row as it is written to a file."""
        return {**asdict(self), "ratio": self.ratio, "ratio_wall": self.peer.wall / self.ours.wall}

    def __str__(self) -> str:
        memory = (
            "" if self.ours_bytes is None else f"{_mib(self.ours_bytes)} | {_mib(self.peer_bytes)}"
        )
        others = ", ".join(
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in self.more.items()
        )
        wall = f"wall {self.peer.wall / self.ours.wall:.2f}x, wanted {self.wanted:g}x"
        times = (
            f"{_time(self.ours.cpu):>9} | {_time(self.peer.cpu):>9} | {self.ratio:6.2f}x ({wall})"
        )
        return f"{self.what:48} | {times} | {memory:21} | vs {self.against}; {others}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.0f} MiB"


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1
) -> dict[str, Seconds]:
    """Median seconds of each call.

    Every round runs all calls, so that a slow moment of the machine affects all of them.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for number in range(warmup + rounds):
        for name, call in calls.items():
            wall = time.perf_counter()
            cpu = time.process_time()
            call()
            if number >= warmup:
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Seconds(median(w for w, _ in runs), median(c for _, c in runs))
        for name, runs in times.items()
    }


def peak(call: Callable[[], object]) -> int | None:
    """Peak resident memory of a call, in bytes above that before it; None where it is not known."""
    if not os.access(REFERENCES, os.W_OK):
        return None
    gc.collect()
    REFERENCES.write_text("5", encoding="ascii")  # resets the high-water mark
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    line = next(
        line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith(key)
    )
    return int(line.split()[1]) * 1024


def machine() -> dict[str, object]:
    """The machine and the versions of packages that the figures depend on."""
    here = this_machine(torch.device("cpu"))
    return {
        "cpu": here.processor,
        "cores": here.cores,
        "threads": here.threads,
        "load_before": here.load,
        "capability": here.capability,
        "system": here.system,
        **here.versions,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cuda": torch.cuda.is_available(),
    }


def write(rows: list[Row], path: Path, left_out: Mapping[str, str] | None = None) -> None:
    """Writes rows, machine, and why benchmarks were left out, as JSON."""
    raw = {"machine": machine(), "rows": [row.json() for row in rows], "left_out": left_out or {}}
    text = json.dumps(raw, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def command(rows: Callable[[int], list[Row]], rounds: int, about: str | None) -> None:
    """The command line of one benchmark: it takes --rounds and prints the rows."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=rounds)
    rounds = parser.parse_args().rounds
    try:
        for row in rows(rounds):
            print(row)
    except Unmeasured as why:
        raise SystemExit(str(why)) from why
