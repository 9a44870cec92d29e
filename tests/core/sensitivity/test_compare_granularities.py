"""One layer under every granularity: masks as `select` makes them, numbers as `evaluate` measures
them.
"""

from unittest.mock import patch

import pytest
import torch

from pruning_core.criteria import CRITERIA
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.granularity import GRANULARITIES, Granularity, supports
from pruning_core.masks import apply_masks, group_scores, select
from pruning_core.model.coupling.dependent_masks import dependent_masks
from pruning_core.model.coupling.trace import couplings
from pruning_core.model.inventory import inventory
from pruning_core.sensitivity import compare_granularities as multiples
from pruning_core.sensitivity.compare_granularities import (
    GranularityResult,
    compare_granularities,
    filter_scores,
    group_scores_by_granularity,
)
from pruning_core.types import Dataset, Layer, Split
from pruning_core.zoo import load_model, probe
from tests.core.toy import refusal, same_state, state

Vgg = tuple[torch.nn.Module, tuple[Layer, ...], Split]


@pytest.fixture(scope="module")
def vgg(digits: Dataset) -> Vgg:
    model = load_model("vgg", "digits")
    return model, inventory(model, digits.shape), probe(digits.val, 48)


def scored(model: torch.nn.Module, layer: Layer) -> list[tuple[Granularity, torch.Tensor]]:
    how = CRITERIA["magnitude_l1"]
    return list(
        group_scores_by_granularity(
            how(model, (layer,), ()), layer, GRANULARITIES.values(), how.pool
        )
    )


def same(one: GranularityResult, other: GranularityResult) -> bool:
    return torch.equal(one.mask, other.mask) and one.evaluation.loss == other.evaluation.loss


def test_every_cut_is_that_of_select_and_measured_as_by_evaluate(vgg: Vgg) -> None:
    model, layers, split = vgg
    layer = layers[1]
    before = state(model)
    found = list(compare_granularities(model, layers, layer, scored(model, layer), 0.7, split))
    assert {"fine", "kernel", "filter", "2:4"} <= {cut.granularity.name for cut in found}
    for cut, (g, groups) in zip(found, scored(model, layer), strict=True):
        ratio = 0.7 if g.fixed_ratio is None else g.fixed_ratio
        masks = select({layer.name: groups}, (layer,), g, {layer.name: ratio})
        assert torch.equal(cut.mask, masks[layer.name])
        silent = dependent_masks(model, layers, masks) if g.removes_outputs else {}
        wanted = evaluate(apply_masks(model, masks, layers, silent), split)
        assert (cut.evaluation.loss, cut.evaluation.top1, cut.evaluation.n) == (
            wanted.loss,
            wanted.top1,
            48,
        )
        assert cut.evaluation.interval == wanted.interval
        assert cut.achieved == pytest.approx(ratio, abs=1 / groups.shape[1])
    assert same_state(model, before)


def test_a_removed_filter_takes_its_norm_along_and_what_follows_a_join(digits: Dataset) -> None:
    """In ResNet-20 a block's first convolution feeds its norm alone: a removed filter's shift must
    not show.
    """
    model = load_model("resnet20", "digits")
    layers = inventory(model, digits.shape)
    split = probe(digits.val, 32)
    layer = layers[1]
    tied = couplings(model, layers, digits.shape)
    groups = [pair for pair in scored(model, layer) if pair[0].name == "filter"]
    (cut,) = compare_granularities(model, layers, layer, groups, 0.5, split, tied=tied)
    masks = {layer.name: cut.mask}
    silent = dependent_masks(model, layers, masks, tied)
    assert silent.keys() == {f"{layer.bn}.weight", f"{layer.bn}.bias"}
    assert cut.evaluation.loss == evaluate(apply_masks(model, masks, layers, silent), split).loss
    assert cut.evaluation.loss != evaluate(apply_masks(model, masks, layers), split).loss


def test_many_at_once_or_one_by_one_is_the_same(vgg: Vgg) -> None:
    model, layers, split = vgg
    layer = layers[-1]
    together = list(compare_granularities(model, layers, layer, scored(model, layer), 0.5, split))
    with patch.object(multiples, "HELD", layer.numel):
        alone = list(
            compare_granularities(model, layers, layer, iter(scored(model, layer)), 0.5, split)
        )
    assert len(alone) == len(together) > 2
    assert all(same(*pair) for pair in zip(alone, together, strict=True))


def test_nothing_goes_at_zero_and_a_group_stays_at_one(vgg: Vgg) -> None:
    model, layers, split = vgg
    groups = [pair for pair in scored(model, layers[0]) if pair[0].name == "filter"]
    (none,), (most,), (every,) = (
        list(
            compare_granularities(
                model, layers, layers[0], groups, ratio, split, allow_collapse=collapse
            )
        )
        for ratio, collapse in ((0.0, False), (1.0, False), (1.0, True))
    )
    filters = layers[0].shape[0]
    assert (none.achieved, most.achieved, every.achieved) == (0, pytest.approx(1 - 1 / filters), 1)
    assert "outside [0, 1]" in refusal(
        lambda: list(compare_granularities(model, layers, layers[0], groups, 1.5, split))
    )


def test_only_the_classes_that_are_asked_for_count(vgg: Vgg) -> None:
    """Seen through outputs in reverse order, the same logits answer other classes."""
    model, layers, split = vgg
    groups = scored(model, layers[1])[:1]
    outputs = tuple(reversed(range(10)))
    cut = next(compare_granularities(model, layers, layers[1], groups, 0.5, split, outputs=outputs))
    wanted = evaluate(
        apply_masks(model, {layers[1].name: cut.mask}, layers), split, outputs=outputs
    )
    assert (cut.evaluation.loss, cut.evaluation.top1) == (wanted.loss, wanted.top1)
    assert wanted.top1 < 0.5


def test_a_layer_is_grouped_by_all_that_can_cut_it(vgg: Vgg) -> None:
    model, layers, _ = vgg
    how = CRITERIA["magnitude_l2"]
    for layer in (layers[0], layers[-1]):
        scores = how(model, (layer,), ())
        found = dict(group_scores_by_granularity(scores, layer, GRANULARITIES.values(), how.pool))
        assert list(found) == [g for g in GRANULARITIES.values() if supports(g, layer) is None]
        for g, groups in found.items():
            assert torch.equal(groups, group_scores(scores, (layer,), g, how.pool)[layer.name])


def test_a_filters_score_is_the_mean_of_its_weights_in_the_output_layer_too(vgg: Vgg) -> None:
    model, layers, _ = vgg
    assert supports(GRANULARITIES["filter"], layers[-1]) is not None
    found = filter_scores(CRITERIA["magnitude_l1"], model, layers, ())
    assert found.keys() == {layer.name for layer in layers}
    for name, scores in found.items():
        torch.testing.assert_close(
            scores, model.get_parameter(name).detach().abs().flatten(1).mean(1)
        )
