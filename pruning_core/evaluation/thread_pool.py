"""Threads that compute side by side, each with its share of the kernel threads: on small layers
faster than all in one kernel.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from pruning_core.types import PruningError

VARIABLE = "PRUNING_EXPLORER_THREADS"
_STARTING = threading.Lock()


class Inline(Executor):
    """Computes at once, in the thread that asks, with that thread's own number of kernel threads."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The finished future of the call; its error is raised here."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def thread_count() -> int:
    """The number of threads that torch's kernels use, for pages and for the command line alike.

    It is the number in PRUNING_EXPLORER_THREADS, else that in OMP_NUM_THREADS, else the number of
    processor cores minus one, and at least 1. One core stays free for the web server and other
    programs: kernels whose threads share a busy core wait for each other and are many times slower.
    Sums are split over the threads, so another number of threads changes the last digits of
    results, and of masks that depend on them. Raises PruningError where PRUNING_EXPLORER_THREADS is
    not a whole number above 0.
    """
    own = os.environ.get(VARIABLE)
    if own:
        if not own.isdecimal() or int(own) < 1:
            raise PruningError(
                f"{VARIABLE} is '{own}': set it to a whole number above 0, or leave it out."
            )
        return int(own)
    general = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if general.isdecimal() and int(general) > 0:
        return int(general)
    return max(1, cores() - 1)


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def kernels() -> Iterator[int]:
    """Kernels of the calling thread use `thread_count()` threads until the context ends; gives that
    number.

    Other threads keep theirs. Raises PruningError as `thread_count`.
    """
    own = torch.get_num_threads()
    count = thread_count()
    kernel_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(own)  # torch gives the last number set to threads yet to come


@contextmanager
def worker_pool(workers: int, threads: int | None = None) -> Iterator[Executor]:
    """An executor of that many threads, which share the caller's number of kernel threads; one
    worker is the caller itself.

    threads: kernel threads of each worker, which then is never the caller. When the context ends,
    calls that have not begun are dropped and those that have are waited for.
    """
    if workers == 1 and threads is None:
        yield Inline()
        return
    own = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        workers, initializer=kernel_threads, initargs=(threads or max(1, own // workers),)
    )
    try:
        _started(pool, workers, own)
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def kernel_threads(threads: int) -> None:
    """The calling thread's kernels use that many threads from now on."""
    torch.get_num_threads()  # a thread's first question sets its number: it must not come after ours
    torch.set_num_threads(threads)


def _started(pool: Executor, workers: int, own: int) -> None:
    """Starts every thread. torch gives the last number set to threads yet to come: it gets the
    caller's again.
    """
    together = threading.Barrier(workers)
    with _STARTING:
        for ready in [pool.submit(together.wait) for _ in range(workers)]:
            ready.result()
        torch.set_num_threads(own)
