"""Many small cases in one test: all are checked, and every one that fails is named.

A test of its own for each of a thousand cases takes longer to collect and to report than to run.
"""

import traceback
from collections.abc import Callable, Iterable
from pathlib import Path


def check_each(cases: Iterable[object], check: Callable[..., None]) -> None:
    """Calls check(case), or check(*case) for a tuple, for every case; then reports all failures."""
    all_cases = list(cases)
    assert all_cases, "no case was given"
    failures = []
    for case in all_cases:
        parts = case if isinstance(case, tuple) else (case,)
        try:
            check(*parts)
        except AssertionError as error:
            failures.append(f"{label(case)}: {place(error)}: {error}")
    assert not failures, f"{len(failures)} of {len(all_cases)} cases fail\n" + "\n".join(failures)


def for_each(cases: Iterable[object]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Makes one test of the decorated check: `check_each` over the cases."""

    def decorate(check: Callable[..., None]) -> Callable[[], None]:
        def test() -> None:
            check_each(cases, check)

        test.__name__ = check.__name__
        test.__doc__ = check.__doc__
        return test

    return decorate


def label(case: object) -> str:
    """The case in words: the parts of a tuple, by their `name` where they have one."""
    parts = case if isinstance(case, tuple) else (case,)
    return ", ".join(
        part.as_posix() if isinstance(part, Path) else str(getattr(part, "name", part))
        for part in parts
    )


def place(error: BaseException) -> str:
    """File and line of the assertion."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"
