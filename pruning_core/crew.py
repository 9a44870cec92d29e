"""Threads that compute side by side, each with its share of the kernel threads: on small layers faster than all in one kernel."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

_STARTING = threading.Lock()


class Inline(Executor):
    """Computes at once, in the thread that asks, with that thread's own number of kernel threads."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The finished future of the call; its error is raised here."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@contextmanager
def crew(workers: int, threads: int | None = None) -> Iterator[Executor]:
    """An executor of that many threads, which share the caller's number of kernel threads; one worker is the caller itself.

    threads: kernel threads of each worker, which then is never the caller. When the context ends, calls that have not begun are
    dropped and those that have are waited for.
    """
    if workers == 1 and threads is None:
        yield Inline()
        return
    own = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=kernel_threads, initargs=(threads or max(1, own // workers),))
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
    """Starts every thread. torch gives the last number set to threads yet to come: it gets the caller's again."""
    together = threading.Barrier(workers)
    with _STARTING:
        for ready in [pool.submit(together.wait) for _ in range(workers)]:
            ready.result()
        torch.set_num_threads(own)
