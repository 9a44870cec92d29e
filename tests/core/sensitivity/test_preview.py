"""A preview keeps to its budget, and its bands contain the full scan's curve."""

import csv
import io
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import nn

from pruning_core.criteria import criterion
from pruning_core.granularity import granularity
from pruning_core.masks import group_scores
from pruning_core.model.inventory import inventory
from pruning_core.pipeline import group_scores_of, probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.preview import Preview, preview
from pruning_core.sensitivity.preview_bands import Band, bands_csv
from pruning_core.sensitivity.scan import scan
from pruning_core.types import GroupScores, Layer, SensitivityPoint
from pruning_core.workspaces import open_workspace
from tests.core.events import stop
from tests.core.toy import Looking, MemorySplit, refusal, same_state, state

CPU = torch.device("cpu")
GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)


def width(band: Band) -> float:
    return band.interval[1] - band.interval[0]


def images(n: int = 60) -> MemorySplit:
    rng = torch.Generator().manual_seed(2)
    return MemorySplit(
        torch.randn(n, 1, 6, 6, generator=rng), torch.randint(0, 4, (n,), generator=rng)
    )


@cache
def setting() -> tuple[nn.Module, tuple[Layer, ...], GroupScores]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [layer for _ in range(4) for layer in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())]
        model = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.ReLU(), *layers, nn.Flatten(), nn.Linear(128, 4)
        ).eval()
    layers_of_model = inventory(model, (1, 6, 6))
    return (
        model,
        layers_of_model,
        group_scores(
            criterion("magnitude_l1")(model, layers_of_model, ()),
            layers_of_model,
            granularity("fine"),
            "mean_abs",
        ),
    )


def previews(share: float = 0.3, n: int = 60) -> list[Preview]:
    model, layers, groups = setting()
    return list(
        preview(
            model,
            layers,
            groups,
            granularity("fine"),
            images(n),
            grid=GRID,
            share=share,
            device=CPU,
        )
    )


@pytest.fixture(scope="module")
def full() -> list[SensitivityPoint]:
    model, layers, groups = setting()
    return list(scan(model, layers, groups, granularity("fine"), images(), grid=GRID, device=CPU))


@pytest.mark.parametrize(
    ("model", "g", "tied", "seed"), [("vgg", "fine", False, 0), ("resnet20", "filter", True, 1)]
)
def test_bands_of_a_tenth_of_the_evaluations_contain_nine_in_ten_points_of_the_scan(
    model: str, g: str, tied: bool, seed: int
) -> None:
    """On digits. `python -m benchmarks.preview` measures more networks and data."""
    plan = Plan(model=model, dataset="digits", granularity=g, probe=180)
    space = open_workspace(plan.model, plan.dataset)
    _, groups = group_scores_of(plan, space)
    couplings = space.tied[0] if tied else ()
    arguments = (space.model, space.layers, groups, granularity(g), probe_split(plan, space))
    full_scan = list(scan(*arguments, couplings=couplings, tied=tied, device=CPU))
    *_, last = preview(*arguments, couplings=couplings, tied=tied, seed=seed, device=CPU)
    assert last.evaluations <= round(0.1 * last.full_evaluations)
    pruned = [(b, p) for b, p in zip(last.bands, full_scan, strict=True) if p.achieved > 0]
    assert all(
        (b.parameter, b.sparsity, b.group, b.why) == (p.parameter, p.sparsity, p.group, p.why)
        for b, p in zip(last.bands, full_scan, strict=True)
    )
    assert all(b.achieved == pytest.approx(p.achieved) for b, p in pruned)
    inside = [b.interval[0] - 1e-9 <= p.value <= b.interval[1] + 1e-9 for b, p in pruned]
    assert sum(inside) >= 0.9 * len(inside)
    widths = [width(b) for b, _ in pruned]
    assert sum(widths) / len(widths) < 0.3
    assert sum(abs(b.value - p.value) for b, p in pruned) / len(pruned) < 0.06


def test_bands_of_one_part_contain_the_true_value_in_95_percent() -> None:
    """Each point of a random network, measured on a tenth of the images, with twenty seeds."""
    model, layers, groups = setting()
    arguments = (model, layers, groups, granularity("fine"), images(300))
    full_scan = [point.value for point in scan(*arguments, grid=(0.9,), device=CPU)]
    inside = []
    for seed in range(20):
        first = next(preview(*arguments, grid=(0.9,), share=1.0, seed=seed, device=CPU))
        assert {band.images for band in first.bands if band.sparsity} == {30}
        inside += [
            b.interval[0] <= top1 <= b.interval[1]
            for b, top1 in zip(first.bands, full_scan, strict=True)
            if b.sparsity
        ]
    assert sum(inside) / len(inside) >= 0.95


def test_every_round_has_every_point_and_keeps_to_the_budget() -> None:
    _, layers, _ = setting()
    rounds = previews()
    assert len(rounds) > 2
    for earlier, later in pairwise(rounds):
        assert earlier.evaluations < later.evaluations <= round(0.3 * later.full_evaluations)
        assert 0 < earlier.work < later.work
        assert earlier.progress <= later.progress <= 1
    for shown in rounds:
        assert [(b.parameter, b.sparsity) for b in shown.bands] == [
            (x.name, s) for x in layers for s in GRID
        ]
        assert all(0 <= b.interval[0] <= b.value <= b.interval[1] <= 1 for b in shown.bands)
        assert shown.evaluations == 60 + sum(b.images for b in shown.bands if b.sparsity)
    assert rounds[0].full_evaluations == 60 * (1 + len(layers) * 5)


