"""Networks whose calls depend on each other or on chance, and outputs that a task does not read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pruning_core import Plan, prune, workspace
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.export import script_text
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.tasks import Classification
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished
from pruning_core.workspaces import Workspace
from tests.core.toy import is_sentence, refusal

X = torch.rand(80, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0.5).long()


class Counting(nn.Module):
    """Its logits depend on how often, or with what, it was called before."""

    def __init__(self, change: Callable[[Any, Tensor], None]) -> None:
        super().__init__()
        self.a = nn.Linear(6, 8)
        self.b = nn.Linear(8, 2)
        self.register_buffer("n", torch.zeros(()))
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        self.change(self, x)
        made: Tensor = self.b(self.a(x).relu()) + torch.tensor([0.0, 0.5]) * self.get_buffer("n")
        return made


def assign(net: Any, _x: Tensor) -> None:
    net.n = net.n + 1


CHANGES: dict[str, Callable[[Any, Tensor], Any]] = {
    "in place": lambda net, x: net.n.add_(1),
    "assigned": assign,
    "average": lambda net, x: net.n.mul_(0.5).add_(x.mean()),
}


def opened(model: nn.Module, **options: Any) -> Workspace:
    return workspace(model, train=(X, Y), test=(X, Y), **options)


def test_a_network_that_changes_its_buffers_gives_the_same_at_every_call() -> None:
    wrong = {}
    for name, change in CHANGES.items():
        space = opened(Counting(change))
        assert [x.is_output for x in space.layers] == [False, True]
        plan = Plan(space.name, space.dataset.name, granularity="filter", probe=40)
        plain = evaluate(space.model, space.dataset.test).loss
        scans = [
            next(p.loss for p in scan_plan(plan, space, grid) if p.sparsity == 0.5)
            for grid in ((0.25, 0.5), (0.5, 0.75))
        ]
        facts = {
            "noted": any("changes its buffers" in note for note in space.notes),
            "scans": scans[0] == scans[1],
            "again": evaluate(space.model, space.dataset.test).loss == plain,
            "stored": float(space.model.get_buffer("n")) == 0,
        }
        if not all(facts.values()):
            wrong[name] = facts
    assert wrong == {}


def test_the_script_holds_the_buffers_too() -> None:
    for name, change in CHANGES.items():
        space = opened(Counting(change))
        script = script_text(Plan(), space, tuned=False)
        start = script.index("def hold(network):")
        network = Counting(change).eval()
        lines: dict[str, Any] = {"model": network}
        exec(script[start : script.index("hold(model)") + len("hold(model)")], lines)
        with torch.inference_mode():
            assert torch.equal(network(X), network(X)), name
    assert "def hold" not in script_text(Plan(), opened(nn.Linear(6, 2)), tuned=False)


def test_training_changes_the_buffers_that_are_held() -> None:
    """What training leaves is held from then on."""
    space = opened(Counting(CHANGES["in place"]))
    tune = TrainConfig(epochs=1, batch_size=40)
    *_, run = prune(Plan(space.name, space.dataset.name, fine_tune=tune), space)
    assert isinstance(run, Finished)
    counted = run.model.get_buffer("n").clone()
    assert counted > 0
    run.model(X)
    assert run.model.get_buffer("n") == counted


class Dropping(nn.Linear):
    """Dropout in evaluation mode too."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.5, training=True))


