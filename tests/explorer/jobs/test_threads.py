"""Jobs, pages and commands use the same number of kernel threads; other threads keep theirs."""

import argparse
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from explorer.jobs.queue import JobQueue
from explorer.session import sidebar
from pruning_core.cli import main as command_line
from pruning_core.evaluation.thread_pool import THREADS_VARIABLE, set_kernel_threads
from tests.explorer.driven import opened
from tests.explorer.jobs.test_queue import until


def threads_of_a_new_thread() -> int:
    """The number of kernel threads in a new Python thread."""
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def shown() -> None:
    """The app, as `app.py` shows it."""
    from explorer.app import show

    show()


@pytest.fixture
def seven() -> Iterator[int]:
    """Sets seven kernel threads for this thread and for later threads."""
    before = torch.get_num_threads()
    set_kernel_threads(7)
    yield 7
    set_kernel_threads(before)


@pytest.fixture(autouse=True)
def _three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "3")


def test_a_job_uses_the_chosen_number_and_later_threads_keep_theirs(seven: int) -> None:
    seen: list[int] = []

    def work() -> Iterator[int]:
        seen.append(torch.get_num_threads())
        yield 1

    jobs = JobQueue(lambda owner: True)
    for _ in range(2):
        jobs.start("me", "train", "Training", work)
        until(lambda: not jobs._threads)
    assert seen == [3, 3]
    assert threads_of_a_new_thread() == torch.get_num_threads() == seven


def test_a_command_uses_the_same_number(seven: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def command(_options: argparse.Namespace) -> int:
        seen.append(torch.get_num_threads())
        return 0

    list_command = replace(command_line.COMMANDS["list"], run=command)
    monkeypatch.setitem(command_line.COMMANDS, "list", list_command)
    assert command_line.main(["list"]) == 0
    assert seen == [3]
    assert threads_of_a_new_thread() == torch.get_num_threads() == seven


def test_a_page_uses_the_same_number(seven: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page computes in its own thread, in which it draws the side bar."""
    seen: list[int] = []
    render = sidebar.render

    def rendering(page: str) -> sidebar.Choice:
        seen.append(torch.get_num_threads())
        return render(page)

    monkeypatch.setattr(sidebar, "render", rendering)
    opened(shown, {"model": "lenet5"})
    assert set(seen) == {3}
    assert torch.get_num_threads() == seven


def test_a_bad_number_fails_a_job_and_a_command_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "many")
    jobs = JobQueue(lambda owner: True)
    job = jobs.start("me", "train", "Training", lambda: iter(()))
    until(lambda: not jobs._threads)
    sentence = job.snapshot().error
    assert job.status == "failed"
    assert sentence is not None
    assert f"{THREADS_VARIABLE} is 'many'" in sentence
    assert command_line.main(["list"]) == 2
    assert capsys.readouterr().err.strip() == sentence
