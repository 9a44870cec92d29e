"""One ResNet-20 scan through every door of a grid: in this process, by two processes, and by a Dask
cluster of two workers.

Run: python -m benchmarks.backends [--rounds 3]. Random weights: only the time is measured, in turns,
after every worker has opened its bench (start_up_s says how long that took). Every worker computes
with one kernel thread. Processor time is the busiest process's, which other programs disturb less
than the clock on the wall: on idle cores the two agree. spent: processor time of all processes
together against one alone; efficiency: the ratio by the clock for each worker. machine: what two
scans side by side, which know nothing of each other, reach of twice one scan's speed: no door can
do better.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

import psutil
import torch
from dask import config
from distributed import Client, LocalCluster

from benchmarks.timing import Row, Seconds, command
from pruning_core.model.inventory import inventory
from pruning_core.plan import Plan
from pruning_core.sensitivity.backends import Backend, dask, executor_backend, in_process
from pruning_core.sensitivity.grid import measure
from pruning_core.sensitivity.grid_jobs import Grid, GridPoint
from pruning_core.types import Dataset
from pruning_core.workspace import Workspace
from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.splits import TensorSplit

WORKERS = 2
IMAGES = 256
SIDE = 32
GRID = Grid((0.5, 0.6, 0.7, 0.8, 0.9))
ALONE = "one worker in this process"
Opened = tuple[Backend, Callable[[], Sequence[int]]]


def workspace() -> tuple[Plan, Workspace]:
    """A ResNet-20 of random weights on random images."""
    torch.manual_seed(0)
    model = ARCHITECTURES["resnet20"].build((3, SIDE, SIDE), 10).eval()
    pixels = torch.randint(0, 256, (IMAGES, 3, SIDE, SIDE), dtype=torch.uint8)
    labels = torch.arange(IMAGES) % 10
    split = TensorSplit(pixels, labels, (0.5,) * 3, (0.25,) * 3)
    data = Dataset("random", tuple("0123456789"), (3, SIDE, SIDE), split, split, split)
    return Plan(probe=IMAGES), Workspace(model, data, inventory(model, data.shape), ())


@contextmanager
def here(workers: int) -> Iterator[Opened]:
    """This process, by that many threads."""
    yield in_process(workers), lambda: ()


@contextmanager
def pool() -> Iterator[Opened]:
    """Two processes, kept from one run to the next."""
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as executor:
        yield (
            executor_backend(executor, 2 * WORKERS),
            lambda: [child.pid or 0 for child in multiprocessing.active_children()],
        )


@contextmanager
def cluster() -> Iterator[Opened]:
    """A scheduler and two workers on this machine, with the allocator's own setting in place of
    Dask's.
    """
    with (
        config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}),
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as found,
        Client(found, set_as_default=False) as client,
    ):
        yield dask(client, 2 * WORKERS), lambda: list(client.run(os.getpid).values())


DOORS: dict[str, Callable[[], AbstractContextManager[Opened]]] = {
    ALONE: lambda: here(1),
    "two threads": lambda: here(WORKERS),
    "process pool of 2": pool,
    "Dask, 2 workers": cluster,
}


def scanned(backend: Backend) -> list[GridPoint]:
    """The scan through one door."""
    plan, space = workspace()
    return list(measure(GRID, plan, space, backend=backend, device=torch.device("cpu")))


def alone(_: int) -> float:
    """Seconds of a scan that knows nothing of others."""
    begun = time.perf_counter()
    scanned(in_process(1))
    return time.perf_counter() - begun


@dataclass(eq=False)
class Timed:
    """One door's runs. pids: its workers; first: seconds until the first run was done, points: what
    it gave.
    """

    backend: Backend
    pids: Sequence[int]
    first: float
    points: list[GridPoint]
    walls: list[float] = field(default_factory=list)
    busiest: list[float] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)

    def run(self) -> None:
        """One more run, which must give the same points."""
        before = self._processors()
        begun = time.perf_counter()
        again = scanned(self.backend)
        self.walls.append(time.perf_counter() - begun)
        each = [after - was for was, after in zip(before, self._processors(), strict=True)]
        self.busiest.append(max(each))
        self.spent.append(sum(each))
        if again != self.points:
            raise RuntimeError("Two scans of one door differ.")

    def _processors(self) -> list[float]:
        """Seconds of processor time of this process and of each worker so far."""
        spent = [psutil.Process(pid).cpu_times() for pid in (os.getpid(), *self.pids)]
        return [times.user + times.system for times in spent]

    @property
    def seconds(self) -> Seconds:
        """Medians by the clock and of the busiest process."""
        return Seconds(median(self.walls), median(self.busiest))


def timed(stack: ExitStack, opened: Callable[[], AbstractContextManager[Opened]]) -> Timed:
    """Opens a door and every worker's bench by a first run."""
    begun = time.perf_counter()
    backend, pids = stack.enter_context(opened())
    points = scanned(backend)
    return Timed(backend, list(pids()), time.perf_counter() - begun, points)


def rows(rounds: int = 3) -> list[Row]:
    """Each door with two workers against one worker here; the same numbers, bit for bit, or it says
    so.
    """
    with ExitStack() as stack:
        found = {name: timed(stack, opened) for name, opened in DOORS.items()}
        machine = stack.enter_context(
            ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"))
        )
        pairs = [max(machine.map(alone, range(WORKERS)))]
        for _ in range(rounds):
            for it in found.values():
                it.run()
            pairs.append(max(machine.map(alone, range(WORKERS))))
    one = found.pop(ALONE)
    return [_row(name, it, one, one.seconds.wall / median(pairs[1:])) for name, it in found.items()]


def _row(name: str, it: Timed, one: Timed, machine: float) -> Row:
    return Row(
        f"grid of a ResNet-20 scan, {name}",
        it.seconds,
        one.seconds,
        ALONE,
        1.7,
        more={
            "identical": str(it.points == one.points),
            "efficiency": one.seconds.wall / it.seconds.wall / WORKERS,
            "machine": machine,
            "spent": median(it.spent) / median(one.spent),
            "start_up_s": it.first - it.seconds.wall,
            "points": len(it.points),
            "images": IMAGES,
            "workers": WORKERS,
            "load": os.getloadavg()[0],
        },
    )


if __name__ == "__main__":
    command(rows, 3, __doc__)
