"""Channels that are removed in whole groups, and with the columns of an embedding."""

from functools import partial

import torch
from torch import Tensor, nn

from pruning_core.evaluation.metrics import measure
from pruning_core.export import masks_by_parameter
from pruning_core.masks import apply_masks
from pruning_core.model.coupling.assemble import ONE_CLASS
from pruning_core.model.coupling.dependent_masks import dead_inputs, dependent_masks
from tests.core.evaluation.test_partial_forward import seeded
from tests.core.model.coupling.networks import head
from tests.core.model.coupling.test_foreign import dead_reads_matter, known_of
from tests.core.toy import is_sentence


def grouped(groups: int, *more: nn.Module) -> nn.Module:
    parts = (nn.Conv2d(2, 8, 1), nn.Conv2d(8, 8, 1, groups=groups), *more)
    return seeded(lambda: nn.Sequential(*parts, nn.Flatten(), nn.Linear(32, 2)))


def test_narrow_groups_are_removed_whole_and_wide_ones_lose_as_many_channels_each() -> None:
    x = torch.rand(2, 2, 2, 2)
    narrow = known_of(grouped(4), (2, 2, 2))
    (tied, _) = narrow[2]
    rows = [place.channels.tolist() for place in tied.members]
    assert (tied.layers, rows) == (("0.weight", "1.weight"), [[0, 0, 1, 1, 2, 2, 3, 3]] * 2)
    wide = known_of(grouped(2), (2, 2, 2))
    first, second, _ = wide[2]
    rows = [own.members[0].channels.tolist() for own in (first, second)]
    assert rows == [[0, 1, 2, 3, 0, 1, 2, 3]] * 2
    assert {own.reason for own in (tied, first, second)} == {None}
    assert not any(dead_reads_matter(known, x, seed) for known in (narrow, wide) for seed in (1, 2))


def test_groups_that_cannot_lose_as_many_channels_have_the_reason() -> None:
    """The first convolution reads an image. A sum may tie all channels to each other."""
    first = seeded(
        lambda: nn.Sequential(nn.Conv2d(4, 8, 1, groups=2), nn.Flatten(), nn.Linear(32, 2))
    )
    assert known_of(first, (4, 2, 2))[2][0].reason is None
    half = head(
        lambda n, x: n.g(torch.cat([n.a(x)[:, :4], x.repeat(1, 2, 1, 1)[:, :4, 1:-1, 1:-1]], 1)),
        g=nn.Conv2d(8, 8, 1, groups=2),
    )
    why = known_of(half)[2][0].reason or ""
    assert is_sentence(why)
    assert "g is a grouped convolution" in why
    added = head(lambda n, x: n.a(x) + n.a(x).roll(1, 1))
    assert known_of(added)[2][0].reason == ONE_CLASS


