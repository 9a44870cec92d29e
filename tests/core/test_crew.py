"""Threads with a share of the kernel threads, and a caller that keeps its own."""

import threading

import pytest
import torch

from pruning_core.crew import Inline, crew


@pytest.fixture
def four() -> object:
    """Four kernel threads, also for threads yet to come."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(("workers", "share"), [(2, 2), (4, 1), (5, 1)])
def test_workers_share_the_kernel_threads_and_everybody_else_keeps_his(workers: int, share: int) -> None:
    seen: list[int] = []
    with crew(workers) as team:
        assert {each.result() for each in [team.submit(torch.get_num_threads) for _ in range(20)]} == {share}
        newcomer = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        newcomer.start()
        newcomer.join()
    assert [*seen, torch.get_num_threads()] == [4, 4]


def test_one_worker_is_the_caller() -> None:
    with crew(1) as team:
        assert isinstance(team, Inline)
        assert team.submit(threading.get_ident).result() == threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            team.submit(lambda: 1 // 0)


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_with_a_number_of_their_own_are_never_the_caller(workers: int) -> None:
    with crew(workers, threads=3) as team:
        assert {each.result() for each in [team.submit(torch.get_num_threads) for _ in range(9)]} == {3}
        assert team.submit(threading.get_ident).result() != threading.get_ident()
    assert torch.get_num_threads() == 4


def test_the_end_waits_for_what_has_begun_and_drops_the_rest() -> None:
    begun, go, ended = threading.Barrier(3), threading.Event(), list[int]()

    def call(number: int) -> None:
        begun.wait(10)
        go.wait(10)
        ended.append(number)

    with crew(2) as team:
        calls = [team.submit(call, number) for number in range(4)]
        begun.wait(10)
        threading.Timer(0.1, go.set).start()
    assert sorted(ended) == [0, 1]
    assert [each.cancelled() for each in calls] == [False, False, True, True]
