"""A window of a reduced layer: exact values, scores and places, small messages, no nonsense from
the browser; counts.
"""

import numpy as np
import pytest
import torch

from explorer.charts.tiles import flat
from explorer.components.mask_lab import LabDetail, Window, lab_view, lab_window
from explorer.components.mask_lab.window import MOST_SIDE, MOST_WEIGHTS
from pruning_core.granularity import Granularity, granularity
from pruning_core.masks import apply_hand_edits, group_scores, n_removed, ranks
from pruning_core.types import Layer
from tests.browser.mask_lab_counts import counts
from tests.core.toy import layer
from tests.explorer.components.test_mask_lab_view import CASES, LAYERS, opened
from tests.explorer.oracle import group_ids


def window_of(each: Layer) -> Window:
    """The layer's last three quarters of filters and second half of channels."""
    o, i = each.shape[:2]
    return Window(o // 4, o, i // 2, i)


@pytest.mark.parametrize(("each", "g"), CASES)
def test_a_window_has_every_weight_of_its_part(each: Layer, g: Granularity) -> None:
    weight = torch.randn(each.shape, generator=torch.Generator().manual_seed(0))
    scores = group_scores({each.name: weight.round(decimals=1)}, (each,), g, "mean_abs")[each.name]
    found = lab_window(each, weight, scores, g, window_of(each))
    _, _, h, w = each.shape
    top, bottom, left, right = found.window
    part = slice(top * h, bottom * h), slice(left * w, right * w)
    ids = flat(group_ids(each, g).numpy())[part]
    head, parts = opened(found.data)
    assert head["window"] == list(found.window)
    assert (parts["rowGroup"][:, None] + parts["colGroup"] == ids).all()
    assert (parts["values"].reshape(ids.shape) == flat(weight.numpy())[part]).all()
    groups = np.unique(ids)
    assert (found.groups == groups).all()
    assert (parts["ranks"] == ranks(scores).flatten().numpy()[groups]).all()
    assert (parts["scores"] == scores.flatten().numpy()[groups]).all()
    assert (len(parts["rowLine"]), len(parts["colLine"])) == (ids.shape[0] - 1, ids.shape[1] - 1)
    assert found.places_of([*groups[:3].tolist(), 10**9]) == dict(
        zip(groups[:3].tolist(), found.places[:3].tolist(), strict=True)
    )


def test_lines_end_kernels_and_blocks() -> None:
    block = LAYERS[2]
    conv = LAYERS[0]
    _, parts = opened(
        lab_window(
            block,
            torch.randn(block.shape),
            torch.rand(1, 12),
            granularity("block:4x4"),
            Window(0, 8, 0, 8),
        ).data
    )
    assert parts["rowLine"].tolist() == [0, 0, 0, 1, 0, 0, 0]
    _, parts = opened(
        lab_window(
            conv, torch.randn(conv.shape), None, granularity("kernel"), Window(0, 2, 3, 5)
        ).data
    )
    assert parts["colLine"].tolist() == [0, 0, 1, 0, 0]
    assert "ranks" not in parts


@pytest.mark.parametrize(("o", "i"), [(400, 275), (256, 256), (13, MOST_SIDE)])
def test_the_largest_windows_stay_below_a_megabyte(o: int, i: int) -> None:
    big = layer((o, i, 1, 1))
    weight = torch.randn(big.shape)
    window = Window.read([0, o, 0, i], big)
    assert window is not None
    assert (
        len(lab_window(big, weight, weight.abs().view(1, -1), granularity("fine"), window).data)
        < 1_000_000
    )


def test_a_window_is_read_as_far_as_it_makes_sense() -> None:
    each = layer((1000, 20_000, 1, 1))
    assert Window.read([0, 10, 5, 15], each) == Window(0, 10, 5, 15)
    for forged in (
        None,
        "0",
        [0, 10, 5],
        [0, 10, 5, 15.0],
        [0, True, 0, 1],
        [5, 5, 0, 1],
        [-1, 5, 0, 1],
        [0, 1001, 0, 1],
    ):
        assert Window.read(forged, each) is None
    assert Window.read([0, 11, 0, MOST_WEIGHTS // 10], each) is None
    assert Window.read([0, 1, 0, MOST_SIDE + 1], each) is None


@pytest.mark.parametrize("allow_collapse", [False, True])
@pytest.mark.parametrize(("each", "g"), CASES)
def test_counts_are_the_masks(each: Layer, g: Granularity, allow_collapse: bool) -> None:
    rng = torch.Generator().manual_seed(1)
    scores = group_scores(
        {each.name: torch.randint(0, 4, each.shape, generator=rng).float()}, (each,), g, "mean_abs"
    )[each.name]
    view = lab_view(each, torch.ones(each.shape), scores, g)
    detail = LabDetail(each, torch.ones(each.shape), scores, g)
    order = ranks(scores)
    (scopes, groups) = scores.shape
    every = [(scopes - 1, group, False) for group in range(groups)]
    for edits in ([], [(0, 0, True), (scopes - 1, groups - 1, False)], every):
        places = detail.places(scope * groups + group for scope, group, _ in edits)
        for ratio in (0.0, 0.3, 0.9, 1.0):
            cut = order >= n_removed(g, ratio, groups, allow_collapse=allow_collapse)
            gone = int((~apply_hand_edits(cut, scores, edits, allow_collapse=allow_collapse)).sum())
            assert counts(view, g, ratio, edits, places, allow_collapse=allow_collapse) == (
                gone,
                gone * view.size,
            )


def test_a_layer_that_cannot_be_cut_loses_nothing() -> None:
    each = LAYERS[2]
    g = granularity("kernel")
    assert counts(lab_view(each, torch.ones(each.shape), None, g), g, 0.5) == (0, 0)
    assert LabDetail(each, torch.ones(each.shape), None, g).places([0]) == []
