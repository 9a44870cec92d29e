"""Splits: stratified order, batches, augmentation, samples."""

import pytest
import torch

from pruning_core.types import Dataset, PruningError
from pruning_core.zoo import probe
from pruning_core.zoo.splits import shift_and_flip, stratified
from tests.core.toy import in_memory


@pytest.mark.parametrize("n", [1, 7, 30, 100, 500])
def test_the_start_of_a_stratified_order_has_the_class_shares(n: int) -> None:
    labels = torch.tensor([0] * 100 + [1] * 300 + [2] * 600)
    counts = labels[stratified(labels)[:n]].bincount(minlength=3)
    assert all(
        abs(count - n * share) <= 1
        for count, share in zip(counts.tolist(), (0.1, 0.3, 0.6), strict=True)
    )


def test_a_stratified_order_is_a_fixed_permutation() -> None:
    labels = torch.arange(50) % 4
    assert torch.equal(stratified(labels), stratified(labels))
    assert not torch.equal(stratified(labels), stratified(labels, 1))
    assert stratified(labels).sort().values.tolist() == list(range(50))


def test_batches_are_normalised_and_images_are_not(digits: Dataset) -> None:
    val = in_memory(digits.val)
    x, y = next(val.batches(20))
    images = val.images(range(20))
    assert torch.allclose(x * val.std[0] + val.mean[0], images, atol=1e-6)
    assert images.min() == 0
    assert images.max() == 1
    assert torch.equal(y, digits.val.labels[:20])
    assert sum(len(y) for _, y in digits.val.batches(100)) == len(digits.val)


def test_an_epoch_has_full_batches_in_a_fixed_order(digits: Dataset) -> None:
    split = in_memory(digits.val)
    first, again, other = (list(split.shuffled(100, seed, augment=True)) for seed in (1, 1, 2))
    assert [len(y) for _, y in first] == [100, 100, 100]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])
    assert [len(y) for _, y in split.subset(range(30)).shuffled(100, 0)] == [30]


def test_shifts_and_flips_move_whole_images() -> None:
    x = torch.zeros(200, 1, 5, 5)
    x[:, 0, 2, 1] = 1
    moved = shift_and_flip(x, 1, True, torch.Generator().manual_seed(0))
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(200))
    positions = {tuple(position) for position in moved[:, 0].nonzero()[:, 1:].tolist()}
    assert positions == {(row, column) for row in (1, 2, 3) for column in range(5)}
    same = shift_and_flip(x, 0, False, torch.Generator().manual_seed(0))
    assert torch.equal(same, x)


def test_a_sample_is_fixed_and_starts_with_the_smaller_sample(digits: Dataset) -> None:
    small = probe(digits.test, 30)
    large = probe(digits.test, 100)
    assert torch.equal(in_memory(small).x, in_memory(large).x[:30])
    assert large.labels.bincount().tolist() == pytest.approx([10] * 10, abs=1)
    assert len(probe(digits.test, 9999)) == len(digits.test)
    with pytest.raises(PruningError, match="at least one"):
        probe(digits.test, 0)
