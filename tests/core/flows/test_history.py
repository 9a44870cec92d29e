"""A layer's masks over time, by hand: who went when, and who came back."""

import torch
from torch import nn

from pruning_core.flows import packed, recorded
from pruning_core.types import Masks, Pruned, Step

SHAPE = (3, 1, 1, 1)


def cut(*keep: int, name: str = "w") -> Pruned:
    masks: Masks = {name: torch.tensor(keep, dtype=torch.bool).view(len(keep), 1, 1, 1)}
    return Pruned(1, 1, 1.0, {}, masks, nn.Identity())


EVENTS = (cut(1, 0, 1), Step(1, 1, 9, 0.5), cut(0, 1, 1), cut(0, 0, 1))


def test_frames_begin_dense_and_give_the_masks_back() -> None:
    found = recorded(EVENTS, "w", SHAPE)
    assert len(found) == 4
    assert [found.mask(k).flatten().tolist() for k in range(4)] == [
        [True, True, True],
        [True, False, True],
        [False, True, True],
        [False, False, True],
    ]
    assert found.kept() == (1.0, 2 / 3, 2 / 3, 1 / 3)


def test_who_went_when_and_who_came_back() -> None:
    found = recorded(EVENTS, "w", SHAPE)
    assert found.removed_at().flatten().tolist() == [2, 3, 0]
    assert found.removed_at(2).flatten().tolist() == [2, 0, 0]
    assert found.removed_at(0).flatten().tolist() == [0, 0, 0]
    assert found.returns().flatten().tolist() == [0, 1, 0]
    assert found.returns(1).flatten().tolist() == [0, 0, 0]


def test_a_layer_that_no_mask_names_stays_dense() -> None:
    assert recorded((cut(0, 0, 0, name="other"),), "w", SHAPE).kept() == (1.0, 1.0)


def test_a_frame_takes_a_bit_per_weight() -> None:
    mask = torch.rand(7, 5, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    assert len(packed(mask)) == -(-mask.numel() // 8)
    found = recorded((Pruned(1, 1, 1.0, {}, {"w": mask}, nn.Identity()),), "w", (7, 5, 3, 3))
    assert torch.equal(found.mask(1), mask)
