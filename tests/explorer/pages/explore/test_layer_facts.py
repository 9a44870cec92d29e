"""Groups, scores and counts of one layer, as the histogram and the numbers get them."""

import numpy as np
import pytest
import torch

from explorer.pages.explore.layer_facts import layer_facts
from pruning_core.granularity import granularity, to_groups
from pruning_core.masks import group_scores, select
from pruning_core.types import Layer

CONV = Layer("conv.weight", "conv", "conv2d", (2, 3, 2, 2), (2, 3, 2, 2))
LINEAR = Layer("fc.weight", "fc", "linear", (4, 4, 1, 1), (4, 4))


@pytest.mark.parametrize("name", ["fine", "row", "2:4", "filter", "channel", "block:2x2"])
def test_facts_agree_with_the_mask(name: str) -> None:
    g = granularity(name)
    weight = torch.randn(LINEAR.shape, generator=torch.Generator().manual_seed(1))
    scores = group_scores({LINEAR.name: weight.abs()}, (LINEAR,), g, "mean_abs")
    mask = select(scores, (LINEAR,), g, {LINEAR.name: 0.5})[LINEAR.name]
    facts = layer_facts(LINEAR, weight, mask, scores[LINEAR.name], g)
    assert facts.weights_kept == int(mask.sum())
    assert facts.group_kept is not None
    assert np.array_equal(facts.group_kept, to_groups(mask, g, LINEAR).any(-1).numpy())
    if facts.group_kept.shape[0] == 1:
        assert facts.threshold == scores[LINEAR.name][torch.from_numpy(facts.group_kept)].min()
    else:
        assert facts.threshold is None


def test_edits_by_hand_do_not_move_the_threshold() -> None:
    scores = torch.tensor([[1.0, 2, 3, 4]])
    layer = Layer("fc.weight", "fc", "linear", (4, 1, 1, 1), (4, 1))
    mask = torch.tensor([True, False, True, False]).view(4, 1, 1, 1)
    facts = layer_facts(
        layer,
        torch.ones(4, 1, 1, 1),
        mask,
        scores,
        granularity("fine"),
        ((0, 0, True), (0, 3, False)),
    )
    assert facts.threshold == 3
    assert facts.weights_kept == 2


def test_nothing_removed_has_no_threshold() -> None:
    weight = torch.ones(CONV.shape)
    scores = torch.ones(1, CONV.numel)
    facts = layer_facts(
        CONV, weight, torch.ones(CONV.shape, dtype=torch.bool), scores, granularity("fine")
    )
    assert facts.threshold is None


def test_a_layer_that_is_left_alone_is_all_kept() -> None:
    facts = layer_facts(CONV, torch.ones(CONV.shape), None, None, granularity("head"))
    assert facts.group_scores is None
    assert facts.weights_kept == CONV.numel
    assert facts.statistics["Mean of the weights"] == "1.0000"
