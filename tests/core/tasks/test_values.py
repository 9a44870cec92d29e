"""Values, losses and extras of every task against sums by hand."""

import math
import pickle
from dataclasses import replace
from functools import partial

import pytest
import torch

from pruning_core.evaluation.accuracy import evaluate, summarise
from pruning_core.intervals import wilson_interval
from pruning_core.tasks import TASKS, Classification, as_task, find_task
from tests.core.tasks import own_task
from tests.core.tasks.task_spaces import CausalModel, space_of
from tests.core.toy import refusal


def nats(logits: list[float], label: int) -> float:
    return math.log(sum(math.exp(value) for value in logits)) - logits[label]


def test_classification_leaves_out_samples_without_a_label() -> None:
    logits = torch.tensor([[2.0, 0], [0, 1], [3, 0], [0, 4]])
    found = summarise(logits, torch.tensor([0, 0, -100, 1]))
    assert (found.n, found.value, found.values.tolist()) == (3, 2 / 3, [1.0, 0.0, 1.0])
    assert found.loss == pytest.approx((nats([2, 0], 0) + nats([0, 1], 0) + nats([0, 4], 1)) / 3)
    assert found.classes is not None
    assert found.classes.confusion.tolist() == [[1, 1], [0, 1]]
    assert found.classes.predictions.tolist() == [0, 1, 0, 1]
    assert "-100" in refusal(lambda: summarise(logits, torch.tensor([0, 0, -1, 1])))
    assert "'binary'" in refusal(lambda: summarise(logits[:, :1], torch.tensor([0, 0, 1, 1])))
    assert "another task" in refusal(lambda: summarise(logits[None], torch.zeros(1, 4)))


def test_loss_of_classification_has_the_bits_of_cross_entropy() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(1001, 13, generator=rng)
    labels = torch.randint(0, 13, (1001,), generator=rng)
    wanted = torch.nn.functional.cross_entropy(logits.double(), labels)
    assert summarise(logits, labels).loss == float(wanted)


def test_binary_and_labels_by_hand() -> None:
    logits = torch.tensor([[2.0], [-1.0], [0.5], [3.0]])
    binary = summarise(logits, torch.tensor([1, 0, 0, -100]), TASKS["binary"])
    assert (binary.n, binary.value, binary.interval) == (3, 2 / 3, wilson_interval(2, 3))
    by_hand = sum(math.log1p(math.exp(value)) for value in (-2.0, -1.0, 0.5)) / 3
    assert binary.loss == pytest.approx(by_hand)
    assert binary.extras == {"F1": pytest.approx(2 / 3)}
    flat = summarise(logits[:3, 0], torch.tensor([1, 0, 0]), TASKS["binary"])
    assert (flat.value, flat.loss) == (binary.value, binary.loss)
    several = summarise(
        torch.tensor([[1.0, -1, 1], [-1, -1, 1]]),
        torch.tensor([[1.0, 1, -100], [0, 0, 1]]),
        TASKS["multi_label"],
    )
    assert several.value == pytest.approx(4 / 5)
    assert several.values.tolist() == [0.5, 1.0]
    assert several.extras == {"all labels right": 0.5, "F1": pytest.approx(4 / 5)}
    assert "0 and 1" in refusal(lambda: summarise(logits, torch.tensor([2, 0, 0, 1]), binary.task))
    assert "one logit" in refusal(
        lambda: summarise(torch.zeros(2, 3), torch.zeros(2, 3), TASKS["binary"])
    )


def test_segmentation_by_hand() -> None:
    """Two images of four pixels, three classes; one pixel has no label, class 2 is nowhere."""
    answers = torch.tensor([[[0, 0], [1, 1]], [[1, 1], [1, 0]]])
    targets = torch.tensor([[[0, 1], [1, 255]], [[1, 1], [1, 1]]])
    logits = 4.0 * torch.nn.functional.one_hot(answers, 3).permute(0, 3, 1, 2)
    found = summarise(logits, targets, TASKS["segmentation"])
    # Class 0: intersection 1, union 3. Class 1: intersection 4, union 6.
    assert found.value == pytest.approx((1 / 3 + 4 / 6) / 2)
    assert found.values.tolist() == pytest.approx([(1 / 2 + 1 / 2) / 2, (0 / 1 + 3 / 4) / 2])
    assert found.extras == {"pixel accuracy": pytest.approx(5 / 7)}
    right = nats([4, 0, 0], 0)
    wrong = nats([4, 0, 0], 1)
    assert found.loss == pytest.approx((5 * right + 2 * wrong) / 7)
    assert found.task.loss(logits, targets) == pytest.approx(found.loss)
    channel = summarise(logits, targets[:, None], TASKS["segmentation"])
    assert (channel.value, channel.loss) == (found.value, found.loss)
    assert torch.equal(channel.values, found.values)
    assert found.task.loss(logits, targets[:, None]) == found.task.loss(logits, targets)
    assert "fractions" in refusal(
        lambda: summarise(logits, targets[:, None] / 255, TASKS["segmentation"])
    )
    assert "label 3" in refusal(
        lambda: summarise(logits, torch.full_like(targets, 3), TASKS["segmentation"])
    )
    assert "positions" in refusal(lambda: summarise(logits, targets[:, :1], TASKS["segmentation"]))


