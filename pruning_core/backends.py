"""Backends run jobs: threads of this process, other processes, or a Dask cluster."""

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from concurrent.futures.process import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from weakref import WeakSet

import torch

from pruning_core.evaluation.thread_pool import set_kernel_threads, worker_pool
from pruning_core.types import PruningError

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as DaskFuture


@runtime_checkable
class Runner(Protocol):
    """Does jobs of one kind. Each worker makes one and reuses it."""

    @property
    def run(self) -> Callable[..., Any]: ...


@runtime_checkable
class Source(Protocol):
    """Where a worker gets its runner."""

    @property
    def runner(self) -> Runner:
        """For workers that share this process's memory."""
        ...

    def for_other_process(self) -> Runner | Callable[[], Runner]:
        """What is sent to a worker in another process: the runner, or what makes it there."""
        ...


Submit = Callable[..., Future[Any]]
"""Submits a job: the arguments of the runner's `run`."""
WORKERS = "PRUNING_EXPLORER_WORKERS"
"""Environment variable: a number of processes, or the address of a Dask scheduler."""
MAX_THREADS = 4
KERNEL_THREADS = 1
"""Kernel threads of every job on every backend. Equal numbers of threads give equal results."""


PATIENCE = 30.0
"""Seconds that a Dask cluster may have no worker."""
LOOK = 2.0
"""Seconds between two looks at its workers."""
NO_WORKER = "The Dask cluster has no worker: start `dask worker` first."


@dataclass(frozen=True)
class Backend:
    """Where jobs are run.

    open: gives the workers what they need and yields a function that submits a job. Its exit
    waits for jobs that have started.
    jobs_ahead: number of jobs that are submitted before their results are needed.
    worker_lost: exceptions that mean that a worker ended, not that its job is wrong.
    count: the number of its workers.
    """

    open: Callable[[Source], AbstractContextManager[Submit]]
    jobs_ahead: int
    worker_lost: tuple[type[BaseException], ...] = (BrokenExecutor,)
    count: Callable[[], int] = lambda: 1


def in_process(workers: int | None = None) -> Backend:
    """Runs jobs in threads of this process.

    workers: number of threads; if left out, as many as torch's kernels use, at most `MAX_THREADS`.
    Raises PruningError for fewer than one worker.
    """
    count = min(MAX_THREADS, torch.get_num_threads()) if workers is None else workers
    _check_workers(count)
    return Backend(partial(_in_process, count), count, count=lambda: count)


def process_pool(workers: int = 2) -> Backend:
    """Runs jobs in new processes on this machine, each with its own copy of the model.

    Raises PruningError for fewer than one worker.
    """
    _check_workers(workers)
    return Backend(partial(_process_pool, workers), 2 * workers, count=lambda: workers)


def executor_backend(executor: Executor, jobs_ahead: int = 4, workers: int = 1) -> Backend:
    """Runs jobs on any executor. The caller shuts it down.

    workers: the number of the executor's workers.
    The model is sent with every job; a worker process unpacks it once.
    """
    return Backend(partial(_executor, executor), jobs_ahead, count=lambda: workers)


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
    return Backend(
        partial(_dask, cluster, Client), jobs_ahead, lost, partial(_count, cluster, Client)
    )


def configured_backend() -> Backend | None:
    """The workers that `PRUNING_EXPLORER_WORKERS` names; None where it is not set.

    Raises PruningError as `process_pool` and `dask`.
    """
    own = os.environ.get(WORKERS, "")
    if own.isdecimal():
        return process_pool(int(own))
    return dask(own) if own else None


def _check_workers(workers: int) -> None:
    if workers < 1:
        raise PruningError(f"At least one worker is needed, not {workers}.")


@contextmanager
def _in_process(workers: int, source: Source) -> Iterator[Submit]:
    with worker_pool(workers, KERNEL_THREADS) as pool:
        yield lambda *job: pool.submit(source.runner.run, *job)


