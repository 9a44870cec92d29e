"""Every criterion against values worked out by hand, and what holds for all criteria."""

from copy import deepcopy
from functools import cache
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from pruning_core.criteria import CRITERIA, POOLS, criterion
from pruning_core.criteria import refusal as criterion_refusal
from pruning_core.granularity import GRANULARITIES, granularity, supports, to_groups
from pruning_core.masks import group_scores, select
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer
from pruning_core.zoo.models import ARCHITECTURES
from tests.cases import for_each
from tests.core.toy import Toy, is_sentence, layer, matrix, refusal, same_state, state

BATCHES = [(torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([0, 1]))]


def toy() -> tuple[Toy, tuple[Layer, ...]]:
    model = Toy()
    return model, inventory(model, (1, 2, 2))


def flat(scores: Tensor) -> list[float]:
    return scores.flatten().tolist()


@pytest.mark.parametrize("name", ["magnitude_l1", "magnitude_l2", "magnitude_linf"])
def test_magnitude_is_the_absolute_weight(name: str) -> None:
    model, layers = toy()
    model.get_parameter("3.weight").data.neg_()
    scores = criterion(name)(model, layers, ())
    assert flat(scores["0.weight"]) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert flat(scores["3.weight"]) == [0, 1, 2, 3, 4, 5]


def test_pools_worked_by_hand() -> None:
    groups = torch.tensor([[[3.0, -4.0], [0.0, 5.0]]])
    assert POOLS["mean_abs"](groups).tolist() == [[3.5, 2.5]]
    assert POOLS["abs_sum"](groups).tolist() == [[7.0, 5.0]]
    assert POOLS["max_abs"](groups).tolist() == [[4.0, 5.0]]
    assert POOLS["sum"](groups).tolist() == [[-1.0, 5.0]]
    assert POOLS["squared_sum"](groups).tolist() == [[1.0, 25.0]]
    single = groups[..., 1:]
    assert {name: POOLS[name](single).tolist() for name in POOLS} == {
        name: [[-4.0, 5.0]]
        if name == "sum"
        else [[16.0, 25.0]]
        if name == "squared_sum"
        else [[4.0, 5.0]]
        for name in POOLS
    }
    assert POOLS["l2"](groups).flatten().tolist() == pytest.approx([12.5**0.5, 12.5**0.5])


def test_l1_l2_and_linf_disagree_where_they_should() -> None:
    """(3, 0) has the smaller mean; (2, 2) has the smaller root mean square and maximum."""
    filters = layer((2, 2, 1, 1))
    g = granularity("filter")
    w = {"w": matrix("3 0\n2 2")}
    kept = {
        name: select(group_scores(w, (filters,), g, pool), (filters,), g, {"w": 0.5})["w"]
        for name, pool in ((name, CRITERIA[name].pool) for name in CRITERIA)
    }
    assert flat(kept["magnitude_l1"]) == [False, False, True, True]
    assert flat(kept["magnitude_l2"]) == [True, True, False, False]
    assert flat(kept["magnitude_linf"]) == [True, True, False, False]


def test_gradient_and_taylor_closed_form_on_a_linear_model() -> None:
    """Both rows are equal, so p = 1/2 for both: g = +-(1/2, -3/4), |w g| = |w| (1/2, 3/4)."""
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
    assert torch.equal(
        criterion("random")(model, (conv,), ())[conv.name],
        criterion("random", 0)(model, (conv,), ())[conv.name],
    )
    assert criterion("random", 2**31 - 1)(model, (conv,), ())[conv.name].shape == conv.shape


def test_random_is_uniform() -> None:
    (scores,) = criterion("random", 5)(nn.Identity(), (layer((100, 100, 1, 1)),), ()).values()
    counts = torch.histc(scores, 10, 0.0, 1.0)
    assert counts.sum() == 10_000
    assert float((counts - 1000).abs().max()) < 5 * 30


class Kinds(nn.Module):
    """Every kind of layer.

    1-d, grouped and depthwise convolutions, attention with keys of another width, a tied weight.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1d = nn.Conv1d(4, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, groups=2, padding="same", padding_mode="reflect")
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 16, 3, groups=8, dilation=2, stride=2)
        self.attention = nn.MultiheadAttention(16, 2, kdim=8, vdim=4)
        self.packed = nn.MultiheadAttention(16, 4, bias=False, batch_first=True)
        self.first = nn.Linear(16, 16)
        self.second = nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        lines = self.conv1d(x.flatten(1, 2)).relu()
        maps = self.norm(self.grouped(lines.unflatten(2, (8, 8)))).relu_()
        x = self.depthwise(maps).flatten(2).permute(2, 0, 1)
        x = self.attention(x, x[..., :8], value=x[..., 8:12])[0].transpose(0, 1)
        x = x + self.packed(x, x, x, need_weights=False)[0]
        return self.head(self.dropout(self.second(self.first(x).relu())).mean(1))


@cache
def kinds() -> tuple[Kinds, tuple[Layer, ...]]:
    """Shared: no test may change it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Kinds()
        return model, inventory(model, (4, 1, 64))


