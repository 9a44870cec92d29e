"""Couplings of networks of many kinds: read by hand, and masked = without the dead reads."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning_core.model.coupling.assemble import TOGETHER
from pruning_core.model.coupling.dependent_masks import dead_inputs, dependent_masks, is_exact
from pruning_core.model.coupling.positions import HEAD_ROWS, IS_OUTPUT, Coupling
from pruning_core.model.coupling.proof import irregular, rows_without
from pruning_core.model.coupling.trace import NOT_READ, couplings
from pruning_core.model.inventory import inventory, stored
from pruning_core.types import Example, Layer, Masks
from tests.core.evaluation.test_partial_forward import seeded
from tests.core.model.coupling.networks import CHANNELS, NETWORKS, Head, Parameter, head
from tests.core.toy import is_sentence

Known = tuple[nn.Module, tuple[Layer, ...], tuple[Coupling, ...]]
IMAGE = torch.rand(2, *CHANNELS, generator=torch.Generator().manual_seed(3))


def known_of(model: nn.Module, x: Example = CHANNELS) -> Known:
    layers = inventory(model.eval(), x)
    return model, layers, couplings(model, layers, x)


@cache
def of(name: str) -> Known:
    return known_of(seeded(NETWORKS[name][0]))


def random_masks(layers: tuple[Layer, ...], known: tuple[Coupling, ...], seed: int) -> Masks:
    """Masks without a random subset of the channels of every proved coupling."""
    rng = torch.Generator().manual_seed(seed)
    removed: dict[str, Tensor] = {}
    for coupling in known:
        subset = irregular(coupling.channels, rng)
        if coupling.reason is None:
            removed |= rows_without(coupling, subset, layers)
    shapes = {layer.name: layer.shape for layer in layers}
    return {name: ~rows[:, None, None, None].expand(shapes[name]) for name, rows in removed.items()}


@torch.no_grad()
def outputs(model: nn.Module, x: Tensor) -> Tensor:
    result = model(x)
    return result[0] if isinstance(result, tuple) else result


def dead_reads_matter(known: Known, x: Tensor, seed: int) -> bool:
    """Does the masked network change with the weights that only read removed channels?"""
    model, layers, ties = known
    masks = random_masks(layers, ties, seed)
    work = deepcopy(model)
    by_name = {layer.name: layer for layer in layers}
    with torch.no_grad():
        for name, mask in masks.items():
            work.get_parameter(name).masked_fill_(~stored(mask, by_name[name]), 0)
        for name, keep in dependent_masks(model, layers, masks, ties).items():
            work.get_parameter(name).masked_fill_(~keep, 0)
        before = outputs(work, x)
        for name, keep in dead_inputs(model, layers, masks, ties).items():
            work.get_parameter(name).masked_fill_(~keep, 7.0)
    return not torch.allclose(before, outputs(work, x), rtol=1e-4, atol=1e-5)


def test_what_is_tied_to_a_layer_and_why_it_cannot_be_pruned() -> None:
    wrong = {}
    for name, (_, (tied, reason)) in NETWORKS.items():
        first = of(name)[2][0]
        layers = " ".join(layer.removesuffix(".weight") for layer in first.layers)
        text = first.reason or ""
        right = text == "" if not reason else reason in text and is_sentence(text)
        if not right or layers != tied:
            wrong[name] = (layers, text)
    assert wrong == {}


def test_weights_that_read_removed_channels_have_no_effect() -> None:
    assert [n for n in NETWORKS for seed in (1, 2) if dead_reads_matter(of(n), IMAGE, seed)] == []


def test_random_numbers_are_the_same_in_every_run() -> None:
    known = known_of(head(lambda n, x: functional.dropout(n.a(x), 0.5, training=True)))
    assert known[2][0].reason is None


def reads(known: Known, of_layer: str = "a.weight") -> dict[str, dict[int, int]]:
    """Of the coupling with that layer: parameter -> position -> channel."""
    own = next(c for c in known[2] if of_layer in c.layers)
    return {
        place.parameter: dict(zip(place.positions.tolist(), place.channels.tolist(), strict=True))
        for place in own.reads
    }


def test_positions_by_hand() -> None:
    in_order = dict(enumerate(range(8)))
    assert reads(of("gate of one channel")) == {"b.weight": in_order}
    assert reads(of("roll")) == {"b.weight": {k: (k - 3) % 8 for k in range(8)}}
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    assert reads(of("channel shuffle")) == {"b.weight": dict(enumerate(order))}
    assert reads(of("space to depth")) == {"b.weight": {k: k // 4 for k in range(32)}}
    assert reads(of("depthwise multiplier")) == {"b.weight": {k: k // 2 for k in range(16)}}
    shuffle = of("pixel shuffle")[2][0]
    assert shuffle.channels == 2
    assert shuffle.members[0].channels.tolist() == [0] * 4 + [1] * 4
    padded = of("padded shortcut")[2][0]
    rows = {place.parameter: place.channels.tolist() for place in padded.members}
    assert rows["a.weight"] == rows["c.weight"][2:10]
    halves = known_of(
        head(
            lambda n, x: torch.cat(
                [part(y) for part, y in zip((n.c, n.d), n.a(x).chunk(2, 1), strict=True)], 1
            ),
            c=nn.Conv2d(4, 3, 1),
            d=nn.Conv2d(4, 5, 1),
        )
    )
    assert reads(halves) == {
        "c.weight": {k: k for k in range(4)},
        "d.weight": {k: k + 4 for k in range(4)},
    }


def test_a_bare_parameter_follows_only_along_its_proved_axis() -> None:
    follows = {
        name: [
            (place.parameter, place.axis)
            for place in of(name)[2][0].follows
            if "p.w" in place.parameter
        ]
        for name in NETWORKS
        if "parameter" in name
    }
    assert follows == {
        "parameter H x W": [],
        "parameter of a row": [],
        "parameter per channel": [("p.w", 0)],
        "parameter C x H x W": [("p.w", 0)],
        "added parameter H x W": [],
        "parameter that is moved": [("p.w", 0)],
    }
    for side in (4, 5, 8):
        model, layers, ties = known_of(
            head(lambda n, x: n.a(x) * n.p.w[:6, :6].mean(), p=Parameter(side + 6, side + 6))
        )
        masks = random_masks(layers, ties, 1)
        assert "p.w" not in dependent_masks(model, layers, masks, ties)


def test_an_averaging_norm_is_noted() -> None:
    noted = {name for name in NETWORKS if of(name)[2][0].note is not None}
    assert noted == {"group norm", "RMS norm"}
    unit = known_of(head(lambda n, x: functional.normalize(n.a(x), dim=1)))[2][0]
    assert (unit.reason, unit.note) == (None, TOGETHER)


class Heads(nn.Module):
    """Two outputs, as a tuple or by name."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.a = nn.Linear(12, 8)
        self.cls = nn.Linear(8, 4)
        self.aux = nn.Linear(8, 6)
        self.named = named

    def forward(self, x: Tensor) -> object:
        h = self.a(x.flatten(1)).relu()
        both = self.cls(h), self.aux(h)
        return dict(zip(("logits", "more"), both, strict=True)) if self.named else both


