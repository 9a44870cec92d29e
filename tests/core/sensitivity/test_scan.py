"""Scans: each point equals a copy masked by hand; the model is not changed; tables read back."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from pruning_core.criteria import criterion
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.granularity import granularity
from pruning_core.masks import achieved, group_scores, select
from pruning_core.model.inventory import inventory, oihw
from pruning_core.sensitivity.scan import COLUMNS, GRID, from_csv, scan, to_csv
from pruning_core.types import GroupScores, Layer, SensitivityPoint
from tests.core.events import stop
from tests.core.toy import Looking, MemorySplit, Toy, refusal, same_state, state

CPU = torch.device("cpu")


def split(n: int = 40) -> MemorySplit:
    rng = torch.Generator().manual_seed(2)
    return MemorySplit(
        torch.randn(n, 1, 6, 6, generator=rng), torch.randint(0, 4, (n,), generator=rng)
    )


def setting(name: str = "fine") -> tuple[nn.Module, tuple[Layer, ...], GroupScores]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)
        ).eval()
    layers = inventory(model, (1, 6, 6))
    return (
        model,
        layers,
        group_scores(
            criterion("magnitude_l1")(model, layers, ()), layers, granularity(name), "mean_abs"
        ),
    )


def scanned(
    name: str = "fine", grid: tuple[float, ...] = (0.0, 0.5, 0.9)
) -> list[SensitivityPoint]:
    model, layers, groups = setting(name)
    return list(scan(model, layers, groups, granularity(name), split(), grid=grid, device=CPU))


@pytest.mark.parametrize("name", ["fine", "row", "filter", "2:4"])
def test_points_equal_a_copy_masked_by_hand(name: str) -> None:
    model, layers, groups = setting(name)
    g = granularity(name)
    points = list(scan(model, layers, groups, g, split(), grid=(0.3, 0.8), device=CPU))
    assert {p.parameter for p in points} == set(groups)
    for point in points:
        (layer,) = (x for x in layers if x.name == point.parameter)
        mask = select(groups, layers, g, {layer.name: point.sparsity})[layer.name]
        masked = setting(name)[0]
        weight = oihw(model.get_parameter(layer.name).detach(), layer)
        masked.get_parameter(layer.name).data = (weight * mask).reshape(layer.param_shape)
        if name == "filter":
            for dependent in ("0.bias", "1.weight", "1.bias"):
                masked.get_parameter(dependent).data[~mask.flatten(1).any(1)] = 0
        expected = evaluate(masked, split(), device=CPU)
        assert (point.loss, point.value, point.n, point.interval) == (
            expected.loss,
            expected.value,
            40,
            expected.interval,
        )
        assert point.achieved == achieved({layer.name: mask})[layer.name]
        assert point.granularity == name


def test_points_come_layer_by_layer_by_rising_sparsity() -> None:
    points = scanned(grid=(0.9, 0.5))
    assert [(p.parameter, p.sparsity) for p in points] == [
        (name, s) for name in ("0.weight", "4.weight") for s in (0.0, 0.5, 0.9)
    ]
    dense = evaluate(setting()[0], split(), device=CPU)
    assert all(
        (p.loss, p.value, p.achieved) == (dense.loss, dense.value, 0.0)
        for p in points
        if p.sparsity == 0
    )


def test_n_of_m_has_a_dense_point_and_its_fixed_sparsity() -> None:
    assert [(p.parameter, p.sparsity, p.achieved) for p in scanned("2:4")] == [
        ("4.weight", 0.0, 0.0),
        ("4.weight", 0.5, 0.5),
    ]


def test_a_sparsity_that_removes_no_group_achieves_nothing() -> None:
    model = Toy()
    layers = inventory(model, (1, 2, 2))
    g = granularity("filter")
    groups = group_scores(criterion("magnitude_l1")(model, layers, ()), layers, g, "mean_abs")
    images = MemorySplit(torch.ones(10, 1, 2, 2), torch.zeros(10, dtype=torch.long))
    points = list(scan(model, layers, groups, g, images, grid=(0.1, 0.2, 0.5, 1.0), device=CPU))
    assert [(p.parameter, p.sparsity, p.achieved) for p in points] == [
        ("0.weight", 0.0, 0.0),
        ("0.weight", 0.1, 0.0),
        ("0.weight", 0.2, 0.0),
        ("0.weight", 0.5, 0.5),
        ("0.weight", 1.0, 0.5),
    ]


def test_the_model_is_not_changed_during_a_scan_or_after_closing_it() -> None:
    model, layers, groups = setting()
    before = state(model)
    copies = {name: scores.clone() for name, scores in groups.items()}
    points = scan(model, layers, groups, granularity("fine"), split(), grid=(0.5, 0.9), device=CPU)
    for _ in range(3):
        next(points)
        assert same_state(model, before)
    stop(points)
    assert next(points, None) is None
    assert same_state(model, before)
    assert all(torch.equal(groups[name], scores) for name, scores in copies.items())
    assert all(p.grad is None for p in model.parameters())


def test_the_model_is_not_changed_while_a_point_is_measured() -> None:
    model, layers, groups = setting()
    before = state(model)
    seen = []

    class Watching(MemorySplit):
        def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            seen.append(same_state(model, before))
            return super().batches(size)

    images = Watching(split().x, split().labels)
    list(scan(model, layers, groups, granularity("fine"), images, grid=(0.5,), device=CPU))
    assert seen
    assert all(seen)


def test_outputs_choose_the_logits() -> None:
    model, layers, groups = setting()
    images = MemorySplit(split().x, split().labels % 2)
    points = scan(
        model, layers, groups, granularity("fine"), images, grid=(0.0,), outputs=(3, 1), device=CPU
    )
    expected = evaluate(model, images, outputs=(3, 1), device=CPU)
    assert [p.value for p in points] == [expected.value, expected.value]


@pytest.mark.parametrize("grid", [(), (0.5, 1.2), (-0.1,), (float("nan"),)])
def test_a_grid_outside_0_to_1_is_refused_in_one_sentence(grid: tuple[float, ...]) -> None:
    assert "[0, 1]" in refusal(lambda: scanned(grid=grid))


def test_the_default_grid_rises() -> None:
    assert list(GRID) == sorted(set(GRID))
    assert GRID[0] == 0.0
    assert GRID[-1] < 1.0


def test_the_csv_has_one_row_per_point() -> None:
    points = scanned()
    text = to_csv(points)
    assert text.splitlines()[0].split(",") == list(COLUMNS)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(points)
    for row, point in zip(rows, points, strict=True):
        assert (row["parameter"], row["granularity"]) == (point.parameter, point.granularity)
        assert int(row["n"]) == point.n
        change = (point.change, *point.change_interval)
        numbers = (
            point.sparsity,
            point.loss,
            point.value,
            point.achieved,
            *point.interval,
            *change,
        )
        assert [float(row[name]) for name in CSV_NUMBERS] == pytest.approx(numbers, abs=1e-6)
    assert text.endswith("\n")
    assert to_csv([]).count("\n") == 1


CSV_NUMBERS = (
    "sparsity",
    "loss",
    "top1",
    "achieved",
    "low",
    "high",
    "change",
    "change_low",
    "change_high",
)


def test_points_read_from_a_table_equal_those_written() -> None:
    """To six decimals. Only the expected rows are read, where the table has such a column."""
    tied, whole = (
        replace(point, group=("a.weight", point.parameter)) for point in scanned("filter")[:2]
    )
    points = [*scanned("row"), tied, replace(whole, why="A, b.", in_full='It "looks".')]
    text = to_csv(points)
    rows = from_csv(text, granularity="row", criterion="none")
    filters = from_csv(text, granularity="filter")
    for read, point in zip((*rows, *filters), points, strict=True):
        numbers = ("sparsity", "achieved", "loss", "value", "change", "interval", "change_interval")
        for name in numbers:
            assert getattr(read, name) == pytest.approx(
                getattr(point, name), abs=1e-9 if name == "achieved" else 1e-6
            )
        assert replace(point, **{name: getattr(read, name) for name in numbers}) == read


def test_a_table_that_is_not_of_a_scan_is_refused_in_one_sentence() -> None:
    text = to_csv(scanned())
    head, first, *rest = text.splitlines()
    assert "'loss'" in refusal(lambda: from_csv("parameter,granularity,sparsity,top1\n"))
    assert "'parameter'" in refusal(lambda: from_csv(""))
    assert "granularity row" in refusal(lambda: from_csv(text, granularity="row"))
    broken = (
        first.replace(",40,", ",some,"),
        first.replace(",40,", ",nan,"),
        first.replace(",40,", ",0,"),
        first[:40],
    )
    for line in broken:
        assert line != first
        text = "\n".join([head, first, line, *rest])
        assert "Line 3 " in refusal(partial(from_csv, text))


def test_points_of_a_network_that_cannot_be_traced_are_equal_and_have_the_reason() -> None:
    """The reason is in every point and in the table; it is empty for a traced network."""
    parts = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)]
    images = MemorySplit(
        torch.randn(20, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3
    )
    scans = []
    for model in (nn.Sequential(*parts).eval(), Looking(*parts).eval()):
        layers = inventory(model, (1, 6, 6))
        groups = group_scores(
            criterion("magnitude_l1")(model, layers, ()), layers, granularity("fine"), "mean_abs"
        )
        scans.append(
            list(scan(model, layers, groups, granularity("fine"), images, grid=(0.5,), device=CPU))
        )
    traced, untraced = scans
    assert {point.in_full for point in traced} == {None}
    assert all("torch.fx cannot trace it" in str(point.in_full) for point in untraced)
    assert [replace(point, in_full=None) for point in untraced] == traced
    assert [row["in_full"] for row in csv.DictReader(io.StringIO(to_csv(untraced)))] == [
        untraced[0].in_full
    ] * 4
