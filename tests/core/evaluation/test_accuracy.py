"""Accuracy, loss and confusion of a model on a split."""

import math

import pytest
import torch
from torch import Tensor, nn

from pruning_core.evaluation.accuracy import evaluate, summarise
from pruning_core.intervals import wilson_interval
from pruning_core.types import Dataset, PruningError
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.small_networks import SHAPE, built, same, state
from tests.core.toy import answers


def test_summary_counts_by_hand() -> None:
    logits = torch.tensor([[3.0, 1, 0], [0, 2, 1], [0, 1, 2], [5, 0, 0]])
    result = summarise(logits, torch.tensor([0, 1, 1, 1]))
    assert result.value == 0.5
    assert "top-5" not in result.extras
    assert result.n == 4
    assert result.interval == wilson_interval(2, 4)
    assert answers(result).per_class[:2] == pytest.approx((1.0, 1 / 3))
    assert answers(result).per_class[2:] == (None,)
    assert answers(result).confusion.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert answers(result).predictions.tolist() == [0, 1, 2, 0]
    by_hand = [
        math.log(sum(math.exp(v) for v in row)) - row[label]
        for row, label in zip(logits.tolist(), (0, 1, 1, 1), strict=True)
    ]
    assert result.loss == pytest.approx(sum(by_hand) / 4)


def test_top5_is_counted_where_there_are_more_than_five_classes() -> None:
    logits = torch.arange(6.0).repeat(2, 1)
    assert summarise(logits, torch.tensor([0, 1])).extras == {"top-5": 0.5}


def test_evaluate_agrees_with_a_plain_loop(digits: Dataset) -> None:
    model = built("resnet20")
    result = evaluate(model, digits.val, device="cpu", batch_size=100)
    x, y = next(digits.val.batches(1000))
    with torch.no_grad():
        predicted = model(x).argmax(1)
    assert torch.equal(answers(result).predictions, predicted)
    assert result.value == (predicted == y).sum().item() / len(y)
    assert result.n == len(digits.val)


def test_evaluate_does_not_change_the_model(digits: Dataset) -> None:
    model = built("resnet20").train()
    model.get_submodule("stem.bn").eval()
    before = state(model)
    flags = [module.training for module in model.modules()]
    assert (
        evaluate(model, digits.val, device="cpu").value
        == evaluate(built("resnet20"), digits.val, device="cpu").value
    )
    assert same(before, state(model))
    assert flags == [module.training for module in model.modules()]


def test_outputs_choose_the_logits(digits: Dataset) -> None:
    class Wide(nn.Module):
        """Twenty logits: the classes at the odd places, and larger values at the even ones."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = built()

        def forward(self, x: Tensor) -> Tensor:
            result = self.inner(x)
            return torch.stack([torch.full_like(result, 1e6), result], 2).flatten(1)

    result = evaluate(Wide().eval(), digits.val, outputs=tuple(range(1, 20, 2)), device="cpu")
    plain = evaluate(built(), digits.val, device="cpu")
    assert torch.equal(answers(result).predictions, answers(plain).predictions)


def test_bad_input_is_refused_in_a_sentence(digits: Dataset) -> None:
    model = built()
    with pytest.raises(PruningError, match="no images"):
        evaluate(model, digits.val.subset([]))
    with pytest.raises(PruningError, match="answers 3 classes"):
        evaluate(ARCHITECTURES["lenet5"].build(SHAPE, 3), digits.val)
    with torch.no_grad():
        model.get_parameter("fc1.weight")[0, 0] = math.nan
    with pytest.raises(PruningError, match="NaN"):
        evaluate(model, digits.val)


def test_evaluating_a_model_that_changes_itself_gives_the_same_twice(digits: Dataset) -> None:
    class Drifting(nn.Module):
        mean: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.f = nn.Linear(64, 10)
            self.register_buffer("mean", torch.zeros(10))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.f(x.flatten(1))
            self.mean.mul_(0.5).add_(out.mean(0))
            return out - self.mean

    model = Drifting().eval()
    split = digits.test.subset(range(60))
    assert evaluate(model, split).loss == evaluate(model, split).loss
    assert not model.mean.any()


def test_a_printed_evaluation_is_one_line() -> None:
    text = repr(summarise(torch.eye(9).repeat(50, 1), torch.arange(450) % 9))
    assert text.startswith("Evaluation(n=450, value=1.0, loss=")
    assert len(text) < 200
