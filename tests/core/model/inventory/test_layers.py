"""Every prunable parameter once, with its view, multiply-adds, batch norm, heads and flags."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pruning_core.model.inventory import inventory, oihw, unprunable_parameters, weights
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.toy import Toy, refusal, same_state, state


def counted_macs(model: nn.Module, shape: tuple[int, ...]) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(torch.zeros(1, *shape))
    return counter.get_total_flops() // 2


class Attending(nn.Module):
    """Attention whose tokens are the rows of the image; keys and values may have other widths."""

    def __init__(self, e: int = 8, heads: int = 2, kdim: int | None = None) -> None:
        super().__init__()
        self.kdim = kdim
        self.mix = nn.MultiheadAttention(e, heads, kdim=kdim, vdim=kdim, batch_first=True)
        self.out = nn.Linear(e, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x[:, 0]
        other = tokens if self.kdim is None else tokens[..., : self.kdim]
        return self.out(self.mix(tokens, other, other.clone(), need_weights=False)[0].mean(1))


class Tied(nn.Module):
    """Two linear modules share one weight, and a third module has two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.twice = nn.Linear(4, 4)
        self.again = self.twice

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.twice(self.second(self.first(x.flatten(1)))))


class PreActivation(nn.Module):
    """Norm, ReLU, convolution, repeated: only one convolution feeds a batch norm directly."""

    def __init__(self, depth: int = 12) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(depth))
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(depth))
        self.last = nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = conv(torch.relu(norm(x))) * 1.0
        return self.norm(self.last(x))


def test_toy_has_whole_number_answers() -> None:
    assert Toy()(torch.ones(1, 1, 2, 2)).tolist() == [[22, 78, 134]]


def test_toy_layers() -> None:
    conv, fc = inventory(Toy(), (1, 2, 2))
    assert (conv.name, conv.module, conv.kind, conv.shape, conv.param_shape) == (
        "0.weight",
        "0",
        "conv2d",
        (2, 1, 2, 2),
        (2, 1, 2, 2),
    )
    assert (conv.macs, conv.bn, conv.is_output, conv.heads, conv.groups, conv.numel) == (
        8,
        "1",
        False,
        0,
        1,
        8,
    )
    assert (fc.name, fc.kind, fc.shape, fc.param_shape) == (
        "3.weight",
        "linear",
        (3, 2, 1, 1),
        (3, 2),
    )
    assert (fc.macs, fc.bn, fc.is_output, fc.numel) == (6, None, True, 6)


def test_views() -> None:
    model = nn.Sequential(nn.Conv1d(2, 4, 3, bias=False), nn.Flatten(), nn.Linear(8, 2, bias=False))
    conv, fc = inventory(model, (2, 4))
    assert (conv.kind, conv.shape, conv.param_shape, conv.macs) == (
        "conv1d",
        (4, 2, 1, 3),
        (4, 2, 3),
        24 * 2,
    )
    found = weights(model, (conv, fc))
    assert torch.equal(found[conv.name], model.get_parameter("0.weight").detach()[:, :, None, :])
    assert torch.equal(found[fc.name], model.get_parameter("2.weight").detach()[:, :, None, None])
    assert not any(w.requires_grad for w in found.values())


def test_views_of_non_contiguous_weights() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3, 2)).to(
        memory_format=torch.channels_last
    )
    model[2].weight = nn.Parameter(torch.arange(6.0).view(3, 2).t())
    layers = inventory(model, (2, 3, 3))
    assert weights(model, layers)["2.weight"][:, :, 0, 0].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert torch.equal(
        oihw(model.get_parameter("0.weight"), layers[0]), model.get_parameter("0.weight")
    )


@pytest.mark.parametrize(
    ("groups", "kind", "per_filter"), [(1, "conv2d", 4), (2, "conv2d", 2), (4, "depthwise", 1)]
)
def test_grouped_and_depthwise_convolutions(groups: int, kind: str, per_filter: int) -> None:
    model = nn.Conv2d(4, 8, 3, padding=1, groups=groups)
    (found,) = inventory(model, (4, 5, 5))
    assert (found.name, found.kind, found.groups, found.shape) == (
        "weight",
        kind,
        groups,
        (8, per_filter, 3, 3),
    )
    assert found.macs == 25 * found.numel == counted_macs(model, (4, 5, 5))