@pytest.mark.parametrize("named", [False, True])
def test_every_head_is_an_output_and_reads(named: bool) -> None:
    model, layers, ties = known_of(Heads(named), (3, 2, 2))
    assert [own.reason for own in ties] == [None, IS_OUTPUT, IS_OUTPUT]
    masks = {"a.weight": torch.zeros(8, 12, 1, 1, dtype=torch.bool)}
    dead = dead_inputs(model, layers, masks, ties)
    assert {name: int((~keep).sum()) for name, keep in dead.items()} == {
        "cls.weight": 32,
        "aux.weight": 48,
    }


def test_reads_of_a_grouped_convolution_stay_inside_its_groups() -> None:
    model, layers, ties = known_of(
        nn.Sequential(
            nn.Conv2d(3, 8, 1),
            nn.Conv2d(8, 8, 3, groups=2),
            nn.Conv2d(8, 6, 1),
            nn.Flatten(),
            nn.Linear(6 * 4, 4),
        ),
        (3, 4, 4),
    )
    keep = torch.ones(6, 8, 1, 1, dtype=torch.bool)
    keep[:3] = False
    dead = dead_inputs(model, layers, {"2.weight": keep}, ties)
    assert {name: int((~kept).sum()) for name, kept in dead.items()} == {"4.weight": 3 * 4 * 4}
    reads = [place for place in ties[0].reads if place.parameter == "1.weight"]
    inside = [(place.rows, place.positions.tolist()) for place in reads]
    assert inside == [((0, 4), [0, 1, 2, 3]), ((4, 8), [0, 1, 2, 3])]


