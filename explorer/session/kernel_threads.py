"""The server's number of kernel threads, in every thread that draws."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from pruning_core.evaluation.thread_pool import set_kernel_threads, thread_count

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def with_kernel_threads(draw: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """`draw` with `thread_count()` kernel threads: a fragment that is drawn alone may run in a
    thread of its own, which has another number.
    """

    @wraps(draw)
    def drawn(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        set_kernel_threads(thread_count())
        return draw(*args, **kwargs)

    return drawn


MAX_THREADS = 64
"""At most this many calls compute at a time; others wait."""


def beside(
    compute: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Future[Result]:
    """Computes in another thread with the same number of kernel threads, while a page is drawn."""
    return _threads().submit(compute, *args, **kwargs)


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads that are kept, because starting one takes as long as some parts of a page."""
    return ThreadPoolExecutor(
        MAX_THREADS, "beside", initializer=set_kernel_threads, initargs=(thread_count(),)
    )
