"""Tied channels, on networks with a known answer and against torch-pruning's own thinning."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache, partial

import pytest
import torch
import torch_pruning
from torch import Tensor, nn
from torchvision import models

from pruning_core.masks import apply_masks
from pruning_core.model.coupling.dependent_masks import dependent_masks
from pruning_core.model.coupling.positions import Coupling
from pruning_core.model.coupling.trace import HEAD_ROWS, IS_OUTPUT, NOT_ZERO, couplings
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer, Masks
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.evaluation.test_partial_forward import TORCHVISION, seeded
from tests.core.toy import is_sentence, same_state, state

SMALL = (1, 8, 8)
PICTURE = (3, 32, 32)
BOTTLENECK = models.resnet.Bottleneck
"""The block of resnet50."""
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    **{name: (partial(arch.build, SMALL, 10), SMALL) for name, arch in ARCHITECTURES.items()},
    "basic_blocks": (
        lambda: models.ResNet(models.resnet.BasicBlock, [2, 1, 1, 1], num_classes=10),
        PICTURE,
    ),
    "bottlenecks": (
        lambda: models.ResNet(BOTTLENECK, [2, 1, 3, 1], num_classes=10, width_per_group=8),
        PICTURE,
    ),
    **{name: (TORCHVISION[name], PICTURE) for name in ("mobilenet_v2", "mobilenet_v3")},
    "densenet": (lambda: models.DenseNet(8, (2, 2), 16, num_classes=10), PICTURE),
    "vit_torchvision": (
        lambda: models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=10),
        PICTURE,
    ),
}
AVERAGED = ("vit", "vit_torchvision")
"""Networks whose layer norms average over channels: removed channels differ from zeroed ones."""


@cache
def traced(
    name: str,
) -> tuple[nn.Module, tuple[Layer, ...], tuple[Coupling, ...], tuple[int, int, int]]:
    build, shape = NETWORKS[name]
    model = seeded(build)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data.uniform_(-0.5, 1)
    layers = inventory(model, shape)
    before = state(model)
    rng = torch.get_rng_state()
    known = couplings(model, layers, shape)
    assert same_state(model, before)
    assert torch.equal(rng, torch.get_rng_state())
    return model, layers, known, shape


def masks_without_channels(
    known: Sequence[Coupling], layers: tuple[Layer, ...], every: int = 3
) -> Masks:
    """Masks without every third channel of every coupling that can be pruned."""
    masks = {layer.name: torch.ones(layer.shape, dtype=torch.bool) for layer in layers}
    for coupling in known:
        for place in coupling.members if coupling.reason is None else ():
            masks[place.parameter][place.positions[place.channels % every == 0]] = False
    return masks


def logits(model: nn.Module, shape: tuple[int, int, int]) -> Tensor:
    with torch.no_grad():
        return model(torch.randn(4, *shape, generator=torch.Generator().manual_seed(2)))


def zeroed(model: nn.Module, keep: dict[str, Tensor]) -> nn.Module:
    for name, mask in keep.items():
        model.get_parameter(name).data.masked_fill_(~mask, 0)
    return model


def thinned(
    model: nn.Module, known: Sequence[Coupling], shape: tuple[int, int, int], every: int = 3
) -> nn.Module:
    """The network without those channels, made smaller by torch-pruning alone."""
    work = deepcopy(model)
    graph = torch_pruning.DependencyGraph().build_dependency(
        work, torch.zeros(1, *shape), verbose=False
    )
    for coupling in known:
        if coupling.reason is None:
            root = work.get_submodule(coupling.members[0].parameter.rpartition(".")[0])
            rows = list(range(0, coupling.channels, every))
            graph.get_pruning_group(
                root,
                torch_pruning.prune_conv_out_channels
                if isinstance(root, nn.Conv2d)
                else torch_pruning.prune_linear_out_channels,
                rows,
            ).prune()
    return work


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in AVERAGED])
def test_the_masked_network_gives_the_thinned_networks_logits(name: str) -> None:
    model, layers, known, shape = traced(name)
    masks = masks_without_channels(known, layers)
    masked = zeroed(apply_masks(model, masks, layers), dependent_masks(model, layers, masks, known))
    small = thinned(model, known, shape)
    assert sum(p.numel() for p in small.parameters()) < 0.7 * sum(
        p.numel() for p in model.parameters()
    )
    torch.testing.assert_close(logits(masked, shape), logits(small, shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_that_read_removed_channels_change_nothing(name: str) -> None:
    model, layers, known, shape = traced(name)
    masks = masks_without_channels(known, layers)
    masked = zeroed(apply_masks(model, masks, layers), dependent_masks(model, layers, masks, known))
    before = logits(masked, shape)
    for place in (
        place for coupling in known if coupling.reason is None for place in coupling.reads
    ):
        masked.get_parameter(place.parameter).data.index_fill_(
            place.axis, place.positions[place.channels % 3 == 0], 7.0
        )
    torch.testing.assert_close(logits(masked, shape), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_in_one_coupling_and_the_model_is_not_changed(name: str) -> None:
    """`traced` compares the model's state."""
    model, layers, known, _ = traced(name)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    assert sorted(name for coupling in known for name in coupling.layers) == sorted(
        layer.name for layer in layers
    )
    for coupling in known:
        assert coupling.reason is None or is_sentence(coupling.reason)
        assert set(torch.cat([place.channels for place in coupling.members]).tolist()) == set(
            range(coupling.channels)
        )
    output = next(coupling for coupling in known if coupling.reason == IS_OUTPUT)
    assert output.layers == tuple(layer.name for layer in layers if layer.is_output)


