"""Grids: every backend gives the numbers of a plain loop, also when workers are lost."""

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from pruning_core import backends
from pruning_core.backends import (
    Backend,
    Source,
    Submit,
    dask,
    executor_backend,
    in_process,
    process_pool,
)
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.evaluation.forward import Forward
from pruning_core.granularity import granularity
from pruning_core.masks import apply_masks, select
from pruning_core.pipeline import group_scores_of, probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.grid import measure
from pruning_core.sensitivity.grid_jobs import (
    Grid,
    GridPoint,
    Job,
    JobRunner,
    make_jobs,
)
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.types import GroupScores, Inputs, SensitivityPoint
from pruning_core.workspaces import Workspace, open_workspace
from tests.core.events import stop
from tests.core.toy import refusal

CPU = torch.device("cpu")
PLAN = Plan(model="lenet5", dataset="digits", probe=40)
GRID = Grid((0.5, 0.9), ("fine", "row"), ("magnitude_l1", "taylor"))


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


@pytest.fixture(scope="module")
def expected(space: Workspace) -> list[GridPoint]:
    return list(measure(GRID, PLAN, space, device=CPU))


class Scripted(Executor):
    """Runs each job at once. From the `breaks`-th job on, `times` jobs are lost.

    sent: criterion, granularity and first layer of every job.
    """

    def __init__(self, breaks: int, times: int = 1) -> None:
        self.breaks = breaks
        self.times = times
        self.sent: list[tuple[str, str, str]] = []
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        job = pickle.loads(args[1])[0]
        self.sent.append((job.criterion, job.granularity, job.layers[0]))
        future: Future[Any] = Future()
        self.futures.append(future)
        if len(self.sent) >= self.breaks and self.times:
            self.times -= 1
            future.set_exception(BrokenExecutor())
        else:
            future.set_result(fn(*args, **kwargs))
        return future


class RunsOnlyTheFirst(Scripted):
    """Runs the first job and starts no other."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not self.futures:
            return super().submit(fn, *args, **kwargs)
        self.futures.append(Future())
        return self.futures[-1]


def test_every_point_equals_a_plain_loop_in_a_fixed_order(
    space: Workspace, expected: list[GridPoint]
) -> None:
    measured = iter(expected)
    for criterion in GRID.criteria:
        for name in GRID.granularities:
            layers, groups = group_scores_of(
                Plan("lenet5", criterion=criterion, granularity=name), space
            )
            for layer in layers:
                for sparsity in (0.0, 0.5, 0.9):
                    masks = select(groups, layers, granularity(name), {layer.name: sparsity})
                    plain = evaluate(
                        apply_masks(space.model, masks, layers),
                        probe_split(PLAN, space),
                        device=CPU,
                    )
                    grid_point = next(measured)
                    point = grid_point.point
                    assert (
                        grid_point.criterion,
                        point.granularity,
                        point.parameter,
                        point.sparsity,
                    ) == (
                        criterion,
                        name,
                        layer.name,
                        sparsity,
                    )
                    assert (point.loss, point.value, point.n) == (plain.loss, plain.value, 40)
    assert next(measured, None) is None


def test_points_count_their_jobs(expected: list[GridPoint], space: Workspace) -> None:
    jobs = len(make_jobs(GRID, PLAN, space))
    assert [p.job for p in expected] == [job for job in range(1, jobs + 1) for _ in range(3)]
    assert {p.jobs for p in expected} == {jobs}


def test_a_grid_can_name_its_layers(space: Workspace) -> None:
    some = space.layers[2].name
    points = list(measure(Grid((0.5,), layers=(some,)), PLAN, space, device=CPU))
    assert [(p.point.parameter, p.point.sparsity) for p in points] == [(some, 0.0), (some, 0.5)]


def test_threads_and_other_executors_give_equal_numbers(
    space: Workspace, expected: list[GridPoint]
) -> None:
    own = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert list(measure(GRID, PLAN, space, backend=in_process(1), device=CPU)) == expected
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as anew:
            assert anew.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(own)
    with ThreadPoolExecutor(1) as executor:
        assert list(measure(GRID, PLAN, backend=executor_backend(executor), device=CPU)) == expected
        assert executor.submit(int).result() == 0  # the executor is still open


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_process_killed_during_the_grid_changes_no_number(
    space: Workspace, expected: list[GridPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are copies of this process, which saves imports. `pruning scan --workers` is tested
    with a new process.
    """
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(backends, "get_context", lambda _: context)
    points = measure(GRID, PLAN, space, backend=process_pool(2), device=CPU)
    measured = [next(points)]
    (victim, other) = multiprocessing.active_children()
    os.kill(victim.pid or 0, signal.SIGKILL)
    measured += points
    assert measured == expected
    assert not victim.is_alive()
    assert not other.is_alive()


def test_a_dask_worker_lost_during_the_grid_changes_no_number(expected: list[GridPoint]) -> None:
    """It leaves without finishing its jobs. Workers are threads here; they receive the same pickled
    bytes as other machines.
    """
    from distributed import Client, LocalCluster  # 1 second in every process of the suite

    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            protocol="tcp://",
            dashboard_address=":0",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        points = measure(GRID, PLAN, backend=dask(client, jobs_ahead=6), device=CPU)
        measured = [next(points)]
        cluster.sync(cluster.workers[0].close, executor_wait=False)
        measured += points
        assert measured == expected
        assert list(client.scheduler_info()["workers"]) == [cluster.workers[1].address]
        assert client.status == "running"  # the caller's client stays open


