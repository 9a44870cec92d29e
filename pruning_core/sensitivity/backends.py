"""Backends run the jobs of a grid: threads of this process, other processes, or a Dask cluster."""

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

from pruning_core.evaluation.thread_pool import set_kernel_threads, worker_pool
from pruning_core.sensitivity.grid_jobs import Job, JobRunner, RunnerSource
from pruning_core.types import GroupScores, PruningError, SensitivityPoint

if TYPE_CHECKING:
    from distributed import Client

Points = list[SensitivityPoint]
SubmitJob = Callable[[Job, GroupScores], Future[Points]]
MAX_THREADS = 4
KERNEL_THREADS = 1
"""Kernel threads of every job on every backend. Equal numbers of threads give equal results."""


@dataclass(frozen=True)
class Backend:
    """Where jobs are run.

    open: gives the workers what they need and yields a function that submits a job. Its exit
    waits for jobs that have started.
    jobs_ahead: number of jobs that are submitted before their results are needed.
    worker_lost: exceptions that mean that a worker ended, not that its job is wrong.
    """

    open: Callable[[RunnerSource], AbstractContextManager[SubmitJob]]
    jobs_ahead: int
    worker_lost: tuple[type[BaseException], ...] = (BrokenExecutor,)


def in_process(workers: int | None = None) -> Backend:
    """Runs jobs in threads of this process.

    workers: number of threads; if left out, as many as torch's kernels use, at most `MAX_THREADS`.
    Raises PruningError for fewer than one worker.
    """
    count = min(MAX_THREADS, torch.get_num_threads()) if workers is None else workers
    _check_workers(count)
    return Backend(partial(_in_process, count), count)


def process_pool(workers: int = 2) -> Backend:
    """Runs jobs in new processes on this machine, each with its own copy of the model.

    Raises PruningError for fewer than one worker.
    """
    _check_workers(workers)
    return Backend(partial(_process_pool, workers), 2 * workers)


def executor_backend(executor: Executor, jobs_ahead: int = 4) -> Backend:
    """Runs jobs on any executor. The caller shuts it down.

    The model is sent with every job; a worker process unpacks it once.
    """
    return Backend(partial(_executor, executor), jobs_ahead)


def dask(cluster: "str | Client", jobs_ahead: int = 16) -> Backend:
    """Runs jobs on a Dask cluster.

    cluster: the address of a scheduler, or a `distributed.Client`.
    Every worker needs the same versions of the packages. Dask gives the jobs of a lost worker to
    others. Dask sets MALLOC_TRIM_THRESHOLD_ for its workers, so that memory returns to the system
    after each layer; jobs are faster without it.
    Raises PruningError where `distributed` is not installed.
    """
    try:
        from distributed import Client
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise PruningError(
            "Dask is not installed here: run `pip install -r requirements-dask.txt` first."
        ) from error
    lost = (BrokenExecutor, KilledWorker, CancelledError, CommClosedError)
    return Backend(partial(_dask, cluster, Client), jobs_ahead, lost)


def _check_workers(workers: int) -> None:
    if workers < 1:
        raise PruningError(f"At least one worker is needed, not {workers}.")


@contextmanager
def _in_process(workers: int, source: RunnerSource) -> Iterator[SubmitJob]:
    with worker_pool(workers, KERNEL_THREADS) as pool:
        yield lambda job, groups: pool.submit(source.runner.run, job, groups)


@contextmanager
def _process_pool(workers: int, source: RunnerSource) -> Iterator[SubmitJob]:
    context = get_context("spawn")
    runner = pickle_runner(source)
    with ProcessPoolExecutor(
        workers, context, initializer=_keep_runner, initargs=(runner,)
    ) as pool:
        try:
            yield lambda job, groups: pool.submit(_run_kept, pickle.dumps((job, groups)))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _executor(executor: Executor, source: RunnerSource) -> Iterator[SubmitJob]:
    runner = pickle_runner(source)
    yield lambda job, groups: executor.submit(run_job, runner, pickle.dumps((job, groups)))


@contextmanager
def _dask(
    cluster: "str | Client", connect: "type[Client]", source: RunnerSource
) -> Iterator[SubmitJob]:
    client = connect(cluster, set_as_default=False) if isinstance(cluster, str) else cluster
    try:
        runner = client.scatter(pickle_runner(source), broadcast=True, hash=False)
        executor = client.get_executor(pure=False)
        yield lambda job, groups: executor.submit(run_job, runner, pickle.dumps((job, groups)))
    finally:
        if client is not cluster:
            client.close()


def pickle_runner(source: RunnerSource) -> bytes:
    """The pickled runner, or the names to make it from, for another process.

    Raises PruningError for a model or images that cannot be pickled.
    """
    try:
        return pickle.dumps(source.for_other_process())
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise PruningError(
            f"The model or its images cannot be sent to another process: {error}."
        ) from error


@lru_cache(maxsize=1)
def _unpickle_runner(pickled: bytes) -> JobRunner:
    """The runner of a worker process, made once."""
    source = pickle.loads(pickled)
    return source if isinstance(source, JobRunner) else source()


def run_job(runner: bytes, job: bytes) -> Points:
    """Runs one job in a worker. runner, job: as `pickle_runner` and the backends pickle them."""
    set_kernel_threads(KERNEL_THREADS)
    return _unpickle_runner(runner).run(*pickle.loads(job))


_PICKLED_RUNNER: list[bytes] = []
"""In a worker of a process pool: the pickled runner, sent once at the start."""


def _keep_runner(runner: bytes) -> None:
    _PICKLED_RUNNER[:] = [runner]


def _run_kept(job: bytes) -> Points:
    return run_job(_PICKLED_RUNNER[0], job)
