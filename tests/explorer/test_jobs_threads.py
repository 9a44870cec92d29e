"""How many threads torch's kernels use in a job, and that nobody else is told so."""

import os
import threading
from collections.abc import Iterator

import torch

from explorer.jobs import Jobs
from tests.explorer.test_jobs import until


def asked_anew() -> int:
    """What a thread that has just begun is given."""
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return seen[0]


def test_a_job_leaves_one_core_free_and_later_threads_their_number() -> None:
    own, cores, seen = torch.get_num_threads(), os.cpu_count() or 2, list[int]()

    def work() -> Iterator[int]:
        seen.append(torch.get_num_threads())
        yield 1

    torch.set_num_threads(cores + 1)
    try:
        jobs = Jobs(lambda owner: True)
        for _ in range(2):
            jobs.start("me", "train", "Training", work)
            until(lambda: not jobs._threads)
        assert seen == [max(1, cores - 1)] * 2
        assert asked_anew() == torch.get_num_threads() == cores + 1
    finally:
        torch.set_num_threads(own)
