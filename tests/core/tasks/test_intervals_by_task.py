"""Bootstrap intervals: their size, coverage, and that equal networks do not differ."""

import math
from dataclasses import replace

import pytest
import torch

from pruning_core.evaluation.accuracy import summarise
from pruning_core.intervals import (
    bootstrap_interval,
    paired_interval,
    resample_counts,
    wilson_interval,
)
from pruning_core.sensitivity.preview_curves import pseudo_values
from pruning_core.tasks import TASKS, FunctionTask, change, find_task
from tests.core.toy import refusal

RMSE = TASKS["regression"]


def test_every_resample_draws_as_many_samples_and_is_fixed() -> None:
    counts = resample_counts(40)
    assert counts.sum(1).unique().tolist() == [40]
    assert torch.equal(counts, resample_counts.__wrapped__(40))
    assert counts.double().var().item() == pytest.approx(1, abs=0.1)


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    statistics = {"value": values, "count": torch.ones(400, dtype=torch.float64)}
    low, high = bootstrap_interval(lambda sums: sums["value"] / sums["count"], statistics)
    half = 1.96 * float(values.std()) / 20
    mean = float(values.mean())
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.02)


def test_paired_intervals_contain_the_true_change_in_19_of_20_draws() -> None:
    rng = torch.Generator().manual_seed(2)
    inside = []
    for _ in range(60):
        noise = torch.randn(150, generator=rng)
        before = summarise(noise, torch.zeros(150), RMSE)
        after = summarise(1.2 * noise, torch.zeros(150), RMSE)
        found = change(before, after)
        assert found.value == pytest.approx(after.value - before.value)
        low, high = found.interval
        inside.append(low <= 0.2 <= high)
        wide = before.interval[1] - before.interval[0]
        assert high - low < 0.5 * wide
        assert (found.gained, found.lost, found.certain) == (None, None, True)
    assert sum(inside) >= 54


def test_no_change_and_a_single_sample() -> None:
    before = summarise(torch.tensor([0.5, 1.0, 2.0]), torch.zeros(3), RMSE)
    assert change(before, before).interval == (0.0, 0.0)
    one = summarise(torch.ones(1), torch.zeros(1), RMSE)
    assert one.interval == (-math.inf, math.inf)
    assert "sample by sample" in refusal(lambda: change(before, one))
    accuracy = summarise(torch.eye(3), torch.arange(3))
    assert "Regression" in refusal(lambda: change(accuracy, before))


def test_pseudo_values_of_a_mean_are_its_terms_and_of_others_average_to_the_value() -> None:
    rng = torch.Generator().manual_seed(3)
    parts = TASKS["binary"].measure(torch.randn(30, generator=rng), torch.arange(30) % 2)
    statistics = {"value": parts["value"], "count": torch.ones(30, dtype=torch.float64)}
    assert pseudo_values(TASKS["binary"], statistics).tolist() == pytest.approx(
        parts["value"].tolist()
    )
    found = summarise(torch.randn(500, generator=rng), torch.zeros(500), RMSE)
    assert float(pseudo_values(RMSE, found.statistics).mean()) == pytest.approx(
        found.value, abs=1e-3
    )


def test_a_function_that_gives_0_or_1_has_exact_intervals() -> None:
    """A bootstrap of samples that are all right has no width."""
    task = find_task("tests.core.tasks.own_task:within_one")
    n = 40
    right = summarise(torch.zeros(n, 1), torch.zeros(n, 1), task)
    outputs = torch.zeros(n, 1)
    outputs[:4] = 2
    fewer = summarise(outputs, torch.zeros(n, 1), task)
    assert right.interval == wilson_interval(n, n)
    assert fewer.interval == wilson_interval(n - 4, n)
    found = change(right, fewer)
    assert (found.gained, found.lost) == (0, 4)
    assert found.interval == paired_interval(0, 4, n)
    assert isinstance(task, FunctionTask)
    fractions = replace(task, function=lambda outputs, targets: outputs[:, 0] / 4)
    half = summarise(outputs, torch.zeros(n, 1), fractions)
    assert half.interval == bootstrap_interval(task.value_of, half.statistics)
    assert change(half, half).gained is None