def test_regression_by_hand() -> None:
    outputs = torch.tensor([[1.0, 0], [2, 0], [4, 0]])
    targets = torch.tensor([[1.0, 1], [3, 1], [5, 2]])
    found = summarise(outputs, targets, TASKS["regression"])
    assert found.value == pytest.approx(math.sqrt((1 + 1 + 1 + 1 + 4) / 6))
    assert found.values.tolist() == pytest.approx([math.sqrt(k / 2) for k in (1, 2, 5)])
    assert found.loss == pytest.approx(8 / 6)
    # Sums of squared errors 2 and 6; of distances from the mean 8 and 2 / 3.
    r2 = ((1 - 2 / 8) + (1 - 6 / (2 / 3))) / 2
    assert found.extras == {"R²": pytest.approx(r2), "MAE": pytest.approx(6 / 6)}
    column = summarise(outputs[:, 0], targets[:, :1], TASKS["regression"])
    assert column.value == pytest.approx(math.sqrt(2 / 3))
    assert "per output" in refusal(lambda: summarise(outputs, targets[:, 0], found.task))
    assert "NaN" in refusal(lambda: summarise(outputs, targets / 0, found.task))
    smooth = partial(found.task.loss, outputs, targets, label_smoothing=0.1)
    assert "Label smoothing" in refusal(smooth)


def test_language_models_by_hand() -> None:
    logits = torch.tensor([[[2.0, 0], [0, 1], [5, 5]], [[0, 3], [1, 0], [5, 5]]])
    tokens = torch.tensor([[0, 0, 1], [1, 1, -100]])
    found = summarise(logits, tokens, TASKS["language_model"])
    losses = (nats([2, 0], 0), nats([0, 1], 1), nats([0, 3], 1))
    assert found.loss == pytest.approx(sum(losses) / 3)
    assert found.value == pytest.approx(math.exp(sum(losses) / 3))
    assert found.values.tolist() == pytest.approx(
        [math.exp(sum(losses[:2]) / 2), math.exp(losses[2])]
    )
    assert found.extras == {"next-token accuracy": 1.0}
    given = summarise(logits[:, :2], tokens[:, 1:], TASKS["next_token"])
    assert (given.value, given.loss) == pytest.approx((found.value, found.loss))
    empty = summarise(logits, torch.tensor([[0, 0, 1], [-100] * 3]), found.task)
    assert (empty.n, empty.value) == (1, pytest.approx(math.exp(sum(losses[:2]) / 2)))
    far = summarise(1e4 * logits, 1 - tokens.clamp_min(0), found.task)
    assert math.isfinite(far.value)


def test_agreement_needs_no_labels() -> None:
    for name in ("agreement", "segmentation_agreement", "regression_agreement", "token_agreement"):
        base = {
            "agreement": "agreement",
            "segmentation_agreement": "segmentation",
            "regression_agreement": "regression",
            "token_agreement": "language_model",
        }[name]
        space = space_of(base)
        task = TASKS[name]
        data = replace(space.dataset, task=task)
        space = replace(space, dataset=data)
        split = space.dataset.test
        dense = evaluate(space.model, split, task=task, device="cpu")
        best = 0.0 if name == "regression_agreement" else 1.0
        assert dense.value == pytest.approx(best), name
        changed = CausalModel() if base == "language_model" else space.model
        with torch.no_grad():
            weight = space.layers[0].name
            other = pickle.loads(pickle.dumps(changed)).eval()
            other.get_parameter(weight).mul_(-1)
        assert task.better(best, evaluate(other, split, task=task, device="cpu").value), name


def test_agreement_is_the_share_of_equal_answers() -> None:
    space = space_of("agreement")
    x, y = next(space.dataset.test.subset(range(20)).batches(20))
    assert isinstance(x, torch.Tensor)
    assert y.tolist() == space.model(x).argmax(1).tolist()
    assert space.dataset.train.subset([3, 1]).labels.tolist() == [
        int(next(space.dataset.train.subset([at]).batches(1))[1]) for at in (3, 1)
    ]


def test_a_function_becomes_a_task() -> None:
    task = find_task("tests.core.tasks.own_task:within_one")
    outputs = torch.tensor([[0.0, 0], [2, 0], [0.5, 0.5]])
    found = summarise(outputs, torch.zeros(3, 2), task)
    assert (found.value, found.loss) == pytest.approx((2 / 3, (0 + 1 + 0.5) / 3))
    assert (task.label, task.percent) == ("within one", True)
    assert as_task(own_task.within_one).name == task.name
    assert pickle.loads(pickle.dumps(task)) == task
    assert as_task("regression") is TASKS["regression"]
    custom = Classification(ignore_index=9)
    assert as_task(custom) is custom
    for path, words in {
        "tests.core.tasks.own_task:no_loss": "no_loss.loss",
        "tests.core.tasks.own_task:missing": "missing",
        "tests.core.tasks.own_task:math": "has no 'math'",
        "no_such_module:task": "no_such_module",
        "perplexities": "no task 'perplexities'",
    }.items():
        assert words in refusal(partial(find_task, path)), path
    one = find_task("tests.core.tasks.own_task:one_number")
    assert "one number per sample" in refusal(lambda: summarise(outputs, outputs, one))
