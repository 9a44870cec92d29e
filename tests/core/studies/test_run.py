"""One run of a study gives the numbers of the pipeline, on the images of its seed."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import torch

from pruning_core import studies
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.studies import (
    Result,
    run_plan,
    run_study,
)
from pruning_core.studies.run import seed_workspace
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished
from pruning_core.workspaces import Workspace
from tests.core.studies.small_study import SMALL
from tests.core.toy import in_memory


def test_a_run_gives_the_numbers_of_the_pipeline(
    space: Workspace, finished: tuple[Path, tuple[Result, ...]]
) -> None:
    """The oracle is `pipeline.prune` with the run's plan on the seed's images."""
    for result in finished[1][-2:]:
        own = seed_workspace(space, SMALL.images, result.run.seed)
        done = list(prune(run_plan(SMALL, result.run), own))[-1]
        assert isinstance(done, Finished)
        assert result.after is not None
        assert done.tuned is not None
        assert (result.initial.value, result.before.value, result.after.value) == (
            done.dense.value,
            done.pruned.value,
            done.tuned.value,
        )
        assert (result.after.n, result.after.low, result.after.high) == (
            len(space.dataset.test),
            *done.tuned.interval,
        )
        assert (result.parameters, result.nonzeros) == (
            done.report.parameters,
            done.report.nonzeros,
        )
        assert (result.macs, result.macs_effective) == (
            done.report.macs,
            done.report.macs_effective,
        )
        assert result.compression == done.report.parameters / done.report.nonzeros
        assert result.speedup == done.report.macs / done.report.macs_effective
        assert (result.epochs, result.images) == (1, 256)


def test_each_seed_has_its_own_images_with_equal_class_shares(space: Workspace) -> None:
    parts = [in_memory(seed_workspace(space, 200, seed).dataset.train) for seed in (0, 1, 0)]
    assert [len(part) for part in parts] == [200, 200, 200]
    assert torch.equal(parts[0].x, parts[2].x)
    assert not torch.equal(parts[0].x, parts[1].x)
    shares = [torch.bincount(part.labels, minlength=10) for part in parts]
    assert int((shares[0] - shares[1]).abs().max()) <= 1
    assert (
        len(seed_workspace(space, 0, 3).dataset.train)
        == len(seed_workspace(space, 10**9, 3).dataset.train)
        == len(space.dataset.train)
    )


def test_seeds_give_different_accuracies(finished: tuple[Path, tuple[Result, ...]]) -> None:
    after = {result.run: result.final.value for result in finished[1]}
    differing = [
        run for run in after if run.seed == 0 and after[run] != after[replace(run, seed=1)]
    ]
    assert differing


def test_zero_epochs_give_no_accuracy_after_fine_tuning(space: Workspace, tmp_path: Path) -> None:
    study = replace(
        SMALL,
        plan=Plan(model="lenet5", fine_tune=TrainConfig(epochs=0)),
        compressions=(2.0,),
        seeds=1,
    )
    list(run_study(study, space, tmp_path))
    results = studies.load_results(study, tmp_path)
    assert [result.after for result in results] == [None, None]
    assert all(result.final == result.before for result in results)
    row = next(csv.DictReader(io.StringIO(studies.to_csv(study, results))))
    assert row["after_top1"] == ""
