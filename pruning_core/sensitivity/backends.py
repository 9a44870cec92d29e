"""Doors through which units of work go to whoever computes them: this process, a pool of processes,
or a Dask cluster.
"""

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from concurrent.futures.process import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

import torch

from pruning_core.evaluation.thread_pool import kernel_threads, worker_pool
from pruning_core.sensitivity.grid_jobs import Job, JobRunner, RunnerSource
from pruning_core.types import GroupScores, PruningError, SensitivityPoint

if TYPE_CHECKING:
    from distributed import Client

Points = list[SensitivityPoint]
Send = Callable[[Job, GroupScores], Future[Points]]
MOST = 4
THREADS = 1
"""Kernel threads of every unit, behind every door: what makes the numbers equal."""


@dataclass(frozen=True)
class Backend:
    """open: gives workers their bench and yields what sends a unit to them; leaving it waits for
    units that have begun.

    ahead: units sent before their turn; lost: errors that mean that a worker is gone, not that its
    unit is wrong.
    """

    open: Callable[[RunnerSource], AbstractContextManager[Send]]
    ahead: int
    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)


def in_process(workers: int | None = None) -> Backend:
    """Computes here, in that many threads: a unit when its turn comes, and its next neighbours
    beside it.

    workers: if left out, as many as torch uses for a kernel, at most `MOST`.
    """
    count = _count(min(MOST, torch.get_num_threads()) if workers is None else workers)
    return Backend(partial(_in_process, count), count)


def process_pool(workers: int = 2) -> Backend:
    """That many new processes on this machine, each with a Python and a bench of its own."""
    return Backend(partial(_process_pool, _count(workers)), 2 * workers)


def executor_backend(executor: Executor, ahead: int = 4) -> Backend:
    """Any executor of yours, which you shut down; the bench goes along with each unit and is
    unpacked once per process.
    """
    return Backend(partial(_through, executor), ahead)


def dask(where: "str | Client", ahead: int = 16) -> Backend:
    """A Dask cluster: a scheduler's address or a `distributed.Client`. Raises PruningError where
    `distributed` is missing.

    The scheduler gives a lost worker's units to others; the same package versions must be installed
    on every worker. Dask sets MALLOC_TRIM_THRESHOLD_ for its workers, so that memory of every layer
    goes back to the system: without it units are faster.
    """
    try:
        from distributed import Client
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise PruningError(
            "Dask is not installed here: run `pip install -r requirements-dask.txt` first."
        ) from error
    return Backend(
        partial(_dask, where, Client),
        ahead,
        (BrokenExecutor, KilledWorker, CancelledError, CommClosedError),
    )


def _count(workers: int) -> int:
    if workers < 1:
        raise PruningError(f"At least one worker is needed, not {workers}.")
    return workers


@contextmanager
def _in_process(workers: int, source: RunnerSource) -> Iterator[Send]:
    with worker_pool(workers, THREADS) as pool:
        yield lambda job, groups: pool.submit(source.bench.measured, job, groups)


@contextmanager
def _process_pool(workers: int, source: RunnerSource) -> Iterator[Send]:
    bench = packed(source)
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_keep, initargs=(bench,)
    ) as pool:
        try:
            yield lambda job, groups: pool.submit(_kept, pickle.dumps((job, groups)))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _through(executor: Executor, source: RunnerSource) -> Iterator[Send]:
    bench = packed(source)
    yield lambda job, groups: executor.submit(work, bench, pickle.dumps((job, groups)))


@contextmanager
def _dask(where: "str | Client", connect: "type[Client]", source: RunnerSource) -> Iterator[Send]:
    client = connect(where, set_as_default=False) if isinstance(where, str) else where
    try:
        bench = client.scatter(packed(source), broadcast=True, hash=False)
        executor = client.get_executor(pure=False)
        yield lambda job, groups: executor.submit(work, bench, pickle.dumps((job, groups)))
    finally:
        if client is not where:
            client.close()


def packed(source: RunnerSource) -> bytes:
    """What a worker opens its bench from. Raises PruningError for a model or images that cannot be
    sent.
    """
    try:
        return pickle.dumps(source.opening())
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise PruningError(
            f"The model or its images cannot be sent to another process: {error}."
        ) from error


@lru_cache(maxsize=1)
def _opened(bench: bytes) -> JobRunner:
    """A worker's bench, opened once."""
    found = pickle.loads(bench)
    return found if isinstance(found, JobRunner) else found()


def work(bench: bytes, unit: bytes) -> Points:
    """One unit, in a worker."""
    kernel_threads(THREADS)
    return _opened(bench).measured(*pickle.loads(unit))


_BENCH: list[bytes] = []
"""In a worker of a process pool: what its bench is opened from."""


def _keep(bench: bytes) -> None:
    _BENCH[:] = [bench]


def _kept(unit: bytes) -> Points:
    return work(_BENCH[0], unit)
