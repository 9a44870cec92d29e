"""Threads that compute at the same time: on small layers faster than one kernel's threads."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from pruning_core.types import PruningError

THREADS_VARIABLE = "PRUNING_EXPLORER_THREADS"
_STARTING = threading.Lock()


class InlineExecutor(Executor):
    """Computes at once in the calling thread, with that thread's number of kernel threads."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The finished future of the call. An error of the call is raised here."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def thread_count() -> int:
    """The number of threads that torch's kernels use.

    It is the number in PRUNING_EXPLORER_THREADS, else that in OMP_NUM_THREADS, else the number of
    processor cores minus one, and at least 1. One core stays free for the web server and other
    programs: kernels whose threads share a busy core are many times slower. Sums are split over the
    threads. So another number of threads changes the last digits of results, and masks that depend
    on them. Raises PruningError where PRUNING_EXPLORER_THREADS is not a whole number above 0.
    """
    own = os.environ.get(THREADS_VARIABLE)
    if own:
        if not own.isdecimal() or int(own) < 1:
            raise PruningError(
                f"{THREADS_VARIABLE} is '{own}': set it to a whole number above 0, or leave it out."
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
def configured_kernel_threads() -> Iterator[int]:
    """A context in which the calling thread's kernels use `thread_count()` threads; gives that
    number.

    Other threads keep their numbers. Raises PruningError as `thread_count`.
    """
    own = torch.get_num_threads()
    count = thread_count()
    set_kernel_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(own)  # new threads get the last number that was set


@contextmanager
def worker_pool(workers: int, threads: int | None = None) -> Iterator[Executor]:
    """A context with an executor of that many threads, which share the caller's kernel threads.

    threads: kernel threads of each worker (default: the caller's, divided by the workers). One
    worker is the calling thread itself, unless `threads` is given. At the end of the context, calls
    that have not begun are dropped, and it waits for those that have.
    """
    if workers == 1 and threads is None:
        yield InlineExecutor()
        return
    own = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        workers, initializer=set_kernel_threads, initargs=(threads or max(1, own // workers),)
    )
    try:
        _started(pool, workers, own)
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def set_kernel_threads(threads: int) -> None:
    """Sets the number of threads that the calling thread's kernels use."""
    torch.get_num_threads()  # the first call resets it
    torch.set_num_threads(threads)


def _started(pool: Executor, workers: int, own: int) -> None:
    """Starts every thread, then sets the caller's number again.

    New threads get the last number set.
    """
    together = threading.Barrier(workers)
    with _STARTING:
        for ready in [pool.submit(together.wait) for _ in range(workers)]:
            ready.result()
        torch.set_num_threads(own)
