"""The computed bytes of the thinned network are those of the one that is made."""

import pytest

from pruning_core.compress.storage_sizes import unmasked_bytes
from pruning_core.compress.thin import thin
from pruning_core.compress.thin_sizes import thinned_bytes
from pruning_core.model.model_io import tensors_of
from pruning_core.pipeline import choose_masks, pruned_copy
from pruning_core.plan import Plan
from pruning_core.types import Masks
from pruning_core.workspaces import open_workspace


@pytest.mark.parametrize("granularity", ["filter", "channel"])
def test_computed_bytes_are_those_of_the_thinned_network(granularity: str) -> None:
    space = open_workspace("vgg", "digits")
    plan = Plan(model="vgg", dataset="digits", granularity=granularity, sparsity=0.6)
    _, masks = choose_masks(plan, space)
    made = thin(plan, space, masks)
    size = unmasked_bytes(tensors_of(made.module), Masks())
    assert thinned_bytes(pruned_copy(plan, space, masks), space, masks) == size
    assert size < unmasked_bytes(tensors_of(space.model), Masks()) / 2
