"""Norms of inputs against unfolded inputs, and output statistics against the outputs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning_core.criteria import criterion
from pruning_core.model.activation_stats import input_norms, output_stats
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer
from tests.core.toy import refusal, same_state, state

RNG = torch.Generator().manual_seed(4)
MAPS = torch.randn(5, 4, 9, 7, generator=RNG)
LABELS = torch.zeros(5, dtype=torch.long)
BATCHES = [(MAPS[:2], LABELS[:2]), (MAPS[2:], LABELS[2:])]


def unfolded(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Root mean square over images of the norms of the unfolded input's columns, per weight."""
    mode = {"zeros": "constant"}.get(conv.padding_mode, conv.padding_mode)
    padded = functional.pad(x, conv._reversed_padding_repeated_twice, mode=mode)
    columns = functional.unfold(padded, conv.kernel_size, conv.dilation, 0, conv.stride)
    norms = (columns.square().sum((0, 2)) / len(x)).sqrt()
    per_group = norms.view(conv.groups, 1, -1).expand(-1, conv.out_channels // conv.groups, -1)
    return per_group.reshape(conv.weight.shape)


@pytest.mark.parametrize(
    "conv",
    [
        lambda: nn.Conv2d(4, 6, 3),
        lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1),
        lambda: nn.Conv2d(4, 6, (3, 2), dilation=(1, 2), padding="same", bias=False),
        lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
        lambda: nn.Conv2d(4, 8, 3, padding=(2, 1), padding_mode="reflect", groups=4),
        lambda: nn.Conv2d(4, 2, 1),
    ],
    ids=["plain", "stride", "dilation", "grouped", "depthwise", "point"],
)
def test_a_convolutions_norms_are_those_of_the_unfolded_input(
    conv: Callable[[], nn.Conv2d],
) -> None:
    model = conv()
    (layer,) = inventory(model, (4, 9, 7))
    torch.testing.assert_close(
        input_norms(model, (layer,), BATCHES)[layer.name], unfolded(MAPS, model)
    )


def test_a_one_dimensional_convolution_is_a_flat_two_dimensional_one() -> None:
    flat = nn.Conv1d(4, 6, 3, padding=1)
    square = nn.Conv2d(4, 6, (1, 3), padding=(0, 1))
    lines = MAPS.flatten(2)
    (layer,) = inventory(flat, (4, 63))
    norms = input_norms(flat, (layer,), [(lines, LABELS)])[layer.name]
    torch.testing.assert_close(norms, unfolded(lines.unsqueeze(2), square))


