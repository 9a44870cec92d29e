"""Backends whose workers end. `test_grid` and `test_workers` run jobs on each of them."""

from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

import pytest

from pruning_core import backends
from tests.core.toy import refusal


class Cluster:
    """Stands in for a Dask client whose workers end after some looks, and whose jobs wait."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def wait_for_workers(self, n_workers: int, timeout: float) -> None:
        if self.looks < 0:
            raise TimeoutError

    def scatter(self, data: bytes, **options: bool) -> bytes:
        return data

    def get_executor(self, **options: bool) -> "Cluster":
        return self

    def submit(self, *job: Any) -> Future[Any]:
        return Future()

    def nthreads(self) -> dict[str, int]:
        self.looks -= 1
        return {"worker": 1} if self.looks > 0 else {}


class Nothing:
    """A runner, and its own source."""

    def run(self) -> None: ...

    @property
    def runner(self) -> "Nothing":
        return self

    def for_other_process(self) -> "Nothing":
        return self


@contextmanager
def opened(looks: int) -> Iterator[backends.Submit]:
    cluster: Any = Cluster(looks)
    no_class: Any = None  # a client that is open is used as it is
    with backends._dask(cluster, no_class, Nothing()) as submit:
        yield submit


def test_jobs_of_a_cluster_that_lost_its_workers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "LOOK", 0.001)
    monkeypatch.setattr(backends, "PATIENCE", 0.01)
    with opened(looks=5) as submit, pytest.raises(CancelledError):
        submit().result(timeout=60)


def test_a_cluster_without_workers_is_refused() -> None:
    def use() -> None:
        with opened(looks=-1):
            raise AssertionError("it has no worker")

    assert refusal(use) == "The Dask cluster has no worker: start `dask worker` first."
