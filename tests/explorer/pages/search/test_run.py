"""The searches of a browser: which ones are drawn together."""

from explorer.jobs.job import Snapshot
from explorer.pages.search.run import SearchRequest, SearchRun, Started, together
from pruning_core.plan import Plan
from pruning_core.search import Judged
from pruning_core.search.run import Settings

JOB = Snapshot("1", "search", "EagleEye", "done", (), None, None, None)
STARTED = Started(Plan(), Judged(0.9, 0.9), {}, ())


def made(seed: int, evaluations: int, keep: float = 0.5, *, started: bool = True) -> SearchRun:
    settings = Settings(keep=keep, evaluations=evaluations, seed=seed)
    request = SearchRequest(Plan(), settings)
    return SearchRun(JOB, request, STARTED if started else None, ())


def test_searches_with_the_same_budget_are_drawn_together() -> None:
    first, second, other = made(0, 10), made(1, 10), made(0, 10, 0.4)
    assert together([second, other, first]) == (first, second)
    assert together([made(2, 10, started=False), first]) == (first,)


def test_a_search_with_more_evaluations_replaces_the_shorter_one() -> None:
    first, second, longer = made(0, 10), made(1, 10), made(0, 20)
    assert together([longer, second, first]) == (longer, second)
    assert together([made(0, 20, started=False), second, first]) == (first, second)
