"""Criteria that need no data beyond an input's shape: FPGM and SynFlow against closed forms and the
paper's own loop.
"""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import criterion
from pruning_core.granularity import granularity
from pruning_core.masks import group_scores, select
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.toy import Toy, refusal, same_state, state

BLANK = ((torch.full((2, 1, 8, 8), 5.0), torch.zeros(2)),)


def network(arch: str) -> tuple[nn.Module, tuple[Layer, ...]]:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = ARCHITECTURES[arch].build((1, 8, 8), 10).eval()
    return model, inventory(model, (1, 8, 8))


def test_fpgm_worked_by_hand() -> None:
    """Filters 0, 1 and 10 on a line: mean distances 11/2, 10/2 and 19/2. The middle one goes first,
    not the smallest.
    """
    model = nn.Conv2d(1, 3, 1, bias=False)
    model.weight.data = torch.tensor([0.0, 1.0, 10.0]).view(3, 1, 1, 1)
    (scores,) = criterion("fpgm")(model, inventory(model, (1, 2, 2)), ()).values()
    assert scores.flatten().tolist() == [5.5, 5.0, 9.5]


def test_fpgm_compares_rows_of_q_k_and_v_among_their_own() -> None:
    model = nn.MultiheadAttention(2, 2, bias=False)
    model.in_proj_weight.data = torch.tensor(
        [[0.0, 0.0], [3.0, 4.0], [9.0, 9.0], [9.0, 8.0], [1.0, 1.0], [1.0, 1.0]]
    )
    here = Layer("in_proj_weight", "", "attention_in", (6, 2, 1, 1), (6, 2), heads=2)
    scores = criterion("fpgm")(model, (here,), ())[here.name]
    assert scores[:, 0].flatten().tolist() == [5, 5, 1, 1, 0, 0]


def test_fpgm_is_the_sum_of_all_distances_of_a_network() -> None:
    model, layers = network("resnet20")
    for layer in layers[:4]:
        w = model.get_parameter(layer.name).detach().flatten(1)
        wanted = torch.stack([(row - w).norm(dim=1).sum() / (len(w) - 1) for row in w])
        torch.testing.assert_close(
            criterion("fpgm")(model, layers, ())[layer.name][:, 0, 0, 0], wanted
        )


def test_fpgm_refuses_a_single_filter() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(36, 2))
    conv, fc = inventory(model, (1, 8, 8))
    assert conv.name in str(criterion("fpgm").supports(conv))
    assert criterion("fpgm").supports(fc) is None


def test_synflow_saliency_closed_form() -> None:
    """R = 1' |W2| |W1| 1, so a weight's saliency is |w| times what leads into it and out of it; one
    round ranks by that.
    """
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.tensor([[1.0, -4.0], [2.0, 0.5]])
    model[2].weight.data = torch.tensor([[-3.0, 4.0]])
    # first layer: |w1| (3, 4) = 3, 12, 8, 2; second: |w2| (row sums 5, 5/2) = 15, 10. Ascending: 2
    # 3 8 10 12 15.
    scores = replace(criterion("synflow"), rounds=1, density=1.0)(
        model, inventory(model, (2,)), [(torch.zeros(1, 2), torch.zeros(1))]
    )
    assert torch.equal(
        (scores["0.weight"].flatten() * 6).round(), torch.tensor([1.0, 4.0, 2.0, 0.0])
    )
    assert torch.equal((scores["2.weight"].flatten() * 6).round(), torch.tensor([5.0, 3.0]))


