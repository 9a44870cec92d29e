"""A group's rank of removal, and hand edits of masks."""

import pytest
import torch

from pruning_core.masks import apply_hand_edits, lowest, ranks
from tests.core.toy import refusal


@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_ranks_give_the_order_of_removal(levels: int) -> None:
    scores = torch.randint(
        0, levels, (4, 25), generator=torch.Generator().manual_seed(levels)
    ).float()
    scores[0, 3] = -torch.inf
    scores[1, :2] = torch.tensor([-0.0, 0.0])
    places = ranks(scores)
    assert all(torch.equal(lowest(scores, count), places < count) for count in range(26))


def test_hand_edits_worked_by_hand() -> None:
    kept = torch.tensor([[False, True, True], [True, False, False]])
    places = torch.tensor([[0, 1, 2], [2, 0, 1]], dtype=torch.float32)
    assert apply_hand_edits(kept, places, [(0, 0, True), (0, 2, False)]).tolist() == [
        [True, True, False],
        [True, False, False],
    ]
    assert apply_hand_edits(kept, places, [(1, 0, False)]).tolist() == kept.tolist()
    assert apply_hand_edits(kept, places, [(1, 0, False)], allow_collapse=True).tolist() == [
        [False, True, True],
        [False] * 3,
    ]
    assert kept.tolist() == [[False, True, True], [True, False, False]]
    assert "Group 3 of scope 0" in refusal(lambda: apply_hand_edits(kept, places, [(0, 3, True)]))
