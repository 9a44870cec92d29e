"""`Zeroed`, which a scan puts in the place of a weight: its removed places are zero."""

import pytest
import torch

from pruning_core.evaluation.partial_forward import Zeroed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int8])
def test_what_is_removed_is_zero_and_the_rest_keeps_its_bits(dtype: torch.dtype) -> None:
    """Also for negative zero, infinite and NaN values, and in any memory format."""
    tensor = torch.tensor(
        [-1.5, -0.0, 0.0, 3, -torch.inf, torch.nan, 2, -7]
        if dtype.is_floating_point
        else range(-4, 4)
    ).to(dtype)
    tensor = (
        torch.stack([tensor, tensor.flip(0)])
        .view(2, 4, 2, 1)
        .contiguous(memory_format=torch.channels_last)
    )
    for keep in (
        torch.ones_like(tensor, dtype=torch.bool),
        torch.arange(16).view(2, 4, 2, 1) % 2 == 0,
    ):
        found = Zeroed({"w": tensor}.__getitem__, {"w": keep})["w"]
        wanted = tensor.masked_fill(~keep, 0)
        assert (found.dtype, found.stride()) == (dtype, tensor.stride())
        assert torch.equal(
            found.contiguous().view(torch.uint8), wanted.contiguous().view(torch.uint8)
        )
