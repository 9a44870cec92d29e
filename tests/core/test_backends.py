"""Backends whose workers end. `test_grid` and `test_workers` run jobs on each of them."""

from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
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

    def submit(self, *job: Any, pure: bool) -> Future[Any]:
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


class There:
    """Stands in for a job of the cluster that has ended."""

    def __init__(self, error: BaseException | None = None, lost: bool = False) -> None:
        self.error = error
        self.lost = lost

    def exception(self) -> BaseException | None:
        if self.lost:
            raise CancelledError
        return self.error

    def result(self) -> list[int]:
        return [1, 2, 3]


def test_what_became_of_a_job_is_passed_on() -> None:
    ended: list[Any] = [There(), There(KeyError("wrong")), There(lost=True)]
    futures: list[Future[Any]] = [Future() for _ in ended]
    for future, there in zip(futures, ended, strict=True):
        with suppress(CancelledError):
            backends._pass_on(future, there)
    assert futures[0].result(0) == [1, 2, 3]
    assert isinstance(futures[1].exception(0), KeyError)
    assert isinstance(futures[2].exception(0), CancelledError)
