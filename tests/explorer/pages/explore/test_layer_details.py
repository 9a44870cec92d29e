"""Small pictures, maps over the image, filters by their groups, against arrays made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from explorer.charts.tiles import lay
from explorer.pages.explore import layer_details
from explorer.pages.explore.layer_details import (
    corner,
    drawn_size,
    filter_of,
    filter_picture,
    filter_rankings,
    granularity_results,
    in_rows,
    maps,
    mask_picture,
)
from explorer.session import cache
from pruning_core import workspace
from pruning_core.granularity import GRANULARITIES, Granularity, supports, to_groups
from pruning_core.model.inventory import inventory
from pruning_core.model.kept_norms import ALL, KEPT
from pruning_core.pipeline import choose_masks, probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.types import PruningError
from tests.core.toy import layer

CONV = layer((64, 32, 3, 3))
DEPTHWISE = layer((20, 1, 3, 3), "depthwise", groups=20)


def test_the_corner_is_what_a_small_picture_has_room_for() -> None:
    assert corner(CONV) == (16, 16)
    assert corner(layer((10, 84, 1, 1))) == (10, 48)
    assert corner(layer((300, 1, 3, 3), "depthwise", groups=300)) == (256, 1)
    assert drawn_size(layer((48, 48, 1, 1)), 192, 16) == (192, 192)
    assert drawn_size(layer((10, 84, 1, 1)), 192, 16) == (192, 40)


def test_a_strip_is_laid_out_in_rows_and_padded() -> None:
    strip = np.arange(5).reshape(5, 1, 1, 1)
    assert in_rows(strip, -1)[:, :, 0, 0].tolist() == [[0, 1], [2, 3], [4, -1]]
    assert in_rows(strip.reshape(1, 5, 1, 1), -1, wide=5.0)[:, :, 0, 0].tolist() == [
        [0, 1, 2, 3, 4]
    ]


@pytest.mark.parametrize("g", GRANULARITIES.values(), ids=lambda g: g.name)
def test_a_corner_has_the_gaps_and_the_mask_of_its_groups(g: Granularity) -> None:
    for each in (CONV, DEPTHWISE, layer((8, 8, 1, 1))):
        if supports(g, each) is not None:
            continue
        f, c = corner(each)
        kept = (
            torch.rand(f, c, *each.shape[2:], generator=torch.Generator().manual_seed(1)).numpy()
            > 0.5
        )
        tiles, laid = mask_picture(each, g, kept)
        shown = lay(tiles, laid)[~np.isnan(tiles.values)]
        assert (shown.sum(), shown.size) == (kept.sum(), kept.size)


def test_kernels_of_a_filter_are_shown_one_by_one() -> None:
    weight = np.arange(36, dtype=np.float32).reshape(1, 4, 3, 3)
    tiles, kept = filter_picture(weight, weight > 8, wide=1.0)
    assert tiles.shape == (2, 2, 3, 3)
    assert sorted(tiles.values[~np.isnan(tiles.values)]) == list(range(36))
    assert not kept[0, 0].any()
    assert kept[1, 1].all()


@pytest.mark.parametrize(
    "name", ["fine", "row", "2:4", "vector_row", "kernel", "filter", "block:4x4"]
)
def test_a_groups_filter_is_found(name: str) -> None:
    g = GRANULARITIES[name]
    each = layer((8, 4, 3, 3))
    filters = torch.arange(8).view(8, 1, 1, 1).expand(each.shape)
    groups = to_groups(filters, g, each)
    for scope, group in (
        (0, 0),
        (groups.shape[0] - 1, groups.shape[1] - 1),
        (groups.shape[0] // 2, groups.shape[1] // 2),
    ):
        assert filter_of(each, g, scope, group) == int(groups[scope, group].min())


def test_a_channel_has_no_filter_of_its_own_nor_has_a_group_beyond_the_layer() -> None:
    each = layer((8, 4, 3, 3))
    assert filter_of(each, GRANULARITIES["channel"], 0, 1) is None
    assert filter_of(each, GRANULARITIES["fine"], 3, 0) is None


def test_tokens_are_laid_over_the_image_without_the_class_token() -> None:
    model = nn.Sequential(nn.Flatten(1, 2), nn.Linear(4, 3, bias=False))
    each = inventory(model, (5, 1, 4))[0]
    x = torch.arange(20.0).view(1, 5, 1, 4)
    found = maps(model, model, each, x, 96)
    assert found.places == (2, 2)
    assert "class token is left out" in found.note
    assert np.allclose(
        found.dense[:, 0, 0], (model.get_parameter("1.weight") @ x[0, 1, 0]).detach().numpy()
    )
    strips = maps(model, model, each, x[:, :3], 96)
    assert (strips.places, strips.dense.shape) == ((1, 3), (3, 1, 3))
    assert "token by token" in strips.note


def test_large_maps_are_averaged_down_and_their_change_is_not() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False))
    halved = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False))
    halved.get_parameter("0.weight").data = model.get_parameter("0.weight").data * torch.tensor(
        [0.5, 1.0]
    ).view(2, 1, 1, 1)
    found = maps(model, halved, inventory(model, (1, 8, 8))[0], torch.rand(1, 1, 8, 8), 4)
    assert (found.places, found.dense.shape, found.pruned.shape) == ((8, 8), (2, 4, 4), (2, 4, 4))
    assert found.change == pytest.approx([0.5, 0.0])


def test_the_plans_own_granularity_shows_the_plans_own_mask() -> None:
    plan = Plan(
        model="lenet5",
        probe=32,
        granularity="block:2x2",
        criterion="taylor",
        calibration=32,
        sparsity=0.6,
    )
    space = cache.workspace("lenet5", "digits")
    each = next(x for x in space.layers if x.name == "conv2.weight")
    found = {
        choose_masks.granularity.name: choose_masks
        for choose_masks in granularity_results(plan, space, each, 0.6, cache.probe(plan, space))
    }
    f, c = corner(each)
    own = choose_masks(plan, space)[1][each.name]
    assert np.array_equal(found["block:2x2"].kept, own[:f, :c].numpy())
    assert found["block:2x2"].achieved == pytest.approx(1 - own.float().mean().item())


def test_norms_over_kept_channels_are_measured_as_the_plan_says() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)
    ).eval()
    data = (torch.rand(60, 1, 8, 8), torch.arange(60) % 10)
    space = workspace(model, train=data, val=data, test=data)
    plan = Plan(space.name, space.dataset.name, granularity="filter", norms=KEPT, probe=60)
    first = space.layers[0]
    points = scan_plan(plan, space, (0.5,))
    scanned = next(p for p in points if (p.parameter, p.sparsity) == (first.name, 0.5))
    results = granularity_results(plan, space, first, 0.5, probe_split(plan, space))
    own = next(result for result in results if result.granularity.name == "filter")
    plain = granularity_results(
        replace(plan, norms=ALL), space, first, 0.5, probe_split(plan, space)
    )
    assert own.evaluation.loss == pytest.approx(scanned.loss, abs=1e-6)
    other = next(result for result in plain if result.granularity.name == "filter")
    assert abs(other.evaluation.loss - scanned.loss) > 1e-4


def test_one_criterion_that_fails_is_told_and_the_plan_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_args: object) -> None:
        raise PruningError("No signal comes through.")

    space = cache.workspace("lenet5", "digits")
    monkeypatch.setattr(layer_details, "filter_scores", fails)
    found = filter_rankings("magnitude_l1", Plan(model="lenet5"), space)
    assert {each.refusal for each in found.values()} == {"No signal comes through."}
