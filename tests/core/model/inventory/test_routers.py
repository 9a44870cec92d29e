"""Matrices in one parameter are experts where a router chooses among them, else stacked."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning_core.criteria import CRITERIA
from pruning_core.granularity import GRANULARITIES, supports
from pruning_core.model.inventory import inventory, reads

COUNT = 4


class Stack(nn.Module):
    """Up and down matrices in 3-d parameters; tokens (T x 8) -> outputs (4 x T x 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.randn(COUNT, 6, 8) / 3)
        self.down = nn.Parameter(torch.randn(COUNT, 8, 6) / 3)

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(COUNT, -1, -1).bmm(self.up.mT).relu().bmm(self.down.mT)


class Heads(Stack):
    """Attention between the heads of each token: scores by a softmax over as many heads."""

    def forward(self, x: Tensor) -> Tensor:
        values = x.expand(COUNT, -1, -1).bmm(self.up.mT).transpose(0, 1)
        weights = (values @ values.mT).softmax(-1)
        return torch.einsum("teh,edh->ted", weights @ values, self.down).sum(1)


class Dense(Stack):
    """Every expert runs; the router scales what they give, as in GPT-OSS."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(8, COUNT)

    def forward(self, x: Tensor) -> Tensor:
        return (super().forward(x) * self.router(x).softmax(-1).t()[..., None]).sum(0)


class Scaled(Dense):
    """The router scales what the experts read, as in Llama 4."""

    def forward(self, x: Tensor) -> Tensor:
        scores = self.router(x)
        best, chosen = scores.topk(1, -1)
        share = torch.full_like(scores, -torch.inf).scatter(1, chosen, best).sigmoid()
        rows = (x * share.t()[..., None]).bmm(self.up.mT).relu()
        return rows.bmm(self.down.mT).sum(0)


class Sparse(Dense):
    """Each expert reads the tokens that choose it, as in Mixtral."""

    def forward(self, x: Tensor) -> Tensor:
        share, chosen = self.router(x).softmax(-1).topk(2, -1)
        out = torch.zeros_like(x)
        for number in chosen.unique().tolist():
            token, place = torch.where(chosen == number)
            hidden = functional.linear(x[token], self.up[number]).relu()
            given = functional.linear(hidden, self.down[number])
            out.index_add_(0, token, given * share[token, place, None])
        return out


class Gathered(Dense):
    """The weights of each token's experts are gathered, as in transformers' `batched_mm`."""

    def forward(self, x: Tensor) -> Tensor:
        share, chosen = self.router(x).softmax(-1).topk(2, -1)
        rows = x.repeat_interleave(2, 0)[:, None]
        hidden = rows.bmm(self.up[chosen.flatten()].mT).relu()
        given = hidden.bmm(self.down[chosen.flatten()].mT).view(*chosen.shape, -1)
        return (given * share[..., None]).sum(1)


class Counted(Dense):
    """The softmax of a layer that has another number of outputs is no choice among the heads."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return Stack.forward(self, x * self.router(x).softmax(-1)).sum(0)


class Tower(nn.Module):
    """Blocks with residual sums, one after the other."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x[0])
        for block in self.blocks:
            x = x + block(functional.layer_norm(x, (8,)))
        return self.last(x.mean(0, keepdim=True))


def test_matrices_are_experts_only_where_a_router_chooses_among_them() -> None:
    torch.manual_seed(0)
    blocks = (Heads(), Sparse(), Heads(), Dense(), Heads(), Scaled(), Counted(), Gathered())
    tower = Tower(*blocks)
    layers = {layer.name: layer for layer in inventory(tower, (16, 8))}
    kinds = [
        {layers[f"blocks.{place}.{name}"].kind for name in ("up", "down")}
        for place in range(len(tower.blocks))
    ]
    stacked = {"stacked"}
    experts = {"experts"}
    assert kinds == [stacked, experts, stacked, experts, stacked, experts, stacked, experts]
    reasons = {
        kind: supports(GRANULARITIES["filter"], layers[f"blocks.{place}.up"]) or ""
        for place, kind in enumerate(["stacked", "experts"])
    }
    assert "several matrices in one parameter" in reasons["stacked"]
    assert "several experts in one parameter" in reasons["experts"]


def test_gathered_experts_count_as_those_that_read_their_tokens() -> None:
    torch.manual_seed(0)
    gathered = Tower(Gathered())
    sparse = Tower(Sparse())
    sparse.load_state_dict(gathered.state_dict())
    x = torch.rand(3, 16, 8)
    assert torch.allclose(gathered(x), sparse(x), atol=1e-6)
    layers = inventory(gathered, x)
    assert layers == inventory(sparse, x)
    by_name = {layer.name: layer for layer in layers}
    assert by_name["blocks.0.up"].macs == 16 * 2 * 6 * 8
    batches = ((x[:1], torch.zeros(1).long()),)
    one, other = (CRITERIA["wanda"](model, layers, batches) for model in (gathered, sparse))
    assert all(torch.allclose(one[name], other[name], rtol=1e-4) for name in one)
    assert one["blocks.0.up"].any()


def test_experts_of_any_size_are_listed_without_a_number_for_each_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    tower = Tower(Heads(), Sparse(), Dense())
    wanted = inventory(tower, (16, 8))
    with monkeypatch.context() as patched:
        patched.setattr(reads, "_offsets", lambda _view: pytest.fail("numbers single weights"))
        assert inventory(tower, (16, 8)) == wanted
        patched.setattr(reads.WeightReads, "_first", lambda *_: None)
        with pytest.raises(pytest.fail.Exception, match="numbers single weights"):
            inventory(tower, (16, 8))
    monkeypatch.setattr(reads.WeightReads, "_first", lambda *_: None)
    assert inventory(tower, (16, 8)) == wanted


class Looked(nn.Module):
    """Rows of a bare table, chosen by the input, times bare matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(9, 8))
        self.place = nn.Parameter(torch.randn(5, 8))
        self.mix = nn.Parameter(torch.randn(8, 6))
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.table[x] + self.place
        return self.out((rows @ self.mix).relu().mean(1))


def test_rows_that_the_input_chooses_are_data_of_the_next_product() -> None:
    layers = inventory(Looked(), torch.tensor([[0, 3, 5, 5, 8]]))
    assert [(layer.name, layer.kind, layer.macs) for layer in layers] == [
        ("mix", "matrix", 5 * 8 * 6),
        ("out.weight", "linear", 6 * 3),
    ]