IMAGES = [
    (torch.randn(3, 4, 1, 64, generator=torch.Generator().manual_seed(k)), torch.arange(3) + k)
    for k in (0, 1)
]
BLANK = ((torch.ones(1, 4, 1, 64), torch.zeros(1, dtype=torch.long)),)


def test_the_network_has_every_kind_of_layer() -> None:
    assert {x.kind for x in kinds()[1]} == {
        "conv1d",
        "conv2d",
        "depthwise",
        "linear",
        "attention_in",
        "attention_proj",
        "attention_out",
    }
    assert any(x.groups == 2 for x in kinds()[1])
    assert any(x.aliases for x in kinds()[1])


@pytest.mark.usefixtures("few_rounds")
@pytest.mark.parametrize("name", CRITERIA)
def test_every_kind_of_layer_is_scored_or_refused_and_nothing_changes(name: str) -> None:
    """Parameters, buffers, gradients, modes, requires_grad, hooks and random numbers stay.

    A second call gives the same scores. Scores never alias the model's tensors: writing into them
    changes nothing.
    """
    shared, every = kinds()
    model = deepcopy(shared)
    how = criterion(name)
    model.train().norm.eval()
    model.conv1d.weight.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    layers = tuple(x for x in every if how.supports(x) is None)
    for reason in (how.supports(x) for x in every if x not in layers):
        assert is_sentence(str(reason))
    before = state(model)
    seen = bookkeeping(model)
    rng = torch.get_rng_state()
    with torch.no_grad():
        scores = how(model, layers, IMAGES if how.needs_data else BLANK)
    assert {name: tuple(s.shape) for name, s in scores.items()} == {x.name: x.shape for x in layers}
    assert all(
        s.isfinite().all() and s.any() and not s.requires_grad and s.dtype == torch.float32
        for s in scores.values()
    )
    again = how(model, layers, IMAGES if how.needs_data else BLANK)
    assert all(torch.equal(scores[x.name], again[x.name]) for x in layers)
    for values in scores.values():
        values.fill_(-1.0)
    assert same_state(model, before)
    assert bookkeeping(model) == seen
    assert torch.equal(torch.get_rng_state(), rng)


def bookkeeping(model: nn.Module) -> list[object]:
    """Modes, hooks, requires_grad and gradients."""
    modules = [
        (m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()
    ]
    return [
        *modules,
        *((p.requires_grad, p.grad is None or p.grad.sum().item()) for p in model.parameters()),
    ]


@pytest.mark.usefixtures("few_rounds")
@pytest.mark.parametrize("name", CRITERIA)
def test_signs_appear_only_where_groups_sum_with_signs(name: str) -> None:
    model, every = kinds()
    how = criterion(name)
    layers = tuple(x for x in every if how.supports(x) is None)
    scores = how(model, layers, IMAGES if how.needs_data else BLANK)
    assert any((s < 0).any() for s in scores.values()) == (how.pool in ("sum", "squared_sum"))


@pytest.mark.parametrize("name", CRITERIA)
def test_only_a_criterion_that_needs_data_refuses_to_run_without_it(
    name: str,
) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    layer, _ = inventory(model, (1, 3, 3))
    how = criterion(name)
    if how.needs_data:
        assert "batch" in refusal(lambda: how(model, (layer,), ()))
    else:
        assert how(model, (layer,), ((torch.ones(1, 1, 3, 3), torch.zeros(1)),)).keys() == {
            "0.weight"
        }


@for_each(product(CRITERIA, GRANULARITIES))
def test_one_score_per_filter_is_refused_where_filters_do_not_compete(
    name: str, shape: str
) -> None:
    """Each filter is scored by its number. The refusal must say whether any two groups differ."""
    g = GRANULARITIES[shape]
    how = criterion(name)
    for x in kinds()[1]:
        if supports(g, x) is not None or how.supports(x) is not None:
            continue
        numbered = torch.arange(float(x.shape[0])).view(-1, 1, 1, 1).expand(x.shape)
        groups = to_groups(numbered, g, x).mean(-1)
        blind = bool((groups == groups[:, :1]).all())
        reason = criterion_refusal(how, g, x)
        assert (reason is not None) == (how.per_filter and blind)
        assert reason is None or (x.name in reason and is_sentence(reason))


def test_unknown_criteria_are_refused_in_a_sentence() -> None:
    assert "magnitude_l1" in refusal(lambda: criterion("magnitude_1"))
