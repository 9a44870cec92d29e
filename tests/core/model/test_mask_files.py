"""Pruned pairs of torch.nn.utils.prune, and what stands before the names of parameters."""

import torch
from torch import nn
from torch.nn.utils import prune

from pruning_core.model.mask_files import beginnings, by_parameter, with_masks_applied


def test_weights_are_those_that_torch_computes_also_with_masks_between_0_and_1() -> None:
    layer = nn.Linear(4, 3)
    mask = torch.tensor([0.0, 0.5, 1.0, 0.25]).repeat(3, 1)
    prune.custom_from_mask(layer, "weight", mask)
    plain, masks = with_masks_applied(layer.state_dict())
    assert plain.keys() == {"weight", "bias"}
    assert torch.equal(plain["weight"], torch.as_tensor(layer.weight))
    assert torch.equal(masks["weight"], mask != 0)


def test_a_pair_of_two_shapes_stays_as_it_is() -> None:
    tensors = {"w_orig": torch.ones(2, 3), "w_mask": torch.ones(3)}
    assert with_masks_applied(tensors) == (tensors, {})


def test_one_prefix_of_all_names_is_removed() -> None:
    assert beginnings("a.b.c") == ["", "a.", "a.b."]
    given = {"module.net.fc.weight_mask": 1, "module.net.conv.weight_mask": 2}
    known = {"fc.weight", "conv.weight", "fc.bias"}
    assert by_parameter(given, known) == {"fc.weight": 1, "conv.weight": 2}
    mixed = given | {"other.fc.bias": 3}
    assert by_parameter(mixed, known).keys() == {
        "module.net.fc.weight",
        "module.net.conv.weight",
        "other.fc.bias",
    }
