"""Criteria that read activations, against the authors' loop and by hand."""

from functools import partial

import torch
from torch import Tensor, nn

from pruning_core.criteria import criterion
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer
from tests.core.toy import refusal


def test_wanda_is_the_weight_times_the_norm_of_its_input() -> None:
    """The authors' running mean over samples of ||x_j||^2, one sample of tokens at a time."""
    rng = torch.Generator().manual_seed(2)
    model = nn.Linear(3, 2, bias=False)
    tokens = torch.randn(5, 4, 3, generator=rng)
    scaler = torch.zeros(3)
    for n, sample in enumerate(tokens):
        scaler = scaler * n / (n + 1) + sample.T.norm(p=2, dim=1) ** 2 / (n + 1)
    wanted = model.weight.detach().abs() * scaler.sqrt()
    batches = [(tokens[:2], torch.zeros(2)), (tokens[2:], torch.zeros(3))]
    found = criterion("wanda")(
        model, (Layer("weight", "", "linear", (2, 3, 1, 1), (2, 3)),), batches
    )["weight"]
    torch.testing.assert_close(found[:, :, 0, 0], wanted)


def test_apoz_and_mean_activation_worked_by_hand() -> None:
    """Outputs x and 1 - x for x = -1, 0, 2, 3: each twice above zero, with means 5/4 and 3/4."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8, 2))
    model[0].weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    model[0].bias.data = torch.tensor([0.0, 1.0])
    conv, _ = inventory(model, (1, 2, 2))
    batches = [(torch.tensor([-1.0, 0.0, 2.0, 3.0]).view(1, 1, 2, 2), torch.tensor([0]))]
    assert criterion("apoz")(model, (conv,), batches)[conv.name].flatten().tolist() == [0.5, 0.5]
    assert criterion("mean_activation")(model, (conv,), batches)[conv.name].flatten().tolist() == [
        1.25,
        0.75,
    ]


def test_outputs_that_no_call_shows_are_refused() -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.r = nn.GRU(3, 4, batch_first=True)
            self.w = nn.Parameter(torch.rand(4, 4))
            self.f = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.f((self.r(x)[0][:, -1] @ self.w).relu())

    model = Other().eval()
    batches = [(torch.rand(2, 5, 3), torch.tensor([0, 1]))]
    for layer in inventory(model, torch.rand(1, 5, 3)):
        if layer.name != "f.weight":
            for name in ("apoz", "mean_activation"):
                text = refusal(partial(criterion(name), model, (layer,), batches))
                assert layer.name in text