def test_synflow_ranks_again_when_a_path_is_gone() -> None:
    """Two paths: 2 then 1, and 3 then 0.1. When 3 is gone, nothing comes to 0.1, and so on until
    one weight is left.
    """
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    model[1].weight.data = torch.tensor([[1.0, 0.1]])
    layers = inventory(model, (2,))
    x = [(torch.zeros(1, 2), torch.zeros(1))]
    places = replace(criterion("synflow"), rounds=6, density=1 / 6)(model, layers, x)
    order = (torch.cat([places[layer.name].flatten() for layer in layers]) * 6).round().tolist()
    # zeros first; 3.0 and 0.1 tie at 0.3, the first goes; then 0.1, now without an input, before
    # 2.0 and 1.0
    assert order == [4.0, 0.0, 1.0, 2.0, 5.0, 3.0]


def paper(
    model: nn.Module, layers: tuple[Layer, ...], density: float, rounds: int
) -> dict[str, Tensor]:
    """The authors' loop: mask, linearise, score, keep what is above the threshold; 100 times."""
    work = deepcopy(model).double().eval()
    for tensor in work.state_dict().values():
        tensor.abs_()
    weights = [work.get_parameter(layer.name) for layer in layers]
    masks = [torch.ones_like(w) for w in weights]
    dense = [w.detach().clone() for w in weights]
    for k in range(1, rounds + 1):
        for w, mask, value in zip(weights, masks, dense, strict=True):
            w.data = value * mask
        slopes = torch.autograd.grad(
            work(torch.ones(1, 1, 8, 8, dtype=torch.float64)).sum(), weights
        )
        scores = [(slope * w).abs() for slope, w in zip(slopes, weights, strict=True)]
        flat = torch.cat([score.flatten() for score in scores])
        threshold = flat.kthvalue(
            max(1, len(flat) - round(len(flat) * density ** (k / rounds)))
        ).values
        masks = [(score > threshold).double() for score in scores]
    return {
        layer.name: mask.bool().view(layer.shape) for layer, mask in zip(layers, masks, strict=True)
    }


@pytest.mark.parametrize(("arch", "rounds"), [("lenet5", 100), ("vgg", 20)])
def test_synflow_at_its_density_keeps_what_the_papers_loop_keeps(arch: str, rounds: int) -> None:
    """Global allocation, single weights: the same set, and no layer is cut through (the paper's
    maximal critical compression).
    """
    model, layers = network(arch)
    how = replace(criterion("synflow"), rounds=rounds, density=0.02)
    g = granularity("fine")
    density = 0.02
    groups = group_scores(how(model, layers, BLANK), layers, g, how.pool)
    masks = select(groups, layers, g, ALLOCATIONS["global"](layers, groups, 1 - density))
    wanted = paper(model, layers, density, rounds)
    assert all(torch.equal(masks[x.name], wanted[x.name]) for x in layers)
    assert all(mask.any() for mask in masks.values())


def test_synflow_reads_the_shape_alone_and_changes_nothing() -> None:
    model, layers = network("vgg")
    how = replace(criterion("synflow"), rounds=3)
    before = state(model)
    ones, fives = (
        how(model, layers, batch) for batch in (((torch.ones(1, 1, 8, 8), torch.zeros(1)),), BLANK)
    )
    assert all(torch.equal(ones[x.name], fives[x.name]) for x in layers)
    assert same_state(model, before)
    assert "shape" in refusal(lambda: how(model, layers, ()))


def test_synflow_says_where_no_signal_or_too_large_a_one_comes_through() -> None:
    """A capped activation has no slope at the size of signals that SynFlow sends."""
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU6(), nn.Linear(64, 2), nn.Hardtanh()
    )
    for index in (1, 3):
        nn.init.ones_(model.get_parameter(f"{index}.weight"))
    assert "ranks nothing" in refusal(
        lambda: criterion("synflow")(model, inventory(model, (1, 8, 8)), BLANK)
    )
    toy = Toy().double()
    for index in (0, 3):
        nn.init.constant_(toy.get_parameter(f"{index}.weight"), 1e300)
    batches = [(torch.ones(1, 1, 2, 2), torch.zeros(1))]
    assert "beyond all numbers" in refusal(
        lambda: criterion("synflow")(toy, inventory(toy, (1, 2, 2)), batches)
    )