def test_attention_with_one_packed_weight() -> None:
    packed, out, head = inventory(Attending(), (1, 5, 8))
    assert (packed.name, packed.kind, packed.shape, packed.heads) == (
        "mix.in_proj_weight",
        "attention_in",
        (24, 8, 1, 1),
        2,
    )
    assert (out.name, out.kind, out.shape, out.heads) == (
        "mix.out_proj.weight",
        "attention_out",
        (8, 8, 1, 1),
        2,
    )
    assert (packed.macs, out.macs, head.macs) == (5 * 192, 5 * 64, 24)
    assert head.is_output
    assert not out.is_output


def test_attention_with_separate_projections() -> None:
    layers = inventory(Attending(kdim=6), (1, 5, 8))
    assert [(x.name, x.kind, x.shape) for x in layers[:4]] == [
        ("mix.q_proj_weight", "attention_proj", (8, 8, 1, 1)),
        ("mix.k_proj_weight", "attention_proj", (8, 6, 1, 1)),
        ("mix.v_proj_weight", "attention_proj", (8, 6, 1, 1)),
        ("mix.out_proj.weight", "attention_out", (8, 8, 1, 1)),
    ]
    assert all(x.heads == 2 for x in layers[:4])


def test_tied_weights_are_listed_once() -> None:
    model = Tied()
    first, twice = inventory(model, (1, 2, 2))
    assert (first.name, first.aliases, first.macs) == ("first.weight", ("second.weight",), 32)
    assert (twice.name, twice.aliases, twice.macs) == ("twice.weight", ("again.weight",), 32)
    assert twice.is_output
    assert {f.name for f in unprunable_parameters(model, (first, twice))} == {
        "first.bias",
        "second.bias",
        "twice.bias",
    }


def test_the_output_layer_is_found_before_a_softmax_or_a_pooling() -> None:
    softmax = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.LogSoftmax(-1))
    assert [x.is_output for x in inventory(softmax, (4,))] == [False, True]
    pooled = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    assert [x.is_output for x in inventory(pooled, (1, 6, 6))] == [False, True]
    features = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten())
    assert [x.is_output for x in inventory(features, (1, 6, 6))] == [True]


def test_batch_norm_belongs_to_the_layer_that_feeds_it() -> None:
    layers = inventory(PreActivation(), (4, 6, 6))
    assert {x.name: x.bn for x in layers if x.bn} == {"last.weight": "norm"}


