"""Every criterion against worked values; higher = keep."""

import pytest
import torch
from torch import Tensor, nn

from pruning_core.criteria import CRITERIA, POOLS, criterion
from pruning_core.granularity import granularity
from pruning_core.inventory import inventory
from pruning_core.masks import group_scores, select
from pruning_core.types import Layer
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.toy import Toy, is_sentence, layer, matrix, refusal, same_state, state

BATCHES = [(torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([0, 1]))]


def toy() -> tuple[Toy, tuple[Layer, ...]]:
    model = Toy()
    return model, inventory(model, (1, 2, 2))


def flat(scores: Tensor) -> list[float]:
    return scores.flatten().tolist()


@pytest.mark.parametrize("name", ["magnitude_l1", "magnitude_l2"])
def test_magnitude_is_the_absolute_weight(name: str) -> None:
    model, layers = toy()
    model[3].weight.data.neg_()
    scores = criterion(name)(model, layers, ())
    assert flat(scores["0.weight"]) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert flat(scores["3.weight"]) == [0, 1, 2, 3, 4, 5]


def test_pools_worked_by_hand() -> None:
    groups = torch.tensor([[[3.0, -4.0], [0.0, 5.0]]])
    assert POOLS["mean_abs"](groups).tolist() == [[3.5, 2.5]]
    assert POOLS["abs_sum"](groups).tolist() == [[7.0, 5.0]]
    assert POOLS["l2"](groups).flatten().tolist() == pytest.approx([12.5**0.5, 12.5**0.5])


def test_l1_and_l2_disagree_where_they_should() -> None:
    """(3, 0) has the smaller mean, (2, 2) the smaller root mean square."""
    here, g = layer((2, 2, 1, 1)), granularity("filter")
    w = {"w": matrix("3 0\n2 2")}
    kept = {name: select(group_scores(w, (here,), g, CRITERIA[name].pool), (here,), g, {"w": 0.5})["w"] for name in CRITERIA}
    assert flat(kept["magnitude_l1"]) == [False, False, True, True]
    assert flat(kept["magnitude_l2"]) == [True, True, False, False]


def test_gradient_and_taylor_closed_form_on_a_linear_model() -> None:
    """p = 1/2 for both classes where both rows are equal: g = +-(1/2, -3/4) as in test_observe, so |w g| = |w| (1/2, 3/4)."""
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.tensor([[2.0, -4.0], [2.0, -4.0]])
    layers = inventory(model, (2,))
    gradient = criterion("gradient")(model, layers, BATCHES)["weight"]
    taylor = criterion("taylor")(model, layers, BATCHES)["weight"]
    assert flat(gradient) == [0.5, 0.75, 0.5, 0.75]
    assert flat(taylor) == [1.0, 3.0, 1.0, 3.0]


def test_bn_scale_reads_the_norm_that_follows() -> None:
    model, (conv, fc) = toy()
    model[1].weight.data = torch.tensor([-3.0, 2.0])
    how = criterion("bn_scale")
    assert how.supports(conv) is None
    assert flat(how(model, (conv,), ())["0.weight"]) == [3.0] * 4 + [2.0] * 4
    reason = how.supports(fc)
    assert reason is not None
    assert fc.name in reason
    assert is_sentence(reason)
    assert refusal(lambda: how(model, (fc,), ())) == reason


def test_random_depends_on_the_seed_and_the_layer_alone() -> None:
    model, (conv, fc) = toy()
    both = criterion("random", 1)(model, (conv, fc), ())
    alone = criterion("random", 1)(ARCHITECTURES["lenet5"].build((1, 8, 8), 10), (fc,), ())
    assert torch.equal(both[fc.name], alone[fc.name])
    assert not torch.equal(both[fc.name], criterion("random", 2)(model, (fc,), ())[fc.name])
    assert not torch.equal(both[conv.name].flatten()[:6], both[fc.name].flatten())
    assert torch.equal(criterion("random")(model, (conv,), ())[conv.name], criterion("random", 0)(model, (conv,), ())[conv.name])
    assert criterion("random", 2**31 - 1)(model, (conv,), ())[conv.name].shape == conv.shape


def test_random_is_uniform() -> None:
    (scores,) = criterion("random", 5)(nn.Identity(), (layer((100, 100, 1, 1)),), ()).values()
    counts = torch.histc(scores, 10, 0.0, 1.0)
    assert counts.sum() == 10_000
    assert float((counts - 1000).abs().max()) < 5 * 30


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("arch", ["resnet20", "mobilenet", "vit"])
def test_scores_have_the_weights_shape_and_touch_nothing(name: str, arch: str) -> None:
    model, how = ARCHITECTURES[arch].build((1, 8, 8), 10).eval(), criterion(name)
    layers = tuple(x for x in inventory(model, (1, 8, 8)) if how.supports(x) is None)
    before = state(model)
    batches = [(torch.randn(4, 1, 8, 8), torch.arange(4))] if how.needs_data else ()
    scores = how(model, layers, batches)
    assert {name: tuple(s.shape) for name, s in scores.items()} == {x.name: x.shape for x in layers}
    assert all(s.isfinite().all() and (s >= 0).all() and not s.requires_grad for s in scores.values())
    for found in scores.values():
        found.fill_(-1.0)
    assert same_state(model, before)


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_that_needs_data_says_so_and_one_that_does_not_never_asks(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten())
    layers, how = inventory(model, (1, 3, 3)), criterion(name)
    if how.needs_data:
        assert "batch" in refusal(lambda: how(model, layers, ()))
    else:
        assert how(model, layers, ()).keys() == {"0.weight"}


def test_unknown_criteria_are_refused_in_a_sentence() -> None:
    assert "magnitude_l1" in refusal(lambda: criterion("magnitude_1"))
