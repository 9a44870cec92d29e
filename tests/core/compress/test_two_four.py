"""2:4 on a GPU: which layers fit is checked against torch's own packing; a CPU gets a sentence."""

from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.sparse._semi_structured_conversions import (
    sparse_semi_structured_from_dense_cutlass,
    sparse_semi_structured_to_dense_cutlass,
)

from pruning_core.compress.forms import forms_of
from pruning_core.compress.two_four import fits, fitting_layers, no_kernels_on, two_four
from pruning_core.pipeline import choose_masks, masked_copy
from pruning_core.plan import Plan
from pruning_core.types import PruningError
from pruning_core.workspaces import open_workspace


def weight(nonzeros: int, shape: tuple[int, int] = (32, 64)) -> Tensor:
    """Nonzeros at random places of each four, in float16."""
    own = torch.Generator().manual_seed(nonzeros)
    values = torch.rand(shape, generator=own) + 0.5
    order = torch.rand(shape, generator=own).unflatten(1, (-1, 4)).argsort(-1).argsort(-1)
    return (values * (order < nonzeros).flatten(1)).half()


def packed_and_back(dense: Tensor) -> Tensor:
    return sparse_semi_structured_to_dense_cutlass(
        *sparse_semi_structured_from_dense_cutlass(dense)
    )


@pytest.mark.parametrize("nonzeros", [0, 1, 2, 3, 4])
def test_what_fits_is_packed_without_loss(nonzeros: int) -> None:
    dense = weight(nonzeros)
    assert fits(dense) == torch.equal(packed_and_back(dense), dense) == (nonzeros <= 2)


def test_shapes_that_the_kernels_do_not_take_do_not_fit() -> None:
    assert [fits(weight(2, shape)) for shape in ((32, 64), (16, 64), (32, 32), (96, 128))] == [
        *(True, False, False, True)
    ]


def test_a_processor_without_such_kernels_gets_one_sentence() -> None:
    model = nn.Sequential(nn.Linear(64, 32)).eval()
    with torch.no_grad():
        model.get_parameter("0.weight").copy_(weight(2).float())
    assert fitting_layers(model) == ["0"]
    with pytest.raises(PruningError, match="needs an NVIDIA GPU of compute capability"):
        two_four(model, torch.ones(1, 64))
    with patch.object(torch.cuda, "get_device_capability", return_value=(7, 5)):
        assert str(no_kernels_on(torch.device("cuda"))).endswith("this one has 7.5.")


def test_only_plans_by_n_of_m_are_timed_in_this_form() -> None:
    space = open_workspace("lenet5", "digits")
    for granularity, there in (("2:4", True), ("fine", False)):
        plan = Plan(model="lenet5", dataset="digits", granularity=granularity)
        _, masks = choose_masks(plan, space)
        made = forms_of(plan, space, masks)
        assert ("2:4" in made.forms) == there
        if there:
            masked = masked_copy(plan, space, masks)
            with pytest.raises(PruningError, match="here the network is computed on cpu"):
                made.forms["2:4"].make(masked, torch.ones(1, 1, 8, 8))