def test_the_budget_of_work_stops_a_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is then in proportion to images and to what lies downstream of a layer."""
    monkeypatch.setattr("pruning_core.sensitivity.preview_budget.FREE_WORK", 0.0)
    monkeypatch.setattr("pruning_core.sensitivity.forward_cost.NODE_COST", 0.0)
    rounds = previews(0.15)
    assert len(rounds) == 3
    assert rounds[-1].work <= 0.15
    _, layers, _ = setting()
    macs = [layer.macs for layer in layers]
    below = {layer.name: sum(macs[at:]) for at, layer in enumerate(layers)}
    for shown in rounds:
        passed = 60 + sum(6 for r in rounds if r.evaluations <= shown.evaluations)
        done = passed * sum(macs) + sum(
            below[b.parameter] * b.images for b in shown.bands if b.sparsity
        )
        assert shown.work == pytest.approx(done / (60 * (2 * sum(macs) + 5 * sum(below.values()))))


def test_the_points_with_most_narrowing_per_work_are_measured_first() -> None:
    """Ends and middles come first. Then wide bands and late layers come before others."""
    rounds = previews(0.11)
    assert sum(map(width, rounds[-1].bands)) < sum(map(width, rounds[0].bands))
    assert {b.sparsity for b in rounds[0].bands if b.sparsity and b.images} == {0.6, 0.9}
    before, after = rounds[:2]
    place = {name: at for at, name in enumerate(dict.fromkeys(b.parameter for b in before.bands))}
    pairs = [
        pair
        for pair in zip(before.bands, after.bands, strict=True)
        if pair[0].sparsity and pair[0].images
    ]
    measured = [(width(b), place[b.parameter]) for b, later in pairs if later.images > b.images]
    rest = [(width(b), place[b.parameter]) for b, later in pairs if later.images == b.images]
    assert measured
    assert rest
    assert not any(
        wider > width + 1e-9 and later >= at for width, at in measured for wider, later in rest
    )
    assert not any(
        wider >= width - 1e-9 and later > at for width, at in measured for wider, later in rest
    )


def test_a_preview_with_all_evaluations_equals_the_scan(
    full: list[SensitivityPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exact at ends and middles; the other points were not measured on the first part."""
    monkeypatch.setattr("pruning_core.sensitivity.preview_budget.ROUNDS", 1)
    last = previews(share=1.0)[-1]
    assert {band.images for band in last.bands if band.sparsity} == {54, 60}
    exact = [
        (band, point) for band, point in zip(last.bands, full, strict=True) if band.images == 60
    ]
    assert {band.sparsity for band, _ in exact} == {0.0, 0.6, 0.9}
    for band, point in exact:
        assert band.interval[0] - 1e-9 <= point.value <= band.interval[1] + 1e-9
        assert width(band) < 1e-9
    for band, point in zip(last.bands, full, strict=True):
        assert band.value == pytest.approx(point.value, abs=0.1)


def test_a_grid_that_removes_nothing_evaluates_the_dense_network_only() -> None:
    model, layers, groups = setting()
    (last,) = preview(model, layers, groups, granularity("fine"), images(), grid=(0.0,), device=CPU)
    assert last.evaluations == last.full_evaluations == 60
    assert {b.interval for b in last.bands} == {(last.bands[0].value, last.bands[0].value)}


def test_the_model_is_not_changed_and_a_preview_can_be_closed() -> None:
    model, layers, groups = setting()
    before = state(model)
    shown = preview(model, layers, groups, granularity("fine"), images(), grid=GRID, device=CPU)
    next(shown)
    stop(shown)
    assert next(shown, None) is None
    assert same_state(model, before)


def test_outputs_choose_the_logits() -> None:
    model, layers, groups = setting()
    split = MemorySplit(images().x, images().labels % 2)
    arguments = (model, layers, groups, granularity("fine"), split)
    full_scan = list(scan(*arguments, grid=(0.9,), outputs=(3, 1), device=CPU))
    *_, last = preview(*arguments, grid=(0.9,), outputs=(3, 1), share=1.0, device=CPU)
    assert [b.value for b in last.bands] == pytest.approx([p.value for p in full_scan])


def test_bands_of_a_network_that_cannot_be_traced_are_equal_and_have_the_reason() -> None:
    model, layers, groups = setting()
    assert isinstance(model, nn.Sequential)
    both = (model, Looking(*model).eval())
    traced, untraced = (
        next(
            preview(network, layers, groups, granularity("fine"), images(), grid=GRID, device=CPU)
        ).bands
        for network in both
    )
    assert {band.in_full for band in traced} == {None}
    assert all("torch.fx cannot trace it" in str(band.in_full) for band in untraced)
    assert [replace(band, in_full=None) for band in untraced] == list(traced)
    assert [row["in_full"] for row in csv.DictReader(io.StringIO(bands_csv(untraced)))] == [
        untraced[0].in_full
    ] * len(untraced)
    assert {row["in_full"] for row in csv.DictReader(io.StringIO(bands_csv(traced)))} == {""}


def test_a_wrong_grid_share_or_split_is_refused_in_one_sentence() -> None:
    model, layers, groups = setting()
    g = granularity("fine")
    assert "[0, 1]" in refusal(
        lambda: list(preview(model, layers, groups, g, images(), grid=(1.5,), device=CPU))
    )
    assert "[0, 1]" in refusal(
        lambda: list(preview(model, layers, groups, g, images(), share=2.0, device=CPU))
    )
    assert "no images" in refusal(
        lambda: list(preview(model, layers, groups, g, images(0), device=CPU))
    )
