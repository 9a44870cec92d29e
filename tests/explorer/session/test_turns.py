"""Runs of pages pass in the order in which they come, and a long one lets others pass."""

import threading
import time

import pytest

from explorer.session.turns import Turns


def test_first_come_first_served() -> None:
    turns = Turns(places=2, seconds=60.0)
    passed: list[int] = []
    together: list[int] = []
    gates = [threading.Event() for _ in range(5)]

    def run(number: int) -> None:
        with turns.turn():
            passed.append(number)
            together.append(len(turns._until))
            gates[number].wait(60)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        while number >= len(passed) + len(turns._waiting):
            time.sleep(0.001)
    assert passed == [0, 1]
    for number in (1, 0, 2, 3, 4):
        gates[number].set()
        while threads[number].is_alive():
            time.sleep(0.001)
    assert passed == [0, 1, 2, 3, 4]
    assert max(together) == 2
    assert not turns._until


def test_a_run_of_several_parts_does_not_wait_behind_later_runs() -> None:
    turns = Turns(places=1, seconds=60.0)
    passed: list[str] = []
    threads: list[threading.Thread] = []

    def later(name: str) -> None:
        with turns.turn():
            passed.append(name)

    with turns.turn():
        for number, name in enumerate("bc"):
            threads.append(threading.Thread(target=later, args=(name,)))
            threads[-1].start()
            while len(turns._waiting) <= number:
                time.sleep(0.001)
    later("a")  # at most one of them has passed meanwhile
    for thread in threads:
        thread.join(60)
    assert passed.index("a") <= 1
    assert [name for name in passed if name != "a"] == ["b", "c"]


def test_a_long_run_and_one_with_an_error_let_others_pass() -> None:
    turns = Turns(places=1, seconds=0.01)
    with turns.turn(), pytest.raises(ZeroDivisionError), turns.turn():  # the second one waits
        _ = 1 / 0
    forever = Turns(places=1, seconds=60.0)
    for _number in range(2):
        with pytest.raises(ZeroDivisionError), forever.turn():
            _ = 1 / 0