def test_resnet20s_additions_tie_four_convolutions_each() -> None:
    _, _, known, _ = traced("resnet20")
    tied = [coupling.layers for coupling in known if len(coupling.members) > 1]
    assert tied == [
        (
            "stem.conv.weight",
            "layer1.0.conv2.weight",
            "layer1.1.conv2.weight",
            "layer1.2.conv2.weight",
        ),
        (
            "layer2.0.conv2.weight",
            "layer2.0.shortcut.conv.weight",
            "layer2.1.conv2.weight",
            "layer2.2.conv2.weight",
        ),
        (
            "layer3.0.conv2.weight",
            "layer3.0.shortcut.conv.weight",
            "layer3.1.conv2.weight",
            "layer3.2.conv2.weight",
        ),
    ]
    first = next(coupling for coupling in known if "stem.conv.weight" in coupling.layers)
    assert {place.parameter for place in first.follows} == {
        f"{path}.{name}"
        for path in ("stem.bn", "layer1.0.bn2", "layer1.1.bn2", "layer1.2.bn2")
        for name in ("weight", "bias")
    }
    assert all(
        place.positions.tolist() == place.channels.tolist() == list(range(16))
        for place in first.members
    )
    alone = next(coupling for coupling in known if coupling.layers == ("layer1.0.conv1.weight",))
    assert {place.parameter for place in alone.reads} == {"layer1.0.conv2.weight"}


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("basic_blocks", [3, 2, 2, 2]), ("bottlenecks", [3, 2, 4, 2]), ("vgg", []), ("lenet5", [])],
)
def test_number_of_layers_that_are_removed_together(name: str, sizes: list[int]) -> None:
    known = traced(name)[2]
    assert [len(coupling.members) for coupling in known if len(coupling.members) > 1] == sizes


def test_a_depthwise_convolution_is_tied_to_the_one_before_it() -> None:
    known = traced("mobilenet")[2]
    pairs = [coupling.layers for coupling in known if len(coupling.members) == 2]
    assert pairs[0] == ("stem.conv.weight", "pair1.depthwise.conv.weight")
    assert pairs[4] == ("pair4.pointwise.conv.weight", "pair5.depthwise.conv.weight")
    assert len(pairs) == 5


def test_a_transformers_residual_stream_is_one_coupling_and_head_rows_cannot_be_removed() -> None:
    known = traced("vit")[2]
    stream = max(known, key=lambda coupling: len(coupling.members))
    assert len(stream.members) == 9
    assert {
        "positions",
        "norm.weight",
        "blocks.0.norm1.bias",
        "blocks.3.attention.out_proj.bias",
    } <= {x.parameter for x in stream.follows}
    assert "blocks.0.attention.in_proj_weight" in {place.parameter for place in stream.reads}
    heads = [coupling for coupling in known if coupling.reason == HEAD_ROWS]
    assert [coupling.layers for coupling in heads] == [
        (f"blocks.{k}.attention.in_proj_weight",) for k in range(4)
    ]


class Joined(nn.Module):
    """c(x) + [a(x), b(x)]: a's rows are tied to c's first rows, b's to c's last rows."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 2, 1)
        self.b = nn.Conv2d(1, 3, 1)
        self.c = nn.Conv2d(1, 5, 1)
        self.end = nn.Conv2d(5, 4, 1)
        self.fc = nn.Linear(4 * 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.end(self.c(x) + torch.cat([self.a(x), self.b(x)], 1)).flatten(1))


def test_index_maps_through_concatenation_and_flattening() -> None:
    model = Joined().eval()
    layers = inventory(model, (1, 2, 2))
    known = couplings(model, layers, (1, 2, 2))
    joined, end, output = known
    assert joined.layers == ("a.weight", "b.weight", "c.weight")
    at = {
        place.parameter: place.positions[place.channels.argsort()].tolist()
        for place in joined.members
    }
    channel = {place.parameter: sorted(place.channels.tolist()) for place in joined.members}
    assert (at["a.weight"], channel["a.weight"]) == ([0, 1], [0, 1])
    assert (at["b.weight"], channel["b.weight"]) == ([0, 1, 2], [2, 3, 4])
    assert at["c.weight"] == [0, 1, 2, 3, 4]
    columns = next(place for place in end.reads if place.parameter == "fc.weight")
    assert columns.channels.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert output.reason == IS_OUTPUT


def test_a_channel_that_is_not_zero_when_removed_has_a_reason() -> None:
    """sigmoid(0) is 0.5, so zeroing what is before it does not give zero."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 1),
        nn.Sigmoid(),
        nn.Conv2d(4, 4, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 2),
    ).eval()
    layers = inventory(model, (1, 2, 2))
    assert [coupling.reason for coupling in couplings(model, layers, (1, 2, 2))] == [
        NOT_ZERO,
        None,
        IS_OUTPUT,
    ]