def test_a_reason_in_one_layer_leaves_thinned_counts_of_others_exact_or_unknown() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.Sigmoid(), nn.Conv2d(8, 6, 1), nn.Flatten(), nn.Linear(24, 4)
    )
    _, layers, ties = known_of(model, (3, 2, 2))
    lost = {
        layer.name: torch.arange(layer.shape[0])[:, None, None, None].expand(layer.shape) > 0
        for layer in layers
    }
    exact = {name: is_exact(layers, {name: lost[name]}, ties, heads=False) for name in lost}
    assert exact == {"0.weight": False, "2.weight": True, "4.weight": True}


def test_a_transformer_with_a_padding_mask() -> None:
    """Also where torch would take its fast path with nested tensors."""

    class Padded(nn.Module):
        def __init__(self, fast: bool) -> None:
            super().__init__()
            self.table = nn.Embedding(11, 8)
            block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.encoder = nn.TransformerEncoder(block, 2, enable_nested_tensor=fast)
            self.f = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            encoded = self.encoder(self.table(x), src_key_padding_mask=x == 0)
            return self.f(encoded[:, 0])

    x = torch.tensor([[4, 7, 1, 0, 0]])
    known = known_of(seeded(lambda: Padded(fast=False)), x)
    fast = couplings(seeded(lambda: Padded(fast=True)).eval(), known[1], x)
    assert [own.reason for own in fast] == [own.reason for own in known[2]]
    stream = next(own for own in known[2] if "encoder.layers.0.linear2.weight" in own.layers)
    assert stream.reason is None
    assert stream.note is not None
    assert ("table.weight", 1) in {(place.parameter, place.axis) for place in stream.follows}
    assert [own.reason for own in known[2]].count(HEAD_ROWS) == 2
    assert not dead_reads_matter(known, x, 1)


def test_rows_with_one_bias_are_tied_and_those_with_another_sum_are_refused() -> None:
    class Added(Head):
        """Both convolutions have one bias; the last matrix product adds a constant."""

        c: nn.Parameter
        d: nn.Linear

        def forward(self, x: Tensor) -> Tensor:
            y = torch.cat(
                [nn.functional.conv2d(x, w, self.a.bias) for w in (self.a.weight, self.c)], 1
            )
            z = torch.addmm(x.new_ones(6), y.mean((2, 3)), self.d.weight.T)
            return self.f(z)

    model = Added(lambda _n, x: x)
    model.c = nn.Parameter(torch.rand(8, 3, 3, 3))
    model.d = nn.Linear(16, 6)
    known = known_of(model)
    reasons = {" ".join(own.layers): own.reason or "" for own in known[2]}
    assert reasons["c a.weight"] == ""
    assert "not its bias" in reasons["d.weight"]
    assert not any(dead_reads_matter(known, IMAGE, seed) for seed in (1, 2))


def test_layers_that_are_never_called_are_refused_and_others_are_not() -> None:
    model = head(lambda n, x: n.a(x), spare=nn.Conv2d(3, 5, 1))
    reasons = {own.layers[0]: own.reason for own in known_of(model)[2]}
    assert reasons == {
        "a.weight": None,
        "b.weight": None,
        "f.weight": IS_OUTPUT,
        "spare.weight": NOT_READ,
    }


def test_thinned_counts_are_not_known_beside_a_layer_that_the_input_does_not_reach() -> None:
    class Routed(nn.Module):
        """A layer and two experts, of which the input chooses one."""

        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 6)
            self.experts = nn.ModuleList([nn.Linear(6, 4), nn.Linear(6, 4)])

        def forward(self, x: Tensor) -> Tensor:
            return self.experts[int(x.sum() > 0)](self.a(x))

    _, layers, ties = known_of(Routed(), torch.ones(1, 3))
    assert [own.reason for own in ties] == [None, NOT_READ, IS_OUTPUT]
    lost = {"a.weight": (torch.arange(6) > 1)[:, None, None, None].expand(6, 3, 1, 1)}
    assert not is_exact(layers, lost, ties, heads=False)
    assert is_exact(layers, {"a.weight": torch.ones(6, 3, 1, 1).bool()}, ties, heads=False)