class Attention(nn.Module):
    """Two kinds of attention on tokens: packed, and with keys and values of other widths."""

    def __init__(self, packed: bool, bias: bool = True) -> None:
        super().__init__()
        sizes = {} if packed else {"kdim": 2, "vdim": 3}
        self.packed = packed
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True, bias=bias, **sizes)
        if bias:
            nn.init.normal_(self.attend.in_proj_bias)
            nn.init.normal_(self.attend.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.sources(x)
        return self.attend(q, key=k, value=v, need_weights=False)[0]

    def sources(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (x, 2 * x, 3 * x) if self.packed else (x, x[..., :2], x[..., :3])

    def mixed(self, x: Tensor) -> Tensor:
        """What the output projection reads: softmax(q k' / sqrt d) v of each head, side by side."""
        m = self.attend
        w = (
            m.in_proj_weight.chunk(3)
            if self.packed
            else (m.q_proj_weight, m.k_proj_weight, m.v_proj_weight)
        )
        b = m.in_proj_bias.chunk(3) if m.in_proj_bias is not None else (None,) * 3
        q, k, v = (
            functional.linear(s, wi, bi).unflatten(-1, (2, 2)).transpose(1, 2)
            for s, wi, bi in zip(self.sources(x), w, b, strict=True)
        )
        return ((q @ k.mT / 2**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(("packed", "bias"), [(True, True), (True, False), (False, True)])
def test_attention_reads_its_own_inputs_and_its_heads_outputs(packed: bool, bias: bool) -> None:
    model = Attention(packed, bias)
    tokens = MAPS[:, 0, :, :4]
    layers = inventory(model, (9, 4))
    measured = input_norms(model, layers, [(tokens[:2], LABELS[:2]), (tokens[2:], LABELS[2:])])

    def norms(x: Tensor) -> Tensor:
        return (x.detach().square().sum((0, 1)) / len(x)).sqrt().expand(4, -1)

    *parts, mixed = (norms(x) for x in (*model.sources(tokens), model.mixed(tokens)))
    torch.testing.assert_close(measured["attend.out_proj.weight"][:, :, 0, 0], mixed)
    got = (
        measured["attend.in_proj_weight"].chunk(3)
        if packed
        else [measured[f"attend.{k}_proj_weight"] for k in "qkv"]
    )
    for each, wanted in zip(got, parts, strict=True):
        torch.testing.assert_close(each[:, :, 0, 0], wanted)


def test_a_tied_weight_reads_the_inputs_of_all_its_uses() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    (layer,) = inventory(model, (3,))
    x = MAPS[:, 0, 0, :3]
    wanted = ((x.square() + model[0](x).detach().square()).mean(0)).sqrt()
    torch.testing.assert_close(
        input_norms(model, (layer,), [(x, LABELS)])[layer.name][0, :, 0, 0], wanted
    )


class Twice(nn.Module):
    """One module called twice, and one never."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Linear(3, 3)
        self.never = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.again(x))


def test_calls_add_up_and_a_module_never_called_has_zeros() -> None:
    model = Twice()
    x = MAPS[:, 0, 0, :3]
    layers = inventory(model, (3,))
    norms = input_norms(model, layers, [(x, LABELS)])
    wanted = (x.square() + model.again(x).detach().square()).mean(0).sqrt()
    torch.testing.assert_close(norms["again.weight"][0, :, 0, 0], wanted)
    assert not norms["never.weight"].any()
    assert not output_stats(model, layers, [(x, LABELS)])["never.weight"].above.any()


def test_outputs_are_counted_after_the_batch_norm_and_before_it_is_overwritten() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(105, 6),
        nn.ReLU(),
    )
    nn.init.normal_(model.get_parameter("1.weight"))
    nn.init.normal_(model.get_parameter("1.bias"))
    layers = inventory(model, (4, 9, 7))
    before = state(model)
    stats = output_stats(model, layers, BATCHES)
    assert same_state(model, before)
    maps = model.eval()[:2](MAPS).detach().clone()
    torch.testing.assert_close(stats["0.weight"].above, (maps > 0).float().mean((0, 2, 3)))
    torch.testing.assert_close(stats["0.weight"].mean, maps.relu().mean((0, 2, 3)))
    flat = model[:5](MAPS).detach()
    torch.testing.assert_close(stats["4.weight"].above, (flat > 0).float().mean(0))
    torch.testing.assert_close(stats["4.weight"].mean, flat.relu().mean(0))


def test_a_linear_layer_counts_over_tokens_and_a_norm_behind_it_over_its_channels() -> None:
    tokens = MAPS[:, 0, :, :4]
    linear = nn.Linear(4, 6)
    (layer,) = inventory(linear, (9, 4))
    torch.testing.assert_close(
        output_stats(linear, (layer,), [(tokens, LABELS)])[layer.name].mean,
        linear(tokens).relu().mean((0, 1)).detach(),
    )
    normed = nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9))
    (layer,) = inventory(normed, (9, 4))
    assert layer.bn == "1"
    stats = output_stats(normed, (layer,), [(tokens, LABELS)])[layer.name]
    torch.testing.assert_close(stats.mean, normed.eval()(tokens).relu().mean((0, 2)).detach())


def test_no_batches_are_refused_in_a_sentence() -> None:
    model = nn.Linear(2, 2)
    layers: tuple[Layer, ...] = inventory(model, (2,))
    assert "at least one batch" in refusal(lambda: input_norms(model, layers, []))
    assert "at least one batch" in refusal(lambda: output_stats(model, layers, []))


class Vector(nn.Module):
    """Layers called with one sample alone: a learned vector and a learned picture."""

    def __init__(self) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
        self.p = nn.Parameter(torch.arange(4.0).view(1, 2, 2))
        self.style = nn.Linear(3, 4)
        self.conv = nn.Conv2d(1, 4, 1)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x * self.style(self.v) + self.conv(self.p).mean((1, 2)))


def test_a_module_that_reads_one_sample_alone() -> None:
    model = Vector().eval()
    layers = inventory(model, (4,))
    norms = input_norms(model, layers, [(torch.ones(1, 4), LABELS[:1])])
    assert norms["style.weight"][0, :, 0, 0].tolist() == [1, 2, 3]
    assert float(norms["conv.weight"][0]) == pytest.approx(14**0.5)
    stats = output_stats(model, layers, [(torch.ones(1, 4), LABELS[:1])])
    torch.testing.assert_close(
        stats["style.weight"].mean, model.style(model.v).detach().clamp_min(0)
    )
    torch.testing.assert_close(
        stats["conv.weight"].above, (model.conv(model.p) > 0).float().mean((1, 2))
    )


@pytest.mark.parametrize("name", ["wanda", "obs", "apoz"])
def test_a_network_whose_calls_are_vectorised_is_refused_in_a_sentence(name: str) -> None:
    class Mapped(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = torch.vmap(super().forward)(x)
            return made

    model = Mapped(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    layers = inventory(model, (3,))[:1]
    batches = [(torch.rand(5, 3), torch.zeros(5).long())]
    problem = refusal(lambda: criterion(name)(model, layers, batches))
    assert "Reading the activations of the network failed: " in problem
