"""Threads with a share of the kernel threads, and a caller that keeps its own."""

import threading

import pytest
import torch

from pruning_core.evaluation import thread_pool as rule
from pruning_core.evaluation.thread_pool import VARIABLE, Inline, kernels, thread_count, worker_pool
from tests.core.toy import refusal


@pytest.fixture
def four() -> object:
    """Four kernel threads, also for threads yet to come."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(("workers", "share"), [(2, 2), (4, 1), (5, 1)])
def test_workers_share_the_kernel_threads_and_everybody_else_keeps_his(
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
        assert isinstance(team, Inline)
        assert team.submit(threading.get_ident).result() == threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            team.submit(lambda: 1 // 0)


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_with_a_number_of_their_own_are_never_the_caller(workers: int) -> None:
    with worker_pool(workers, threads=3) as team:
        assert {
            each.result() for each in [team.submit(torch.get_num_threads) for _ in range(9)]
        } == {3}
        assert team.submit(threading.get_ident).result() != threading.get_ident()
    assert torch.get_num_threads() == 4


def test_the_end_waits_for_what_has_begun_and_drops_the_rest() -> None:
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
def test_the_number_of_threads_is_the_variables_or_one_less_than_the_cores(
    own: str | None, general: str | None, cores: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule, "cores", lambda: cores)
    for name, value in ((VARIABLE, own), ("OMP_NUM_THREADS", general)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert thread_count() == count


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5", " 2"])
def test_a_bad_number_of_threads_is_refused_in_a_sentence(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, wrong)
    assert f"{VARIABLE} is '{wrong}'" in refusal(thread_count)


def test_there_is_a_core() -> None:
    assert rule.cores() >= 1


@pytest.mark.usefixtures("four")
def test_kernels_use_the_number_until_the_context_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "2")
    with kernels() as count:
        assert count == torch.get_num_threads() == 2
    assert torch.get_num_threads() == 4