def test_a_weight_that_is_read_twice_is_dead_only_if_both_reads_are() -> None:
    class Shared(Head):
        c: nn.Module

        def forward(self, x: Tensor) -> Tensor:
            return self.f((self.b(self.a(x)) + self.b(self.c(x))).mean((2, 3)))

    shared = Shared(lambda _n, x: x)
    shared.c = nn.Conv2d(3, 8, 3)
    model, layers, ties = known_of(shared)
    assert [own.layers for own in ties[:2]] == [("a.weight", "c.weight"), ("b.weight",)]
    lost = torch.arange(8)[:, None, None, None].expand(8, 3, 3, 3) > 2
    assert dead_inputs(model, layers, {"a.weight": lost}, ties) == {}
    both = dead_inputs(model, layers, {"a.weight": lost, "c.weight": lost}, ties)
    assert (~both["b.weight"]).nonzero()[:, 1].unique().tolist() == [0, 1, 2]


def test_networks_of_other_types_and_inference_tensors_are_copied() -> None:
    layers = inventory(seeded(lambda: head(lambda n, x: n.a(x))).eval(), CHANNELS)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        model = seeded(lambda: head(lambda n, x: n.a(x))).to(dtype).eval()
        assert [own.reason for own in couplings(model, layers, CHANNELS)] == [None, None, IS_OUTPUT]
    with torch.inference_mode():
        model = seeded(lambda: head(lambda n, x: n.a(x))).eval()
        assert [own.reason for own in couplings(model, layers, CHANNELS)] == [None, None, IS_OUTPUT]


def test_both_sides_of_a_grouped_transposed_convolution_lose_as_many_of_each_group() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ConvTranspose2d(8, 6, 3, groups=2), nn.Flatten(), nn.Linear(96, 4)
    )
    ties = known_of(model, (3, 2, 2))[2][:2]
    assert [own.reason for own in ties] == [None, None]
    rows = [own.members[0].channels.tolist() for own in ties]
    assert rows == [[0, 1, 2, 3] * 2, [0, 1, 2] * 2]


def test_readers_of_a_module_with_two_names_are_known() -> None:
    block = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 8), nn.ReLU())
    known = known_of(nn.Sequential(block, block, nn.Linear(8, 4)), (8,))
    model, layers, _ = known
    assert layers[0].aliases
    lost = {"0.0.weight": torch.arange(6)[:, None, None, None].expand(6, 8, 1, 1) > 1}
    dead = dead_inputs(model, layers, lost, known[2])
    assert {name: (~keep).nonzero()[:, 1].unique().tolist() for name, keep in dead.items()} == {
        "0.2.weight": [0, 1]
    }
    assert not dead_reads_matter(known, torch.rand(2, 8), 0)


def test_a_bias_of_two_layers_stays_until_both_lose_a_row() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 4)
            self.b = nn.Linear(3, 4)
            self.b.bias = self.a.bias
            self.f = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.f(torch.cat([self.a(x), self.b(x)], 1))

    model, layers, ties = known_of(Shared(), (3,))
    lost = torch.arange(4)[:, None, None, None].expand(4, 3, 1, 1)
    assert (ties[0].layers, ties[0].reason) == (("a.weight", "b.weight"), None)
    assert dependent_masks(model, layers, {"a.weight": lost > 1}, ties) == {}
    both = dependent_masks(model, layers, {"a.weight": lost > 1, "b.weight": lost > 0}, ties)
    assert {name: keep.tolist() for name, keep in both.items()} == {
        "a.bias": [False, True, True, True],
        "b.bias": [False, True, True, True],
    }


def test_channels_that_a_torchscript_part_reads_are_known() -> None:
    with pytest.warns(FutureWarning, match="deprecated"):
        part = torch.jit.script(nn.Sequential(nn.Linear(6, 8), nn.ReLU()))
    known = known_of(nn.Sequential(nn.Linear(3, 6), part, nn.Linear(8, 2)), (3,))
    assert [own.reason for own in known[2]] == [None, IS_OUTPUT]
    assert [place.parameter for place in known[2][0].reads] == ["1.0.weight"]
