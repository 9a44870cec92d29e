"""SynFlow against closed forms and the loop of the paper."""

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


def test_synflow_saliency_closed_form() -> None:
    """R = 1' |W2| |W1| 1: a saliency is |w| times the sums of the paths into and out of the weight.

    One round ranks by it.
    """
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.tensor([[1.0, -4.0], [2.0, 0.5]])
    model[2].weight.data = torch.tensor([[-3.0, 4.0]])
    # First layer: |w1| (3, 4) = 3, 12, 8, 2. Second layer: |w2| (row sums 5, 5/2) = 15, 10.
    # Ascending: 2 3 8 10 12 15.
    scores = replace(criterion("synflow"), rounds=1, density=1.0)(
        model, inventory(model, (2,)), [(torch.zeros(1, 2), torch.zeros(1))]
    )
    assert torch.equal(
        (scores["0.weight"].flatten() * 6).round(), torch.tensor([1.0, 4.0, 2.0, 0.0])
    )
    assert torch.equal((scores["2.weight"].flatten() * 6).round(), torch.tensor([5.0, 3.0]))


def test_synflow_ranks_again_after_a_path_is_removed() -> None:
    """Two paths: 2 then 1, and 3 then 0.1. Once 3 is removed, 0.1 has no input."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    model[1].weight.data = torch.tensor([[1.0, 0.1]])
    layers = inventory(model, (2,))
    x = [(torch.zeros(1, 2), torch.zeros(1))]
    places = replace(criterion("synflow"), rounds=6, density=1 / 6)(model, layers, x)
    order = (torch.cat([places[layer.name].flatten() for layer in layers]) * 6).round().tolist()
    # Zeros are first. 3.0 and 0.1 tie at 0.3, so the first of them is removed. Then 0.1 has no
    # input and is removed before 2.0 and 1.0.
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
        threshold = flat.kthvalue(int((1.0 - density ** (k / rounds)) * len(flat))).values
        masks = [(score > threshold).double() for score in scores]
    return {
        layer.name: mask.bool().view(layer.shape) for layer, mask in zip(layers, masks, strict=True)
    }


@pytest.mark.parametrize(("arch", "rounds"), [("lenet5", 100), ("vgg", 20)])
def test_synflow_at_its_density_keeps_what_the_loop_of_the_paper_keeps(
    arch: str, rounds: int
) -> None:
    """Global, single weights: the same set, and no layer collapses.

    The paper calls this maximal critical compression.
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


def test_synflow_refuses_where_no_signal_or_too_large_a_signal_arrives() -> None:
    """A capped activation has slope 0 for signals as large as SynFlow's."""
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


def test_synflow_of_a_network_with_complex_numbers() -> None:
    """By hand: R = (|v| |w| 1), with |v| the absolute value of a complex factor."""

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = nn.Linear(2, 2, bias=False)
            self.turn = nn.Parameter(torch.tensor([3 + 4j, 1j]))

        def forward(self, x: Tensor) -> Tensor:
            return (self.f(x) * self.turn).real

    model = Turned()
    model.f.weight.data = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    scores = criterion("synflow")(
        model, inventory(model, (2,)), [(torch.ones(1, 2), torch.zeros(1))]
    )
    order = scores["f.weight"].flatten().argsort().tolist()
    assert order == [2, 3, 0, 1]  # 0.5, 4, 5 and 10


def test_synflow_does_not_depend_on_the_layout_in_memory() -> None:
    """Weights with channels last, and a weight that is stored transposed."""
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4))
    layers = inventory(model, (3, 4, 4))
    batches = [(torch.ones(1, 3, 4, 4), torch.zeros(1))]
    wanted = criterion("synflow")(model, layers, batches)
    moved = deepcopy(model).to(memory_format=torch.channels_last)
    transposed = model.get_parameter("3.weight").detach().T.contiguous().T
    moved.get_submodule("3").register_parameter("weight", nn.Parameter(transposed))
    found = criterion("synflow")(moved, layers, batches)
    assert not moved.get_parameter("0.weight").is_contiguous()
    assert not moved.get_parameter("3.weight").is_contiguous()
    for name, scores in wanted.items():
        assert torch.equal(found[name], scores)


class Timed(nn.Module):
    """Computes a part in float32 by itself, as embeddings of a time step are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(2, 3)
        self.out = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.out(self.step(x.float()).relu())
        return made


def test_synflow_of_a_network_that_chooses_its_own_type() -> None:
    batches = ((torch.zeros(1, 2), torch.zeros(1).long()),)
    model = Timed()
    plain = nn.Sequential(model.step, nn.ReLU(), model.out)
    layers = inventory(model, (2,))
    scores = criterion("synflow")(model, layers, batches)
    expected = criterion("synflow")(plain, inventory(plain, (2,)), batches)
    assert torch.equal(scores["step.weight"], expected["0.weight"])