@contextmanager
def _process_pool(workers: int, source: Source) -> Iterator[Submit]:
    context = get_context("spawn")
    runner = pickle_runner(source)
    with ProcessPoolExecutor(
        workers, context, initializer=_keep_runner, initargs=(runner,)
    ) as pool:
        try:
            yield lambda *job: pool.submit(_run_kept, pickle.dumps(job))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _executor(executor: Executor, source: Source) -> Iterator[Submit]:
    runner = pickle_runner(source)
    yield lambda *job: executor.submit(run_job, runner, pickle.dumps(job))


@contextmanager
def _dask(cluster: "str | Client", connect: "type[Client]", source: Source) -> Iterator[Submit]:
    """Jobs fail as those of a lost worker where the cluster has had no worker for `PATIENCE`."""
    with _connected(cluster, connect) as client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise PruningError(NO_WORKER) from error
        runner = client.scatter(pickle_runner(source), broadcast=True, hash=False)
        jobs: WeakSet[Future[Any]] = WeakSet()

        def submit(*job: Any) -> Future[Any]:
            future: Future[Any] = Future()
            there = client.submit(run_job, runner, pickle.dumps(job), pure=False)
            there.add_done_callback(partial(_pass_on, future))
            future.add_done_callback(partial(_cancel_there, there))
            jobs.add(future)
            return future

        closed = threading.Event()
        watcher = threading.Thread(target=_watch, args=(client, jobs, closed), daemon=True)
        watcher.start()
        try:
            yield submit
        finally:
            closed.set()
            watcher.join()


def _pass_on(future: Future[Any], there: "DaskFuture[Any]") -> None:
    """Gives what became of a job on the cluster to the future that waits for it.

    The executor of `distributed` takes a result for an error where its worker leaves at that time;
    this asks the cluster again, which then does the job on another worker.
    """
    if not future.set_running_or_notify_cancel():
        return
    outcome = partial(future.set_exception, CancelledError())
    try:
        error = there.exception()
        outcome = (
            partial(future.set_result, there.result())
            if error is None
            else partial(future.set_exception, error)
        )
    finally:
        outcome()


def _cancel_there(there: "DaskFuture[Any]", future: Future[Any]) -> None:
    if future.cancelled():
        there.cancel()


def _watch(client: "Client", jobs: "WeakSet[Future[Any]]", closed: threading.Event) -> None:
    """Cancels the jobs when there has been no worker for `PATIENCE` seconds: they would wait."""
    without = 0.0
    while not closed.wait(LOOK):
        try:
            without = 0.0 if client.nthreads() else without + LOOK
        except OSError:  # the scheduler has ended, and so do the jobs
            return
        if without >= PATIENCE:
            for job in list(jobs):
                job.cancel()
            return


def _count(cluster: "str | Client", connect: "type[Client]") -> int:
    """The threads of all workers. Raises PruningError where there is no worker."""
    with _connected(cluster, connect) as client:
        threads = sum(int(count) for count in client.nthreads().values())
    if not threads:
        raise PruningError(NO_WORKER)
    return threads


@contextmanager
def _connected(cluster: "str | Client", connect: "type[Client]") -> "Iterator[Client]":
    """A client, closed afterwards where it was made here. Raises PruningError without scheduler."""
    try:
        client = connect(cluster, set_as_default=False) if isinstance(cluster, str) else cluster
    except (OSError, ValueError) as error:
        raise PruningError(f"No Dask scheduler answers at {cluster}: {error}.") from error
    try:
        yield client
    finally:
        if client is not cluster:
            client.close()


def pickle_runner(source: Source) -> bytes:
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
def _unpickle_runner(pickled: bytes) -> Runner:
    """The runner of a worker process, made once."""
    source = pickle.loads(pickled)
    return source if isinstance(source, Runner) else source()


def run_job(runner: bytes, job: bytes) -> Any:
    """Runs one job in a worker. runner, job: as `pickle_runner` and the backends pickle them."""
    set_kernel_threads(KERNEL_THREADS)
    return _unpickle_runner(runner).run(*pickle.loads(job))


_PICKLED_RUNNER: list[bytes] = []
"""In a worker of a process pool: the pickled runner, sent once at the start."""


def _keep_runner(runner: bytes) -> None:
    """The start of a worker process. It ends with its parent, however that one ends."""
    _PICKLED_RUNNER[:] = [runner]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_kept(job: bytes) -> Any:
    return run_job(_PICKLED_RUNNER[0], job)