class Named(nn.Module):
    """Calls its layers by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(input=self.conv(input=x)).flatten(1)


def test_layers_called_by_keyword_are_counted_too() -> None:
    (found,) = inventory(Named(), (1, 2, 2))
    assert (found.bn, found.macs) == ("norm", 8)


def test_a_batch_norm_without_a_scale_is_not_listed() -> None:
    (found,) = inventory(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False)), (1, 4, 4)
    )
    assert found.bn is None


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_zoo_batch_norms(name: str) -> None:
    model = ARCHITECTURES[name].build((1, 8, 8), 10)
    layers = inventory(model, (1, 8, 8))
    norms = [path for path, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert sorted(x.bn for x in layers if x.bn) == sorted(norms)
    for found in layers:
        assert found.bn is None or model.get_submodule(found.bn).num_features == found.shape[0]
    assert [x.name for x in layers if x.is_output] == [layers[-1].name]


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet5", "vgg", "resnet20", "mobilenet"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_macs_agree_with_torchs_counter(name: str, shape: tuple[int, int, int]) -> None:
    model = ARCHITECTURES[name].build(shape, 10)
    assert sum(x.macs for x in inventory(model, shape)) == counted_macs(model, shape)


def test_vit_macs_agree_up_to_the_products_of_attention() -> None:
    """Not every torch counts the products of attention, which read no parameter.

    They are 2 x tokens^2 x width in each block: queries x keys and weights x values.
    """
    model = ARCHITECTURES["vit"].build((1, 8, 8), 10)
    extra = counted_macs(model, (1, 8, 8)) - sum(x.macs for x in inventory(model, (1, 8, 8)))
    assert extra in (0, 6 * 2 * 16**2 * 64)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_parameter_is_prunable_or_unprunable(name: str) -> None:
    model = ARCHITECTURES[name].build((1, 8, 8), 10)
    layers = inventory(model, (1, 8, 8))
    fixed = unprunable_parameters(model, layers)
    names = [x.name for x in layers] + [f.name for f in fixed]
    assert sorted(names) == sorted(n for n, _ in model.named_parameters())
    assert all(tuple(model.get_parameter(x.name).shape) == x.param_shape for x in layers)
    assert all(f.reason for f in fixed)
    assert {x.name for x in layers} <= model.state_dict().keys()


def test_unprunable_parameters_have_reasons() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 2)
    )
    reasons = {f.name: f.reason for f in unprunable_parameters(model, inventory(model, (1, 4, 4)))}
    assert reasons.keys() == {"0.bias", "1.weight", "1.bias", "3.weight", "3.bias", "4.bias"}
    assert reasons["0.bias"].startswith("bias")
    assert reasons["1.weight"].startswith("normalisation")
    assert reasons["3.bias"].startswith("normalisation")


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_not_changed(training: bool) -> None:
    model = ARCHITECTURES["resnet20"].build((1, 8, 8), 10).train(training)
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).train(not training)
    modes = [m.training for m in model.modules()]
    before = state(model)
    inventory(model, (1, 8, 8))
    assert [m.training for m in model.modules()] == modes
    assert same_state(model, before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_bad_models_and_inputs_are_refused_in_a_sentence() -> None:
    assert "to prune" in refusal(
        lambda: inventory(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(1)), (1, 4, 4))
    )
    assert "(2, 2, 2)" in refusal(lambda: inventory(Toy(), (2, 2, 2)))
    assert "shape" in refusal(
        lambda: inventory(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm1d(1)), (1, 2, 2))
    )
    model = nn.Sequential(nn.Conv2d(1, 1, 5))
    before = [m.training for m in model.modules()]
    refusal(lambda: inventory(model, (1, 2, 2)))
    assert [m.training for m in model.modules()] == before
    assert not any(m._forward_hooks for m in model.modules())


def test_the_first_convolution_is_marked_once() -> None:
    for arch, entry in ARCHITECTURES.items():
        first = [x.name for x in inventory(entry.build((1, 8, 8), 10), (1, 8, 8)) if x.is_first]
        assert len(first) == (arch != "lenet_300_100")


def test_the_model_keeps_its_mode_and_its_hooks() -> None:
    model = ARCHITECTURES["resnet20"].build((1, 8, 8), 10).train()
    inventory(model, (1, 8, 8))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class Counting(nn.Module):
    """Changes a buffer and keeps a value in every call, in evaluation mode too."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(4, 2)
        self.kept: list[Tensor] = []
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.kept.append(x)
        return self.f(x) + self.calls


def test_a_model_that_changes_itself_when_called_stays_as_it_is() -> None:
    model = Counting()
    inventory(model, (4,))
    assert float(model.calls) == len(model.kept) == 0


class Odd(nn.Module):
    """A layer without outputs and one of complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.empty = nn.Linear(4, 1)
        self.empty.weight = nn.Parameter(torch.zeros(0, 4))
        self.empty.register_parameter("bias", None)
        self.turn = nn.Linear(4, 4, dtype=torch.cfloat)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([self.turn(x.to(torch.cfloat)).real, self.empty(x)], 1))


def test_parts_that_cannot_be_pruned_are_named() -> None:
    with pytest.warns(FutureWarning, match="deprecated"):
        part = torch.jit.script(nn.Sequential(nn.Linear(6, 8), nn.ReLU()))
    model = nn.Sequential(nn.Linear(4, 6), part, nn.Linear(8, 2))
    layers = inventory(model, (4,))
    assert [layer.name for layer in layers] == ["0.weight", "2.weight"]
    reasons = {each.name: each.reason for each in unprunable_parameters(model, layers)}
    assert "TorchScript" in reasons["1.0.weight"]

    odd = Odd()
    layers = inventory(odd, (4,))
    assert [layer.name for layer in layers] == ["out.weight"]
    reasons = {each.name: each.reason for each in unprunable_parameters(odd, layers)}
    assert "no values" in reasons["empty.weight"]
    assert "complex" in reasons["turn.weight"]

    class DynamicLinear(nn.Module):
        """Stands for torch's own, whose packed weights need a back end for this processor."""

        __module__ = "torch.ao.nn.quantized.dynamic.modules.linear"

    quantised = nn.Sequential(nn.Linear(4, 6), DynamicLinear())
    assert "1 is a quantised module" in refusal(lambda: inventory(quantised, (4,)))
