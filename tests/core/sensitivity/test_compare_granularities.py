"""One layer pruned by every granularity: masks as `select`, numbers as `evaluate`."""

from unittest.mock import patch

import pytest
import torch

from pruning_core.criteria import CRITERIA
from pruning_core.evaluation.accuracy import Judge, evaluate
from pruning_core.granularity import GRANULARITIES, Granularity, supports
from pruning_core.masks import apply_masks, group_scores, select
from pruning_core.model.coupling.dependent_masks import dependent_masks
from pruning_core.model.coupling.trace import couplings
from pruning_core.model.inventory import inventory
from pruning_core.sensitivity import compare_granularities as module
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
    criterion = CRITERIA["magnitude_l1"]
    return list(
        group_scores_by_granularity(
            [criterion(model, (layer,), ())], layer, GRANULARITIES.values(), criterion.pool
        )
    )


def same(one: GranularityResult, other: GranularityResult) -> bool:
    return torch.equal(one.mask, other.mask) and one.evaluation.loss == other.evaluation.loss


def test_every_mask_is_that_of_select_and_every_number_that_of_evaluate(vgg: Vgg) -> None:
    model, layers, split = vgg
    layer = layers[1]
    before = state(model)
    results = list(compare_granularities(model, layers, layer, scored(model, layer), 0.7, split))
    assert {"fine", "kernel", "filter", "2:4"} <= {result.granularity.name for result in results}
    for result, (g, groups) in zip(results, scored(model, layer), strict=True):
        ratio = 0.7 if g.fixed_ratio is None else g.fixed_ratio
        masks = select({layer.name: groups}, (layer,), g, {layer.name: ratio})
        assert torch.equal(result.mask, masks[layer.name])
        dependent = dependent_masks(model, layers, masks) if g.removes_outputs else {}
        expected = evaluate(apply_masks(model, masks, layers, dependent), split)
        assert (result.evaluation.loss, result.evaluation.value, result.evaluation.n) == (
            expected.loss,
            expected.value,
            48,
        )
        assert result.evaluation.interval == expected.interval
        assert result.achieved == pytest.approx(ratio, abs=1 / groups.shape[1])
    assert same_state(model, before)


def test_the_norm_of_a_removed_filter_is_set_to_zero(digits: Dataset) -> None:
    """In ResNet-20 the first convolution of a block feeds one norm only: its shift must be zero."""
    model = load_model("resnet20", "digits")
    layers = inventory(model, digits.shape)
    split = probe(digits.val, 32)
    layer = layers[1]
    tied = couplings(model, layers, digits.shape)
    groups = [pair for pair in scored(model, layer) if pair[0].name == "filter"]
    (result,) = compare_granularities(model, layers, layer, groups, 0.5, split, tied=tied)
    masks = {layer.name: result.mask}
    dependent = dependent_masks(model, layers, masks, tied)
    assert dependent.keys() == {f"{layer.bn}.weight", f"{layer.bn}.bias"}
    assert (
        result.evaluation.loss == evaluate(apply_masks(model, masks, layers, dependent), split).loss
    )
    assert result.evaluation.loss != evaluate(apply_masks(model, masks, layers), split).loss


def test_masks_measured_together_or_one_by_one_give_equal_results(vgg: Vgg) -> None:
    model, layers, split = vgg
    layer = layers[-1]
    together = list(compare_granularities(model, layers, layer, scored(model, layer), 0.5, split))
    with patch.object(module, "MAX_BYTES", layer.numel):
        alone = list(
            compare_granularities(model, layers, layer, iter(scored(model, layer)), 0.5, split)
        )
    assert len(alone) == len(together) > 2
    assert all(same(*pair) for pair in zip(alone, together, strict=True))


def test_ratio_zero_removes_nothing_and_ratio_one_keeps_one_group(vgg: Vgg) -> None:
    model, layers, split = vgg
    groups = [pair for pair in scored(model, layers[0]) if pair[0].name == "filter"]
    (nothing,), (most,), (everything,) = (
        list(
            compare_granularities(
                model, layers, layers[0], groups, ratio, split, allow_collapse=collapse
            )
        )
        for ratio, collapse in ((0.0, False), (1.0, False), (1.0, True))
    )
    filters = layers[0].shape[0]
    assert (nothing.achieved, most.achieved, everything.achieved) == (
        0,
        pytest.approx(1 - 1 / filters),
        1,
    )
    assert "outside [0, 1]" in refusal(
        lambda: list(compare_granularities(model, layers, layers[0], groups, 1.5, split))
    )


def test_outputs_choose_the_classes(vgg: Vgg) -> None:
    """With the outputs in reverse order, the same logits give other classes."""
    model, layers, split = vgg
    groups = scored(model, layers[1])[:1]
    outputs = tuple(reversed(range(10)))
    result = next(
        compare_granularities(
            model, layers, layers[1], groups, 0.5, split, judge=Judge(outputs=outputs)
        )
    )
    expected = evaluate(
        apply_masks(model, {layers[1].name: result.mask}, layers), split, outputs=outputs
    )
    assert (result.evaluation.loss, result.evaluation.value) == (expected.loss, expected.value)
    assert expected.value < 0.5


def test_a_layer_has_group_scores_by_every_granularity_that_supports_it(vgg: Vgg) -> None:
    model, layers, _ = vgg
    criterion = CRITERIA["magnitude_l2"]
    for layer in (layers[0], layers[-1]):
        scores = criterion(model, (layer,), ())
        by_granularity = dict(
            group_scores_by_granularity([scores], layer, GRANULARITIES.values(), criterion.pool)
        )
        assert list(by_granularity) == [
            g for g in GRANULARITIES.values() if supports(g, layer) is None
        ]
        for g, groups in by_granularity.items():
            assert torch.equal(
                groups, group_scores(scores, (layer,), g, criterion.pool)[layer.name]
            )


def test_a_filters_score_is_the_mean_of_its_weights_also_in_the_output_layer(vgg: Vgg) -> None:
    model, layers, _ = vgg
    assert supports(GRANULARITIES["filter"], layers[-1]) is not None
    by_layer = filter_scores(CRITERIA["magnitude_l1"], model, layers, ())
    assert by_layer.keys() == {layer.name for layer in layers}
    for name, scores in by_layer.items():
        torch.testing.assert_close(
            scores, model.get_parameter(name).detach().abs().flatten(1).mean(1)
        )
