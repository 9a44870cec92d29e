"""One ResNet-20 scan through every door of a grid: in this process, by two processes, and by a Dask cluster of two workers.

Run: python -m benchmarks.doors [--rounds 3]. Random weights: only the time is measured, after each worker has opened its bench
(start_up_s says how long that took). Processor time is that of the busiest worker, which other programs disturb less than the
clock on the wall: on two idle cores the two agree.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from statistics import median

import psutil
import torch
from dask import config
from distributed import Client, LocalCluster

from benchmarks.timing import Row, Seconds, command
from pruning_core.grid import Door, Grid, GridPoint, dask, in_process, measure, through
from pruning_core.inventory import inventory
from pruning_core.pipeline import Workspace
from pruning_core.plan import Plan
from pruning_core.types import Dataset
from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.splits import TensorSplit

WORKERS, IMAGES, SIDE = 2, 256, 32
GRID = Grid((0.5, 0.6, 0.7, 0.8, 0.9))
CPU = torch.device("cpu")
Pids = Callable[[], Sequence[int]]


def workspace() -> tuple[Plan, Workspace]:
    """A ResNet-20 of random weights on random images."""
    torch.manual_seed(0)
    model = ARCHITECTURES["resnet20"].build((3, SIDE, SIDE), 10).eval()
    pixels, labels = torch.randint(0, 256, (IMAGES, 3, SIDE, SIDE), dtype=torch.uint8), torch.arange(IMAGES) % 10
    split = TensorSplit(pixels, labels, (0.5,) * 3, (0.25,) * 3)
    data = Dataset("random", tuple("0123456789"), (3, SIDE, SIDE), split, split, split)
    return Plan(probe=IMAGES), Workspace(model, data, inventory(model, data.shape), ())


@contextmanager
def here() -> Iterator[tuple[Door, Pids]]:
    """This process, one thread."""
    yield in_process(1), lambda: [os.getpid()]


@contextmanager
def pool() -> Iterator[tuple[Door, Pids]]:
    """Two processes, kept from one run to the next."""
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as executor:
        yield through(executor, 2 * WORKERS), lambda: [child.pid or 0 for child in multiprocessing.active_children()]


@contextmanager
def cluster() -> Iterator[tuple[Door, Pids]]:
    """A scheduler and two workers on this machine, with the allocator's own setting in place of Dask's."""
    with (
        config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}),
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None) as found,
        Client(found, set_as_default=False) as client,
    ):
        yield dask(client, 2 * WORKERS), lambda: list(client.run(os.getpid).values())


DOORS: dict[str, Callable[[], AbstractContextManager[tuple[Door, Pids]]]] = {
    "in-process": here, "process pool of 2": pool, "Dask, 2 workers": cluster,
}  # fmt: skip


@dataclass(frozen=True)
class Timed:
    """Medians of one door's runs, what its start-up took, and its points."""

    seconds: Seconds
    start_up: float
    points: list[GridPoint]


def timed(door: Door, pids: Pids, begun: float, rounds: int) -> Timed:
    """Opens every worker's bench by a first run, then measures."""
    plan, space = workspace()

    def scan() -> list[GridPoint]:
        return list(measure(GRID, plan, space, door=door, device=CPU))

    points, walls, busiest = scan(), [], []
    start_up = time.perf_counter() - begun
    for _ in range(rounds):
        wall, before = time.perf_counter(), _processor(pids())
        again = scan()
        walls.append(time.perf_counter() - wall)
        busiest.append(max(spent - before.get(pid, 0.0) for pid, spent in _processor(pids()).items()))
        if again != points:
            raise RuntimeError("Two scans of one door differ.")
    return Timed(Seconds(median(walls), median(busiest)), start_up - median(walls), points)


def _processor(pids: Sequence[int]) -> dict[int, float]:
    """Seconds of processor time of each process so far."""
    spent = {pid: psutil.Process(pid).cpu_times() for pid in pids}
    return {pid: times.user + times.system for pid, times in spent.items()}


def rows(rounds: int = 3) -> list[Row]:
    """Each door with two workers against in-process; the same numbers, bit for bit, or it says so."""
    found = {}
    for name, opened in DOORS.items():
        begun = time.perf_counter()
        with opened() as (door, pids):
            found[name] = timed(door, pids, begun, rounds)
    alone = found.pop("in-process")
    return [
        Row(f"grid of a ResNet-20 scan, {name}", it.seconds, alone.seconds, "in-process, one worker", 1.7,
            more={"identical": str(it.points == alone.points), "start_up_s": it.start_up, "points": len(it.points),
                  "images": IMAGES, "workers": WORKERS, "load": os.getloadavg()[0]})
        for name, it in found.items()
    ]  # fmt: skip


if __name__ == "__main__":
    command(rows, 3, __doc__)