@pytest.mark.parametrize("breaks", [1, 3])
def test_only_lost_jobs_are_submitted_again(
    space: Workspace, expected: list[GridPoint], breaks: int
) -> None:
    executor = Scripted(breaks)
    assert (
        list(measure(GRID, PLAN, space, backend=executor_backend(executor), device=CPU)) == expected
    )
    assert len(executor.sent) == len(set(executor.sent)) + 1
    assert executor.sent.count(executor.sent[breaks - 1]) == 2


def test_workers_that_are_always_lost_end_the_grid_with_one_sentence(space: Workspace) -> None:
    executor = Scripted(2, times=99)
    points = measure(
        GRID, PLAN, space, backend=executor_backend(executor, jobs_ahead=1), device=CPU
    )
    assert "3 times" in refusal(lambda: list(points))
    assert len(executor.sent) == 4


def test_closing_cancels_waiting_jobs_and_closes_the_backend(space: Workspace) -> None:
    executor = RunsOnlyTheFirst(99)
    closed = []

    @contextmanager
    def watched(source: Source) -> Iterator[Submit]:
        try:
            with executor_backend(executor).open(source) as send:
                yield send
        finally:
            closed.append(True)

    points = measure(GRID, PLAN, space, backend=Backend(watched, 4), device=CPU)
    next(points)
    stop(points)
    assert closed == [True]
    assert len(executor.futures) == 4
    assert all(future.cancelled() for future in executor.futures[1:])


def test_one_thread_runs_a_job_only_when_its_points_are_needed(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    plain = JobRunner.run

    def watched(self: JobRunner, job: Job, groups: GroupScores) -> list[SensitivityPoint]:
        seen.append(job.layers[0])
        return plain(self, job, groups)

    monkeypatch.setattr(JobRunner, "run", watched)
    points = measure(GRID, PLAN, space, backend=in_process(1), device=CPU)
    next(points)
    assert len(seen) == 1


def test_a_worker_computes_dense_activations_once_per_criterion(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    plain = Forward.images

    def watched(self: Forward, batch: int) -> Inputs:
        passes.append(batch)
        return plain(self, batch)

    monkeypatch.setattr(Forward, "images", watched)
    list(
        measure(
            Grid((0.5,), criteria=("magnitude_l1", "random")),
            PLAN,
            space,
            backend=in_process(1),
            device=CPU,
        )
    )
    assert passes == [0, 0, 0]  # one for tracing, one for each criterion


def test_an_error_of_a_job_is_raised_and_the_job_is_not_repeated(space: Workspace) -> None:
    with torch.no_grad():
        broken = open_workspace("lenet5", "digits")
        next(broken.model.parameters())[0, 0, 0, 0] = torch.nan
    with ThreadPoolExecutor(1) as executor:
        grid = Grid((0.5,), criteria=("random",))
        assert "NaN" in refusal(
            lambda: list(
                measure(grid, PLAN, broken, backend=executor_backend(executor), device=CPU)
            )
        )


def test_a_grid_that_cannot_be_measured_is_refused_in_one_sentence(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "axis of the grid is empty" in refusal(lambda: Grid(criteria=()))
    assert "[0, 1]" in refusal(lambda: Grid((0.5, 1.5)))
    assert "nowhere" in refusal(lambda: make_jobs(Grid(layers=("nowhere",)), PLAN, space))
    assert "'bn_scale'" in refusal(lambda: make_jobs(Grid(criteria=("bn_scale",)), PLAN, space))
    assert "At least one" in refusal(lambda: process_pool(0))
    unsendable = Workspace(space.model, space.dataset, space.layers, space.fixed)
    vars(unsendable.model)["note"] = lambda: None
    assert "cannot be sent" in refusal(
        lambda: list(measure(GRID, PLAN, unsendable, backend=process_pool(1)))
    )
    del vars(unsendable.model)["note"]
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "requirements-dask.txt" in refusal(lambda: dask("tcp://127.0.0.1:1"))


@pytest.mark.parametrize("tied", [True, False])
def test_filters_of_a_residual_network_are_pruned_as_in_a_scan(tied: bool) -> None:
    """A job is a coupling, or a single layer. Workers set dependent parameters to zero too."""
    plan = Plan(model="resnet20", dataset="digits", granularity="filter", probe=10)
    space = open_workspace("resnet20", "digits")
    grid = Grid((0.5,), ("filter",), ("magnitude_l1",), tied=tied)
    with ThreadPoolExecutor(1) as executor:
        measured = [
            p.point
            for p in measure(grid, plan, space, backend=executor_backend(executor), device=CPU)
        ]
    assert measured == list(scan_plan(plan, space, (0.5,), tied=tied, device=CPU))
    assert any(point.group for point in measured) is tied
    some = Grid((0.5,), ("filter",), ("magnitude_l1",), (space.layers[0].name,), tied)
    (job,) = make_jobs(some, plan, space)
    assert (len(job.layers) > 1) is tied
    assert space.layers[0].name in job.layers
