"""Criteria that read the weights alone: FPGM against closed forms."""

import torch
from torch import nn

from pruning_core.criteria import criterion
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer
from pruning_core.zoo.models import ARCHITECTURES

BLANK = ((torch.full((2, 1, 8, 8), 5.0), torch.zeros(2)),)


def network(arch: str) -> tuple[nn.Module, tuple[Layer, ...]]:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = ARCHITECTURES[arch].build((1, 8, 8), 10).eval()
    return model, inventory(model, (1, 8, 8))


def test_fpgm_worked_by_hand() -> None:
    """Filters 0, 1 and 10: mean distances 11/2, 10/2 and 19/2. The middle one is lowest."""
    model = nn.Conv2d(1, 3, 1, bias=False)
    model.weight.data = torch.tensor([0.0, 1.0, 10.0]).view(3, 1, 1, 1)
    (scores,) = criterion("fpgm")(model, inventory(model, (1, 2, 2)), ()).values()
    assert scores.flatten().tolist() == [5.5, 5.0, 9.5]


def test_fpgm_compares_rows_of_q_k_and_v_with_their_own_kind() -> None:
    model = nn.MultiheadAttention(2, 2, bias=False)
    model.in_proj_weight.data = torch.tensor(
        [[0.0, 0.0], [3.0, 4.0], [9.0, 9.0], [9.0, 8.0], [1.0, 1.0], [1.0, 1.0]]
    )
    packed = Layer("in_proj_weight", "", "attention_in", (6, 2, 1, 1), (6, 2), heads=2)
    scores = criterion("fpgm")(model, (packed,), ())[packed.name]
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