class Named(nn.Module):
    """Calls its layers by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(1, 4, 1)
        self.two = nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.two(input=self.one(input=x).sigmoid()).relu()
        return self.fc(input=y.flatten(1))


def test_layers_called_by_keyword_are_checked_too() -> None:
    model = Named().eval()
    known = couplings(model, inventory(model, (1, 2, 2)), (1, 2, 2))
    assert [coupling.reason for coupling in known] == [NOT_ZERO, None, IS_OUTPUT]


def test_torchs_own_random_generator_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state is not set back either, because another thread may use it at the same time."""
    model, layers, first, _ = traced("vit")
    before = torch.get_rng_state()
    monkeypatch.setattr(torch, "set_rng_state", None)
    second = couplings(model, layers, SMALL)
    assert torch.equal(torch.get_rng_state(), before)
    assert [coupling.layers for coupling in first] == [coupling.layers for coupling in second]
    assert any(coupling.reason is None for coupling in first)


def test_only_the_vectors_of_empty_rows_are_masked() -> None:
    model, layers, known, _ = traced("resnet20")
    name = "layer1.0.conv2.weight"
    masks = {name: torch.ones(16, 16, 3, 3, dtype=torch.bool)}
    masks[name][3] = False
    masks[name][5, 1:] = False
    dependent = dependent_masks(model, layers, masks, known)
    assert set(dependent) == {"layer1.0.bn2.weight", "layer1.0.bn2.bias"}
    assert all((~keep).nonzero().flatten().tolist() == [3] for keep in dependent.values())
    assert dependent_masks(model, layers, {}, known) == {}


def test_what_follows_a_join_is_masked_when_every_member_lost_the_channel() -> None:
    model, layers, known, _ = traced("vit")
    stream = max(known, key=lambda coupling: len(coupling.members))
    rows = {layer.name: layer.shape for layer in layers}
    masks = {
        name: torch.arange(64)[:, None, None, None].expand(rows[name]) != 7
        for name in stream.layers
    }
    assert {"positions", "norm.bias"} <= set(dependent_masks(model, layers, masks, known))
    assert (~dependent_masks(model, layers, masks, known)["positions"]).nonzero()[
        :, 2
    ].unique().tolist() == [7]
    del masks["blocks.3.mlp.fc2.weight"]
    assert set(dependent_masks(model, layers, masks, known)) == {
        "stem.conv2.bias",
        *(f"blocks.{k}.attention.out_proj.bias" for k in range(4)),
        *(f"blocks.{k}.mlp.fc2.bias" for k in range(3)),
    }


def test_attention_biases_are_masked_by_row() -> None:
    model, layers, known, _ = traced("vit")
    name = "blocks.0.attention.in_proj_weight"
    masks = {name: (torch.arange(192) != 130)[:, None, None, None].expand(192, 64, 1, 1)}
    dependent = dependent_masks(model, layers, masks, known)
    assert list(dependent) == ["blocks.0.attention.in_proj_bias"]
    assert (~dependent["blocks.0.attention.in_proj_bias"]).nonzero().flatten().tolist() == [130]
    split = nn.MultiheadAttention(4, 2, kdim=3, vdim=3)
    value = Layer("v_proj_weight", "", "attention_proj", (4, 3, 1, 1), (4, 3), heads=2)
    dependent = dependent_masks(
        split,
        (value,),
        {
            "v_proj_weight": torch.tensor([True, False, True, True])[:, None, None, None].expand(
                4, 3, 1, 1
            )
        },
    )
    assert (~dependent["in_proj_bias"]).nonzero().flatten().tolist() == [9]


def test_a_norm_that_two_layers_feed_is_masked_when_both_lost_the_row() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(1, 2, 1)
            self.b = nn.Conv2d(1, 2, 1)
            self.bn = nn.BatchNorm2d(2)
            self.fc = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc((self.bn(self.a(x)) * self.bn(self.b(x))).flatten(1))

    model = Twice().eval()
    layers = inventory(model, (1, 1, 1))
    mask = torch.tensor([False, True])[:, None, None, None]
    assert set(dependent_masks(model, layers, {"a.weight": mask})) == {"a.bias"}
    assert set(dependent_masks(model, layers, {"a.weight": mask, "b.weight": mask})) == {
        "a.bias",
        "b.bias",
        "bn.weight",
        "bn.bias",
    }