class Table(nn.Module):
    """An embedding whose table is the output weight too, around a residual add."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(6, width)
        self.a = nn.Linear(width, 5)
        self.b = nn.Linear(5, width)
        self.out = nn.Linear(width, 6, bias=False)
        self.out.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.table(x)
        out: Tensor = self.out(x + self.b(self.a(x).relu()))
        return out


@torch.no_grad()
def test_an_embedding_that_is_the_output_weight_loses_its_columns() -> None:
    tokens = torch.tensor([[0, 3, 5, 1]])
    model, layers, ties = known_of(seeded(lambda: Table(4)), tokens)
    stream = next(own for own in ties if "b.weight" in own.layers)
    assert stream.reason is None
    keep = torch.tensor([True, False, False, True])
    masks = {"b.weight": keep[:, None, None, None].expand(4, 5, 1, 1)}
    dependent = dependent_masks(model, layers, masks, ties)
    assert torch.equal(dependent["out.weight"], keep.expand(6, 4))
    thin = Table(2).eval()
    thin.table.weight.copy_(model.get_parameter("table.weight")[:, keep])
    thin.a.weight.copy_(model.get_parameter("a.weight")[:, keep])
    thin.a.bias.copy_(model.get_parameter("a.bias"))
    thin.b.weight.copy_(model.get_parameter("b.weight")[keep])
    thin.b.bias.copy_(model.get_parameter("b.bias")[keep])
    masked = apply_masks(model, masks, layers, dependent)
    assert torch.allclose(masked(tokens), thin(tokens), atol=1e-6)
    dead = dead_inputs(model, layers, masks, ties)
    report = measure(model, layers, masks, dependent, dead)
    assert report.thinned_nonzeros == sum(own.numel() for own in thin.parameters())
    own = {"out.weight": torch.ones(6, 4, 1, 1, dtype=torch.bool)}
    own["out.weight"][0] = False
    exported = masks_by_parameter(own | masks, layers, dependent)
    assert int(exported["table.weight"].sum()) == int(exported["out.weight"].sum()) == 10
    both = measure(model, layers, own, dependent)
    assert both.nonzeros == sum(p.numel() for p in model.parameters()) - 14 - 2


class Recurrent(nn.Module):
    """The last state of a recurrent layer, which starts at zeros."""

    def __init__(self, kind: type[nn.GRU] | type[nn.RNN], hidden: int) -> None:
        super().__init__()
        self.r = kind(3, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 2)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.out(self.r(x)[0][:, -1])
        return made


@torch.no_grad()
def test_hidden_units_of_recurrent_layers_are_tied_over_their_gates() -> None:
    x = torch.rand(2, 5, 3)
    keep = torch.tensor([True, False, True, False])
    for kind, gates in ((nn.GRU, 3), (nn.RNN, 1)):
        model, layers, ties = known_of(seeded(partial(Recurrent, kind, 4)), x)
        assert (ties[0].layers, ties[0].channels) == (("r.weight_ih_l0", "r.weight_hh_l0"), 4)
        assert ties[0].reason is None
        rows = keep.repeat(gates)
        shapes = {layer.name: layer.shape for layer in layers}
        masks = {name: rows[:, None, None, None].expand(shapes[name]) for name in ties[0].layers}
        masked = apply_masks(model, masks, layers, dependent_masks(model, layers, masks, ties))
        thin = Recurrent(kind, 2).eval()
        for name, own in thin.named_parameters():
            part: Tensor = model.get_parameter(name)
            part = part[rows] if name.startswith("r.") else part
            own.copy_(part[:, keep] if part.shape[-1] == 4 and part.ndim > 1 else part)
        assert torch.allclose(masked(x), thin(x), atol=1e-6)


class Bags(nn.Module):
    """Sums and means of rows of tables, added to what a Linear makes of them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sums = nn.EmbeddingBag(6, width, mode="sum")
        self.means = nn.EmbeddingBag(6, width)
        self.a = nn.Linear(width, width)
        self.out = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        both = self.sums(x) + self.means(x)
        made: Tensor = self.out(both + self.a(both).relu())
        return made


@torch.no_grad()
def test_tables_whose_rows_are_summed_lose_their_columns() -> None:
    tokens = torch.tensor([[0, 3, 5, 1]])
    model, layers, ties = known_of(seeded(partial(Bags, 4)), tokens)
    assert (ties[0].layers, ties[0].reason) == (("a.weight",), None)
    keep = torch.tensor([True, False, False, True])
    masks = {"a.weight": keep[:, None, None, None].expand(4, 4, 1, 1)}
    masked = apply_masks(model, masks, layers, dependent_masks(model, layers, masks, ties))
    thin = Bags(2).eval()
    for name, own in thin.named_parameters():
        part: Tensor = model.get_parameter(name)
        part = part[keep] if name.startswith("a.") else part
        own.copy_(part[:, keep] if part.ndim > 1 else part)
    assert torch.allclose(masked(tokens), thin(tokens), atol=1e-6)
