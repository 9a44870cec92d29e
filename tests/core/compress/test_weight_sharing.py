"""Weight sharing: k-means that cannot be improved, few values, and files that become smaller."""

import pytest
import torch

from pruning_core.compress.sparse_file import read_sparse, write_sparse
from pruning_core.compress.weight_sharing import k_means, share_weights
from pruning_core.types import PruningError

WEIGHT = torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
KEEP = WEIGHT.abs() > 1


def test_every_weight_has_the_nearest_of_the_means_of_its_own_weights() -> None:
    tensors = {"w": torch.where(KEEP, WEIGHT, 0.0), "b": torch.randn(3)}
    for bits in (1, 3, 5):
        shared = share_weights(tensors, {"w": KEEP}, bits)
        assert shared["b"] is tensors["b"]
        assert not shared["w"][~KEEP].any()
        before = WEIGHT[KEEP]
        after = shared["w"][KEEP]
        centres = after.unique()
        assert len(centres) <= 2**bits
        nearest = (before[:, None] - centres).abs().argmin(1)
        assert torch.equal(centres[nearest], after)
        for centre in centres:
            assert float(before[after == centre].mean()) == pytest.approx(float(centre), abs=1e-6)


def test_the_means_are_found_from_a_linear_start() -> None:
    values = torch.tensor([0.0, 1.0, 9.0, 10.0], dtype=torch.float64)
    assert k_means(values, 2).tolist() == [0.5, 9.5]
    assert k_means(values, 3).tolist() == [0.5, 5.0, 9.5], "the empty cluster keeps its place"


def test_weights_with_few_values_stay_as_they_are() -> None:
    weight = torch.tensor([1.0, 1.0, 3.0, 0.0])
    shared = share_weights({"w": weight}, {"w": weight != 0}, 1)
    assert torch.equal(shared["w"], weight)
    empty = torch.zeros(4)
    assert torch.equal(share_weights({"w": empty}, {"w": empty != 0}, 1)["w"], empty)


def test_a_tensor_with_two_names_is_shared_once_and_stored_once() -> None:
    pruned = torch.where(KEEP, WEIGHT, 0.0)
    shared = share_weights({"w": pruned, "tied": pruned}, {"w": KEEP, "tied": KEEP}, 4)
    assert shared["w"] is shared["tied"]
    content = write_sparse(shared, {"w": KEEP, "tied": KEEP})
    assert len(content) < len(write_sparse({"w": pruned}, {"w": KEEP})) / 2
    assert torch.equal(read_sparse(content)["tied"], shared["w"])


def test_what_cannot_be_shared_is_refused() -> None:
    for weight, bits, sentence in (
        (WEIGHT, 0, "1 to 8 bits, not 0"),
        (WEIGHT, 9, "1 to 8 bits, not 9"),
        (WEIGHT.int(), 4, "no float weights"),
        (torch.full((3,), float("nan")), 4, "not finite"),
    ):
        with pytest.raises(PruningError, match=sentence):
            share_weights({"w": weight}, {"w": torch.ones_like(weight, dtype=torch.bool)}, bits)
