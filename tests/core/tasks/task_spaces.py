"""A tiny untrained network with data for each task."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from pruning_core.model.inventory import inventory
from pruning_core.tasks import find_task
from pruning_core.types import Dataset, Inputs
from pruning_core.workspaces import Workspace
from tests.core.toy import MemorySplit

N = 48


class Forecast(nn.Module):
    """A GRU over a sequence, then two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 8, batch_first=True)
        self.hidden = nn.Linear(8, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        steps, _ = self.gru(x)
        hidden: Tensor = self.head(self.hidden(steps[:, -1]).relu())
        return hidden


class CausalModel(nn.Module):
    """Embedding, a convolution that sees earlier tokens only, a linear layer."""

    def __init__(self, vocabulary: int = 11) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 8)
        self.mix = nn.Conv1d(8, 12, 3)
        self.head = nn.Linear(12, vocabulary)

    def forward(self, input_ids: Tensor) -> dict[str, Tensor]:
        x = nn.functional.pad(self.embedding(input_ids).transpose(1, 2), (2, 0))
        return {"logits": self.head(self.mix(x).relu().transpose(1, 2))}


def pixels() -> tuple[nn.Module, Tensor, Tensor]:
    """Segmentation into three classes by brightness; some pixels have no label."""
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 1)
    )
    x = torch.randn(N, 1, 6, 6)
    targets = torch.bucketize(x[:, 0], torch.tensor([-0.5, 0.5]))
    targets[:, 0, 0] = 255
    return model, x, targets


def forecasts() -> tuple[nn.Module, Tensor, Tensor]:
    """Regression of two numbers."""
    x = torch.randn(N, 5, 3)
    return Forecast(), x, torch.stack([x.sum((1, 2)), x[:, -1, 0]], 1)


def texts() -> tuple[nn.Module, Tensor, Tensor]:
    """Texts in which a token's successor is fixed; two positions of each are not counted."""
    start = torch.randint(0, 11, (N, 1))
    tokens = (start + 3 * torch.arange(7)) % 11
    targets = tokens.clone()
    targets[:, :2] = -100
    return CausalModel(), tokens, targets


def several_labels() -> tuple[nn.Module, Tensor, Tensor]:
    x = torch.randn(N, 6)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), x, (x[:, :3] > 0).float()


def single_logit() -> tuple[nn.Module, Tensor, Tensor]:
    x = torch.randn(N, 6)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1)), x, (x[:, 0] > 0).long()


def without_labels() -> tuple[nn.Module, Tensor, Tensor]:
    x = torch.randn(N, 6)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), x, torch.zeros(N)


MAKERS: dict[str, Callable[[], tuple[nn.Module, Tensor, Tensor]]] = {
    "segmentation": pixels,
    "regression": forecasts,
    "language_model": texts,
    "multi_label": several_labels,
    "binary": single_logit,
    "agreement": without_labels,
    "tests.core.tasks.own_task:within_one": forecasts,
}


def space_of(task: str) -> Workspace:
    """The workspace of a task; the same for every call."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model, x, targets = MAKERS[task]()
    model.eval()
    split = MemorySplit(x, targets)
    third = N // 3
    train = split.subset(range(third))
    val = split.subset(range(third, N))
    data = Dataset("noise", (), (1, 6, 6), train, val, val, task=find_task(task))
    example: Inputs = x[:2]
    layers = inventory(model, example)
    layers = tuple(replace(layer, macs=max(1, layer.macs)) for layer in layers)
    return Workspace(model, data, layers, (), example)
