"""One ResNet-20 scan on every backend of a grid: this process, two processes, a Dask cluster.

Run: python -m benchmarks.backends [--rounds 3]. The weights are random, because only the time is
measured. The backends run in turn, after every worker has opened its model (start_up_s: how long
that took). Every worker computes with one kernel thread. Processor time is that of the busiest
process, which other programs disturb less than clock time; on idle cores the two agree.
spent: processor time of all processes together, over that of one worker alone. efficiency: speed-up
by the clock per worker. machine: what two independent scans at the same time reach of twice the
speed of one scan; no backend can do better.
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

from benchmarks.timing import Row, Seconds, command
from pruning_core.backends import Backend, dask, executor_backend, in_process
from pruning_core.model.inventory import inventory
from pruning_core.plan import Plan
from pruning_core.sensitivity.grid import measure
from pruning_core.sensitivity.grid_jobs import Grid, GridPoint
from pruning_core.types import Dataset
from pruning_core.workspaces import Workspace
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
def threads(workers: int) -> Iterator[Opened]:
    """Threads of this process."""
    yield in_process(workers), lambda: ()


@contextmanager
def pool() -> Iterator[Opened]:
    """Two processes, which stay open between runs."""
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as executor:
        yield (
            executor_backend(executor, 2 * WORKERS),
            lambda: [child.pid or 0 for child in multiprocessing.active_children()],
        )


@contextmanager
def cluster() -> Iterator[Opened]:
    """A scheduler and two workers on this machine, without Dask's MALLOC_TRIM_THRESHOLD_."""
    # Slow to import; the command that runs all benchmarks imports this module first.
    from dask import config
    from distributed import Client, LocalCluster

    with (
        config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}),
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield dask(client, 2 * WORKERS), lambda: list(client.run(os.getpid).values())


BACKENDS: dict[str, Callable[[], AbstractContextManager[Opened]]] = {
    ALONE: lambda: threads(1),
    "two threads": lambda: threads(WORKERS),
    "process pool of 2": pool,
    "Dask, 2 workers": cluster,
}


def scan(backend: Backend) -> list[GridPoint]:
    """The scan on one backend."""
    plan, space = workspace()
    return list(measure(GRID, plan, space, backend=backend, device=torch.device("cpu")))


def time_one_scan(_: int) -> float:
    """Seconds of one scan, independent of others."""
    begun = time.perf_counter()
    scan(in_process(1))
    return time.perf_counter() - begun


@dataclass(eq=False)
class Timed:
    """The runs on one backend.

    pids: its workers. first: seconds of the first run. points: what the first run gave.
    """

    backend: Backend
    pids: Sequence[int]
    first: float
    points: list[GridPoint]
    walls: list[float] = field(default_factory=list)
    busiest: list[float] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Runs once more. Raises RuntimeError where the points differ from the first run's."""
        start = self._processors()
        begun = time.perf_counter()
        again = scan(self.backend)
        self.walls.append(time.perf_counter() - begun)
        differences = [
            after - before for before, after in zip(start, self._processors(), strict=True)
        ]
        self.busiest.append(max(differences))
        self.spent.append(sum(differences))
        if again != self.points:
            raise RuntimeError("Two scans on one backend differ.")

    def _processors(self) -> list[float]:
        """Seconds of processor time of this process and of each worker so far."""
        spent = [psutil.Process(pid).cpu_times() for pid in (os.getpid(), *self.pids)]
        return [times.user + times.system for times in spent]

    @property
    def seconds(self) -> Seconds:
        """Medians of clock time and of the busiest process's processor time."""
        return Seconds(median(self.walls), median(self.busiest))


def timed(stack: ExitStack, opened: Callable[[], AbstractContextManager[Opened]]) -> Timed:
    """Opens a backend and runs once, so that every worker opens its model."""
    begun = time.perf_counter()
    backend, pids = stack.enter_context(opened())
    points = scan(backend)
    return Timed(backend, list(pids()), time.perf_counter() - begun, points)


def rows(rounds: int = 3) -> list[Row]:
    """Each backend with two workers against one worker; identical: the numbers are equal."""
    with ExitStack() as stack:
        runs = {name: timed(stack, opened) for name, opened in BACKENDS.items()}
        machine = stack.enter_context(
            ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"))
        )
        pairs = [max(machine.map(time_one_scan, range(WORKERS)))]
        for _ in range(rounds):
            for backend in runs.values():
                backend.run()
            pairs.append(max(machine.map(time_one_scan, range(WORKERS))))
    one = runs.pop(ALONE)
    return [
        _row(name, run, one, one.seconds.wall / median(pairs[1:])) for name, run in runs.items()
    ]


def _row(name: str, run: Timed, one: Timed, machine: float) -> Row:
    return Row(
        f"grid of a ResNet-20 scan, {name}",
        run.seconds,
        one.seconds,
        ALONE,
        1.7,
        more={
            "identical": str(run.points == one.points),
            "efficiency": one.seconds.wall / run.seconds.wall / WORKERS,
            "machine": machine,
            "spent": median(run.spent) / median(one.spent),
            "start_up_s": run.first - run.seconds.wall,
            "points": len(run.points),
            "images": IMAGES,
            "workers": WORKERS,
            "load": os.getloadavg()[0],
        },
    )


if __name__ == "__main__":
    command(rows, 3, __doc__)
