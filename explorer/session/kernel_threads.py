"""The server's number of kernel threads, in every thread that draws."""

from collections.abc import Callable
from functools import wraps
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
