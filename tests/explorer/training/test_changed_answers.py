"""Changed answers between two states, and the sign test."""

import pytest
import torch

from explorer.training.changed_answers import changed_answers, sign_test, verdict
from pruning_core.evaluation.accuracy import summarise
from tests.core.toy import answers


@pytest.mark.parametrize(
    ("broken", "fixed", "p"),
    [(0, 0, 1.0), (5, 1, 14 / 64), (1, 5, 14 / 64), (3, 3, 1.0), (0, 10, 2 / 1024)],
)
def test_the_sign_test_is_exact(broken: int, fixed: int, p: float) -> None:
    assert sign_test(broken, fixed) == pytest.approx(p)


@pytest.mark.parametrize(
    ("broken", "fixed", "sentence"),
    [
        (0, 0, "Both states are right on the same images."),
        (3, 3, "Not more than chance: sign test, p = 1.00."),
        (5, 1, "Not more than chance: sign test, p = 0.22."),
        (1, 7, "Not more than chance: sign test, p = 0.070."),
        (0, 6, "More than chance: sign test, p = 0.031."),
        (0, 12, "More than chance: sign test, p < 0.001."),
    ],
)
def test_the_verdict_is_one_sentence(broken: int, fixed: int, sentence: str) -> None:
    assert verdict(broken, fixed) == sentence


def test_only_answers_that_change_between_right_and_wrong_count() -> None:
    labels = torch.tensor([0, 1, 2, 0])
    before = answers(summarise(torch.eye(3)[[0, 1, 0, 1]], labels)).predictions
    after = answers(summarise(torch.eye(3)[[1, 1, 2, 2]], labels)).predictions
    assert changed_answers(labels, before, after) == ([0], [2])
