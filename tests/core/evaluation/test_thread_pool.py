"""Threads that share the kernel threads, and a caller that keeps its own number."""

import threading

import pytest
import torch

from pruning_core.evaluation import thread_pool as rule
from pruning_core.evaluation.thread_pool import (
    THREADS_VARIABLE,
    InlineExecutor,
    configured_kernel_threads,
    thread_count,
    worker_pool,
)
from tests.core.toy import refusal


@pytest.fixture
def four() -> object:
    """Sets four kernel threads, also for new threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(("workers", "share"), [(2, 2), (4, 1), (5, 1)])
def test_workers_share_the_kernel_threads_and_other_threads_keep_theirs(
    workers: int, share: int
) -> None:
    seen: list[int] = []
    with worker_pool(workers) as team:
        assert {
            each.result() for each in [team.submit(torch.get_num_threads) for _ in range(20)]
        } == {share}
        newcomer = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        newcomer.start()
        newcomer.join()
    assert [*seen, torch.get_num_threads()] == [4, 4]


def test_one_worker_is_the_caller() -> None:
    with worker_pool(1) as team:
        assert isinstance(team, InlineExecutor)
        assert team.submit(threading.get_ident).result() == threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            team.submit(lambda: 1 // 0)


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_with_given_kernel_threads_are_never_the_caller(workers: int) -> None:
    with worker_pool(workers, threads=3) as team:
        assert {
            each.result() for each in [team.submit(torch.get_num_threads) for _ in range(9)]
        } == {3}
        assert team.submit(threading.get_ident).result() != threading.get_ident()
    assert torch.get_num_threads() == 4


def test_the_end_completes_calls_that_have_begun_and_drops_the_rest() -> None:
    begun = threading.Barrier(3)
    go = threading.Event()
    ended = list[int]()

    def call(number: int) -> None:
        begun.wait(10)
        go.wait(10)
        ended.append(number)

    with worker_pool(2) as team:
        calls = [team.submit(call, number) for number in range(4)]
        begun.wait(10)
        threading.Timer(0.1, go.set).start()
    assert sorted(ended) == [0, 1]
    assert [each.cancelled() for each in calls] == [False, False, True, True]


@pytest.mark.parametrize(
    ("own", "general", "cores", "count"),
    [
        (None, None, 8, 7),
        (None, None, 2, 1),
        (None, None, 1, 1),
        (None, "4", 8, 4),
        (None, "4,2", 8, 4),
        (None, "all", 8, 7),
        (None, "0", 8, 7),
        ("3", "4", 8, 3),
        ("16", None, 8, 16),
        ("", "", 8, 7),
    ],
)
def test_the_number_of_threads_is_a_variables_or_the_cores_minus_one(
    own: str | None, general: str | None, cores: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule, "cores", lambda: cores)
    for name, value in ((THREADS_VARIABLE, own), ("OMP_NUM_THREADS", general)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert thread_count() == count


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5", " 2"])
def test_a_bad_number_of_threads_is_refused_in_a_sentence(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, wrong)
    assert f"{THREADS_VARIABLE} is '{wrong}'" in refusal(thread_count)


def test_there_is_at_least_one_core() -> None:
    assert rule.cores() >= 1


@pytest.mark.usefixtures("four")
def test_kernels_use_the_number_until_the_context_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "2")
    with configured_kernel_threads() as count:
        assert count == torch.get_num_threads() == 2
    assert torch.get_num_threads() == 4
