"""What `workspace` cannot open, each with one sentence."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from pruning_core import Plan, Workspace, choose_masks, workspace
from tests.core.subjects.test_from_objects import Stream, X, Y, network
from tests.core.toy import is_sentence, refusal


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("\x1b[96mfirst\x1b[0m line\nand more")


class Casting(nn.Module):
    """Casts its input to the type that its weights have where they are in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(36, 3).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(x.flatten(1).to(torch.bfloat16))
        return out


class Graph(nn.Module):
    """Adds the neighbours of every sample's parts, by a sparse matrix."""

    def __init__(self, *, persistent: bool) -> None:
        super().__init__()
        self.register_buffer("near", torch.eye(36).to_sparse(), persistent=persistent)
        self.hidden = nn.Linear(36, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sparse.mm(self.get_buffer("near"), x.flatten(1).T).T
        out: Tensor = self.head(self.hidden(x))
        return out


def endless() -> Workspace:
    return workspace(network(), train=Stream(endless=True), memory=10_000)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no network": (lambda: workspace(3, train=(X, Y)), "not an nn.Module"),
    "no train": (lambda: workspace(network(), None), "train= is missing"),
    "a number": (lambda: workspace(network(), 5), "train= is a whole number:"),
    "an iterator": (lambda: workspace(network(), iter([(X, Y)])), "only once"),
    "one tensor": (lambda: workspace(network(), X), "a pair (inputs, targets)"),
    "an empty list": (lambda: workspace(network(), []), "has no samples"),
    "no folder": (lambda: workspace(network(), "not/there"), "does not exist"),
    "three parts": (
        lambda: workspace(network(), TensorDataset(X, Y, Y)),
        "has 3 parts: say which part is what with batch=",
    ),
    "a dict without labels": (
        lambda: workspace(network(), [{"x": x} for x in X]),
        "has the keys x, and none of them",
    ),
    "a cast to half precision": (
        lambda: workspace(Casting(), (X, Y)),
        "where its code casts to bfloat16, cast to the type of the weights",
    ),
    "a lazy module": (lambda: workspace(nn.LazyLinear(3), (X, Y)), "has no shape yet"),
    "a network on meta": (lambda: workspace(nn.Linear(6, 3, device="meta"), (X, Y)), "no values"),
    "a sparse buffer": (lambda: workspace(Graph(persistent=True), (X, Y)), "persistent=False"),
    "an unknown task": (lambda: workspace(network(), (X, Y), task="regresion"), "'regression'?"),
    "another task's targets": (
        lambda: workspace(network(), (X, Y), task="regression"),
        "Regression needs one target per output",
    ),
    "an endless stream": (endless, "has not ended after"),
    "targets of another length": (lambda: workspace(network(), (X, Y[:-1])), "30 inputs but"),
    "real targets": (lambda: workspace(network(), (X, Y.float())), "one class number per sample"),
    "a class too many": (lambda: workspace(network(), (X, Y + 1)), "class number 3"),
    "a negative class": (lambda: workspace(network(), (X, Y - 1)), "class number -1"),
    "names of other classes": (
        lambda: workspace(network(), (X, Y), classes=["a", "b"]),
        "give outputs=",
    ),
    "inputs of another shape": (lambda: workspace(network(), (X[:, :, 1:], Y)), "line "),
    "an error in the network": (
        lambda: workspace(Failing(), (X, Y)),
        f"RuntimeError: first line ({__file__}, line ",
    ),
    "too few samples": (lambda: workspace(network(), (X[:2], Y[:2])), "too few"),
}


def test_what_cannot_be_opened_gives_one_sentence() -> None:
    wrong = {}
    for kind, (call, words) in REFUSED.items():
        text = refusal(call)
        if words not in text or not is_sentence(text):
            wrong[kind] = text
    assert not wrong


def test_a_network_with_a_sparse_buffer_that_is_not_stored_is_pruned() -> None:
    space = workspace(Graph(persistent=False), (X, Y))
    for criterion in ("wanda", "synflow", "taylor"):
        plan = Plan(granularity="filter", sparsity=0.4, criterion=criterion)
        assert int((~choose_masks(plan, space)[1]["hidden.weight"]).sum()) == 2 * 36
