"""Groups, scores and counts of one layer, as the pictures and the histogram get them."""

import numpy as np
import pytest
import torch

from explorer.layer_facts import LARGEST, group_ids, layer_facts
from pruning_core.granularity import granularity
from pruning_core.masks import group_scores, select
from pruning_core.types import Layer

CONV = Layer("conv.weight", "conv", "conv2d", (2, 3, 2, 2), (2, 3, 2, 2))
LINEAR = Layer("fc.weight", "fc", "linear", (4, 4, 1, 1), (4, 4))


def test_ids_name_groups() -> None:
    ids = group_ids(CONV, granularity("kernel")).numpy()
    assert ids[:, :, 0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (ids == ids[:, :, :1, :1]).all()
    assert group_ids(CONV, granularity("filter"))[:, 0, 0, 0].tolist() == [0, 1]
    assert group_ids(LINEAR, granularity("2:4"))[0].flatten().tolist() == [0, 1, 2, 3]


def test_where_the_layer_cannot_be_cut_each_weight_is_alone() -> None:
    assert len(group_ids(CONV, granularity("head")).unique()) == CONV.numel


@pytest.mark.parametrize("name", ["fine", "row", "2:4", "filter", "channel", "block:2x2"])
def test_facts_agree_with_the_mask(name: str) -> None:
    g = granularity(name)
    weight = torch.randn(LINEAR.shape, generator=torch.Generator().manual_seed(1))
    scores = group_scores({LINEAR.name: weight.abs()}, (LINEAR,), g, "mean_abs")
    mask = select(scores, (LINEAR,), g, {LINEAR.name: 0.5})[LINEAR.name]
    facts = layer_facts(LINEAR, weight, mask, scores[LINEAR.name], g)
    assert facts.weights_kept == int(mask.sum()) == int(facts.kept.sum())
    assert facts.group_kept is not None
    assert facts.scores is not None
    assert np.array_equal(facts.kept, facts.group_kept.ravel()[facts.ids])
    if facts.group_kept.shape[0] == 1:
        assert facts.threshold == pytest.approx(facts.scores[facts.kept].min())
    else:
        assert facts.threshold is None


def test_nothing_removed_has_no_threshold() -> None:
    weight, scores = torch.ones(CONV.shape), torch.ones(1, CONV.numel)
    facts = layer_facts(CONV, weight, torch.ones(CONV.shape, dtype=torch.bool), scores, granularity("fine"))
    assert facts.threshold is None


def test_a_layer_that_is_left_alone_is_all_kept() -> None:
    facts = layer_facts(CONV, torch.ones(CONV.shape), None, None, granularity("head"))
    assert facts.kept.all()
    assert facts.weights_kept == CONV.numel
    assert facts.statistics["Mean of the weights"] == "1.0000"


def test_a_huge_layer_is_shown_by_its_corner() -> None:
    side = int(LARGEST**0.5) + 8
    huge = Layer("fc.weight", "fc", "linear", (side, side, 1, 1), (side, side))
    mask = torch.zeros(huge.shape, dtype=torch.bool)
    facts = layer_facts(huge, torch.zeros(huge.shape), mask, torch.zeros(1, huge.numel), granularity("fine"))
    assert not facts.whole
    assert facts.weight.shape == facts.kept.shape == facts.ids.shape == (512, 512, 1, 1)
    assert facts.weights_kept == 0