class Two(nn.Module):
    """Two heads; the second is read by no loss of classification."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(6, 2)
        self.two = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.one(x), "other": self.two(x)}


def test_chance_and_outputs_that_are_not_read_are_noted() -> None:
    kinds = {"other outputs each time": Dropping(6, 2), "2 outputs": Two()}
    for words, model in kinds.items():
        (note,) = [note for note in opened(model).notes if words in note]
        assert is_sentence(note.partition(". ")[0] + ".")
    assert not any(word in note for note in opened(nn.Linear(6, 2)).notes for word in kinds)


@dataclass(frozen=True, kw_only=True)
class Named(Classification):
    """Reads one of the outputs by its name."""

    def outputs(self, out: Any) -> Tensor:
        made: Tensor = out["other"]
        return made


def test_frozen_parameters_are_noted() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    assert not any("frozen" in note for note in opened(model).notes)
    model[0].requires_grad_(False)
    (note,) = [note for note in opened(model).notes if "frozen" in note]
    assert note.startswith("2 parameters of the network are frozen, such as 0.weight: ")


def test_tokens_that_the_task_moves_twice_or_never_are_noted() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
    tokens = torch.randint(0, 5, (20, 9), generator=torch.Generator().manual_seed(0))
    x = tokens[:, :-1]
    after = tokens[:, 1:].clone()
    after[:, -2:] = -100
    for task, targets, word in (
        ("language_model", x, ""),
        ("language_model", after, "choose the task next_token."),
        ("next_token", after, ""),
        ("next_token", x, "choose the task language_model."),
        ("next_token", torch.zeros_like(x), ""),
    ):
        notes = workspace(model, (x, targets), test=(x, targets), task=task).notes
        assert [note.endswith(word) for note in notes if "choose" in note] == [True] * bool(word)


def test_probabilities_in_place_of_logits_are_noted() -> None:
    """Of a sigmoid every answer would be yes; after a softmax, the loss is another one."""
    one = nn.Linear(6, 1)
    two = nn.Linear(6, 2)
    conv = nn.Conv2d(1, 3, 1)
    picture = nn.Sequential(nn.Unflatten(1, (1, 2, 3)), conv)
    for bias in (one.bias, two.bias, conv.bias):
        assert bias is not None
        nn.init.constant_(bias, -3.0)
    yes = torch.arange(len(X))[:, None] % 2
    pixels = yes[..., None].expand(-1, 2, 3)
    for model, last, task, y, word in (
        (one, nn.Sigmoid(), "binary", yes[:, 0], "leave a sigmoid"),
        (two, nn.Sigmoid(), "multi_label", yes.expand(-1, 2), "leave a sigmoid"),
        (two, nn.Softmax(1), "classification", yes[:, 0], "leave the softmax"),
        (picture, nn.Softmax(1), "segmentation", pixels, "leave the softmax"),
        (two, nn.LogSoftmax(1), "classification", yes[:, 0], ""),
        (two, nn.Sigmoid(), "regression", yes.expand(-1, 2).float(), ""),
    ):
        for network, expected in ((nn.Sequential(model, last), word), (model, "")):
            space = workspace(network, (X, y), test=(X, y), task=task)
            notes = [note for note in space.notes if "leave" in note]
            assert [expected in note for note in notes] == [True] * bool(expected), task


def test_synflow_reads_the_outputs_of_the_task() -> None:
    task = Named(name="named", label="Named")
    space = opened(Two(), task=task)
    scores = Plan(space.name, space.dataset.name, criterion="synflow").resolve(space).scores()
    assert scores["two.weight"].min() > scores["one.weight"].max()
    problem = refusal(lambda: opened(Two(), task=task, outputs=[0, 1]))
    assert "outputs= chooses among logits" in problem


class Again(nn.Module):
    """Computes its first layer again in the backward pass."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.last = nn.Linear(8, 2)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        hidden = checkpoint(self.first, x, use_reentrant=self.reentrant)
        made: Tensor = self.last(hidden.relu())
        return made


@dataclass
class Output:
    logits: Tensor


class AgainNamed(Again):
    """Gives its logits by name, in a class of its own."""

    def forward(self, x: Tensor) -> Any:
        return Output(super().forward(x))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpoints_are_refused_where_gradients_are_read() -> None:
    for criterion in ("gradient", "obd", "synflow"):
        plan = Plan(criterion=criterion)
        for network in (Again, AgainNamed):
            problem = refusal(plan.resolve(opened(network(reentrant=True))).scores)
            assert "use_reentrant=False" in problem
        scores = plan.resolve(opened(Again(reentrant=False))).scores()
        assert scores["first.weight"].any()
