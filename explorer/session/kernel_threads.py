"""The server's number of kernel threads, in every thread that draws."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from pruning_core.evaluation.thread_pool import set_kernel_threads, thread_count

P = ParamSpec("P")
R = TypeVar("R")


def with_kernel_threads(draw: Callable[P, R]) -> Callable[P, R]:
    """A function that computes with `thread_count()` kernel threads: a fragment that is drawn alone
    can have a thread of its own.
    """

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        set_kernel_threads(thread_count())
        return draw(*args, **kwargs)

    return drawn


MOST_BESIDE = 64
"""So many sessions compute beside what they draw; more of them wait."""


def beside(compute: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
    """Computes in another thread with the same number of kernel threads, while a page is drawn."""
    return _threads().submit(compute, *args, **kwargs)


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads that stay: to start one takes as long as some parts of a page."""
    return ThreadPoolExecutor(
        MOST_BESIDE, "beside", initializer=set_kernel_threads, initargs=(thread_count(),)
    )
