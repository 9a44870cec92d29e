"""What does not fit is refused when a network is opened, in one sentence that names it."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning_core import workspace
from tests.core.toy import refusal

X = torch.rand(12, 1, 2, 2, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3
BOTH = (X, Y)


class OneRow(nn.Module):
    """Gives one row for all samples."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)).mean(0, keepdim=True)


class Huge:
    """States more samples than memory could list."""

    def __len__(self) -> int:
        return 10**12

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return X[0], 1


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def mean_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 where the answer is right. Its loss is one number for all samples."""
    return (outputs.argmax(1) == targets).float()


vars(mean_loss).update(loss=functional.cross_entropy)

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"valid": BOTH}, "There is no argument of workspace called 'valid'; did you mean 'val'?"),
    ({"tset": BOTH}, "did you mean 'test'?"),
    ({"model": nn.Conv2d(1, 3, 1)}, "give task=, such as 'segmentation'."),
    ({"model": nn.Flatten(0)}, "give task=, such as 'binary'."),
    ({"train": (X, torch.rand(12, 1))}, "give task=, such as 'regression'."),
    ({"train": (X, torch.ones(12, 3))}, "give task=, such as 'multi_label'."),
    ({"train": (X, torch.ones(12, 1))}, "give task=, such as 'binary'."),
    ({"train": (X, torch.ones(12, 2, 2))}, "give task=, such as 'segmentation'."),
    ({"task": mean_loss}, "so of shape (2,), not (). Losses of torch give one with reduction="),
    ({"classes": 2.5}, "classes= is 2.5"),
    ({"classes": [1, 2, 3]}, "classes= is [1, 2, 3]"),
    ({"classes": -1}, "classes= is -1"),
    ({"classes": ()}, "classes= is ()"),
    ({"outputs": "ab"}, "outputs= is 'ab'"),
    ({"outputs": []}, "outputs= is []"),
    ({"samples": "ten"}, "samples= is 'ten'"),
    ({"samples": True}, "samples= is True"),
    ({"samples": 0}, "samples= is 0"),
    ({"memory": "lots"}, "memory= is 'lots'"),
    ({"embeddings": "no"}, "embeddings= is 'no'"),
    ({"batch": 5}, "batch= is 5"),
    ({"transform": "resize"}, "transform= is 'resize'"),
    ({"name": 3}, "name= is 3"),
    ({"example": 3}, "Reading example= failed"),
    ({"example": torch.rand(2, 9)}, "The network on example= failed"),
    ({"train": (X[:0], Y[:0])}, "train= has no samples"),
    ({"test": (X[:0], Y[:0])}, "test= has no samples"),
    ({"test": (torch.rand(12, 1, 4, 4), Y)}, "The network on the first samples of test= failed"),
    ({"test": [(x, "cat") for x in X]}, "targets of test= are texts, such as 'cat'"),
    ({"train": (X, np.array(["cat"] * 12))}, "targets of train= are texts, such as 'cat'"),
    ({"train": Huge()}, "train= has 1,000,000,000,000 samples: give samples="),
    ({"model": OneRow()}, "gives 1 rows of logits for 2 samples"),
    ({"task": "token_agreement"}, "needs outputs samples x tokens x vocabulary"),
]


def test_each_argument_that_does_not_fit_is_named() -> None:
    wrong = {}
    for number, (change, words) in enumerate(REFUSED):
        arguments: dict[str, Any] = {"model": network(), "train": BOTH, "test": BOTH} | change
        sentence = refusal(partial(workspace, **arguments))
        if words not in sentence:
            wrong[number, words] = sentence
    assert not wrong


def test_samples_that_are_no_images_are_not_called_images() -> None:
    words = nn.Sequential(nn.Embedding(5, 2), nn.Flatten(), nn.Linear(8, 3))
    tokens = torch.arange(48).view(12, 4) % 5
    for model, x, expected in (
        (network(), X, "images"),
        (network(), X.flatten(1), "samples"),
        (words, tokens, "sequences"),
    ):
        task = workspace(model, train=(x, Y), test=(x, Y)).dataset.task
        assert (task.name, task.samples) == ("classification", expected)
