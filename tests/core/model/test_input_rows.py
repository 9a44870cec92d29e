"""The rows that a layer's weights are multiplied with, against what its module gives."""

import pytest
import torch
from torch import Tensor, nn

from pruning_core.model import input_rows
from pruning_core.model.input_rows import WeightMatrices, weight_matrices
from pruning_core.model.inventory import inventory
from pruning_core.model.inventory.reads import PlainKernels
from pruning_core.model.model_io import named_inputs

MODULES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "conv2d": (nn.Conv2d(4, 6, 3, (2, 1), 1, dilation=(1, 2), bias=False), (4, 9, 8)),
    "groups": (nn.Conv2d(4, 6, (3, 5), groups=2, padding="same"), (4, 6, 7)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="reflect"), (4, 5, 5)),
    "conv1d": (nn.Conv1d(3, 5, 3, 2, padding=1), (3, 11)),
    "conv3d": (nn.Conv3d(2, 3, (1, 2, 3), padding=(0, 1, 0)), (2, 3, 4, 5)),
    "linear": (nn.Linear(6, 5), (7, 6)),
}


def seen_calls(model: nn.Module, known: list[WeightMatrices], x: Tensor) -> list[Tensor]:
    """The rows of each product in one forward pass."""
    rows: dict[int, Tensor] = {}
    for number, product in enumerate(known):

        def note(module, args, kwargs, number=number, product=product):  # type: ignore[no-untyped-def]
            rows[number] = product.rows(named_inputs(module, args, kwargs))

        product.module.register_forward_pre_hook(note, with_kwargs=True)
    with torch.no_grad(), PlainKernels():
        model(x)
    return [rows[number] for number in range(len(known))]


@pytest.mark.parametrize("kind", MODULES)
def test_weights_times_rows_are_the_outputs(kind: str) -> None:
    module, shape = MODULES[kind]
    model = nn.Sequential(module)
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    (product,) = weight_matrices(model, inventory(model, shape))
    (rows,) = seen_calls(model, [product], x)
    given = (rows @ product.matrices(product.weight).mT).detach()
    assert isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
    bias = 0 if module.bias is None else module.bias.detach()
    out = model(x).detach()
    out = out.movedim(1, -1) if kind != "linear" else out
    out = out.flatten(0, -2) - bias
    joined = given.movedim(0, 1).flatten(1)  # outputs of a group lie side by side
    assert torch.allclose(joined, out, atol=1e-5)


class Attention(nn.Module):
    """Attention of a sequence to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention(x, x, x.view_as(x), need_weights=False)[0]
        return out


def test_an_attention_has_three_projections_and_the_heads_outputs() -> None:
    model = Attention().eval()
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    known = weight_matrices(model, inventory(model, x[:1]))
    assert [(p.layer.kind, p.start) for p in known] == [
        ("attention_in", 0),
        ("attention_in", 8),
        ("attention_in", 16),
        ("attention_out", 0),
    ]
    *projections, heads = seen_calls(model, known, x)
    assert all(rows[0].equal(x.flatten(0, 1)) for rows in projections)
    projection = model.attention.out_proj
    out = heads[0] @ projection.weight.T + projection.bias
    assert torch.allclose(out, model(x).flatten(0, 1), atol=1e-5)


def test_rows_are_sampled_the_same_way_in_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_rows, "MOST_ROWS", 40)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1))
    (product,) = weight_matrices(model, inventory(model, (1, 6, 6)))
    x = torch.randn(4, 1, 6, 6)
    (rows,) = seen_calls(model, [product], x)
    (again,) = seen_calls(model, [product], 2 * x)
    assert rows.shape == (1, 40, 9)
    assert again.equal(2 * rows)


def test_other_modules_have_no_rows() -> None:
    class Scaled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(2 * input)

    model = nn.Sequential(Scaled(4, 4), nn.Unflatten(1, (4, 1, 1)), nn.ConvTranspose2d(4, 2, 2))
    assert weight_matrices(model, inventory(model, torch.ones(1, 4))) == []
