"""The map of a network: data-flow order, branches, joins and repeated blocks."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import get_model

from pruning_core.model import layer_graph
from pruning_core.model.inventory import inventory
from pruning_core.model.layer_graph import MapNode, NetworkMap, network_map
from pruning_core.types import Layer
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.toy import layer, same_state, state


def map_of(model: nn.Module, shape: tuple[int, ...] = (1, 8, 8)) -> NetworkMap:
    return network_map(model.eval(), inventory(model, shape))


def zoo(name: str) -> NetworkMap:
    return map_of(ARCHITECTURES[name].build((1, 8, 8), 10))


def torchvision(name: str) -> NetworkMap:
    """A network on the meta device, whose weights need no memory, because the map runs nothing."""
    with torch.device("meta"):
        model = get_model(name, weights=None).eval()
    layers = []
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            layers.append(layer_of(model, f"{path}.in_proj_weight", "attention_in"))
        elif isinstance(module, nn.Conv2d | nn.Linear):
            layers.append(layer_of(model, f"{path}.weight"))
    return network_map(model, layers)


def layer_of(model: nn.Module, name: str, kind: str | None = None) -> Layer:
    """The layer of a parameter, as the inventory would list it."""
    o, i, h, w = [*model.get_parameter(name).shape, 1, 1][:4]
    described = layer((o, i, h, w), kind, name)
    return replace(described, module=described.module.removesuffix(".out_proj"))


def by_name(graph: NetworkMap) -> dict[str, MapNode]:
    return {node.name: node for node in graph.nodes}


def sources(graph: NetworkMap, name: str) -> list[str]:
    return [source for source, target in graph.edges if target == name]


def joins(graph: NetworkMap) -> list[MapNode]:
    return [node for node in graph.nodes if node.role == "join"]


def test_resnet20_has_nine_adds_and_two_side_branches() -> None:
    graph = zoo("resnet20")
    assert graph.traced
    assert [node.kind for node in joins(graph)] == ["add"] * 9
    beside = {node.name for node in graph.nodes if node.row > 0}
    assert beside == {"layer2.0.shortcut.conv.weight", "layer3.0.shortcut.conv.weight"}
    named = by_name(graph)
    assert named["layer2.0.shortcut.conv.weight"].column == named["layer2.0.conv1.weight"].column
    last = joins(graph)[2]
    assert (
        sources(graph, "layer2.0.conv1.weight")
        == sources(graph, "layer2.0.shortcut.conv.weight")
        == [last.name]
    )
    assert graph.repeats == (
        ("layer1.0", "layer1.1", "layer1.2"),
        ("layer2.1", "layer2.2"),
        ("layer3.1", "layer3.2"),
    )
    assert sources(graph, "fc.weight") == [joins(graph)[-1].name]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_of_the_zoo_is_mapped_layer_for_layer(name: str) -> None:
    model = ARCHITECTURES[name].build((1, 8, 8), 10).eval()
    before = state(model)
    layers = inventory(model, (1, 8, 8))
    graph = network_map(model, layers)
    assert same_state(model, before)
    boxes = {node.name: node for node in graph.nodes if node.role == "layer"}
    assert {(n.name, n.kind, n.module, n.weights) for n in boxes.values()} == {
        (layer.name, layer.kind, layer.module, layer.numel) for layer in layers
    }
    named = by_name(graph)
    assert graph.edges
    assert all(named[source].column < named[target].column for source, target in graph.edges)
    places = [(node.column, node.row) for node in graph.nodes]
    assert len(set(places)) == len(places)
    assert [node.name for node in graph.nodes if not sources(graph, node.name)] == ["input"]


def test_vit_has_attention_and_two_perceptron_layers_per_block() -> None:
    graph = zoo("vit")
    add, second = (node.name for node in joins(graph)[:2])
    assert sources(graph, "blocks.0.attention.in_proj_weight") == ["stem.conv2.weight"]
    assert sources(graph, "blocks.0.attention.out_proj.weight") == [
        "blocks.0.attention.in_proj_weight"
    ]
    assert sources(graph, add) == ["stem.conv2.weight", "blocks.0.attention.out_proj.weight"]
    assert sources(graph, "blocks.0.mlp.fc2.weight") == ["blocks.0.mlp.fc1.weight"]
    assert sources(graph, second) == [add, "blocks.0.mlp.fc2.weight"]
    assert graph.repeats == (tuple(f"blocks.{n}" for n in range(4)),)
    assert {node.block for node in joins(graph)} == {f"blocks.{n}" for n in range(4)}


def test_resnet50_downsamples_in_side_branches_and_repeats_its_blocks() -> None:
    graph = torchvision("resnet50")
    named = by_name(graph)
    assert graph.traced
    assert len(joins(graph)) == 16
    beside = [node for node in graph.nodes if node.row > 0]
    assert [node.name for node in beside] == [
        f"layer{n}.0.downsample.0.weight" for n in (1, 2, 3, 4)
    ]
    for node in beside:
        first = named[f"{node.block}.conv1.weight"]
        assert (node.row, node.column, sources(graph, node.name)) == (
            1,
            first.column,
            sources(graph, first.name),
        )
    assert [(run[0], len(run)) for run in graph.repeats] == [
        ("layer1.1", 2),
        ("layer2.1", 3),
        ("layer3.1", 5),
        ("layer4.1", 2),
    ]


def test_vit_b_16_is_one_run_of_twelve_blocks() -> None:
    graph = torchvision("vit_b_16")
    assert graph.traced
    assert [len(run) for run in graph.repeats] == [12]
    assert len(joins(graph)) == 24
    outside = [node.name for node in graph.nodes if not node.block]
    assert outside == ["input", "conv_proj.weight", "heads.head.weight"]
    assert {node.row for node in graph.nodes} == {0}


def test_other_networks_of_torchvision_are_mapped() -> None:
    vgg = torchvision("vgg16")
    mobile = torchvision("mobilenet_v2")
    dense = torchvision("densenet121")
    assert (len(vgg.nodes), len(joins(vgg)), vgg.repeats) == (17, 0, ())
    assert all(sources(vgg, b.name) == [a.name] for a, b in pairwise(vgg.nodes))
    assert [node.kind for node in joins(mobile)] == ["add"] * 10
    assert {node.kind for node in joins(dense)} == {"cat"}
    assert [len(run) for run in dense.repeats] == [6, 12, 24, 16]
    squeezed = torchvision("mobilenet_v3_small")
    product = next(node for node in joins(squeezed) if node.kind == "mul")
    scaled = [by_name(squeezed)[name].name for name in sources(squeezed, product.name)]
    assert scaled == ["features.1.block.1.fc2.weight", "features.1.block.0.0.weight"]


class Backwards(nn.Module):
    """Modules are made in the opposite order of their use; one is never used, one is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(4, 4)
        self.last = nn.Linear(4, 3)
        self.twice = nn.Linear(4, 4)
        self.first = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(torch.relu(self.first(x.flatten(1)).reshape(x.shape[0], -1)))
        return self.last(torch.relu(self.twice(torch.tanh(x))))


def test_data_flow_order_where_module_order_is_another() -> None:
    graph = map_of(Backwards(), (1, 2, 2))
    assert [node.name for node in graph.nodes] == [
        "input",
        "first.weight",
        "twice.weight",
        "last.weight",
        "idle.weight",
    ]
    assert [node.column for node in graph.nodes] == [0, 1, 2, 3, 4]
    assert graph.edges == (
        ("input", "first.weight"),
        ("first.weight", "twice.weight"),
        ("twice.weight", "last.weight"),
    )


class Forked(nn.Module):
    """Branches of different length, a scaled value, a weight in a function, a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.short = nn.Conv2d(1, 2, 1)
        self.long1 = nn.Conv2d(1, 2, 3, padding=1)
        self.long2 = nn.Conv2d(2, 2, 1)
        self.scale = nn.Parameter(torch.ones(1))
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.conv2d(self.long1(x).relu_(), self.long2.weight)
        return self.out(torch.cat([self.short(x) * self.scale, y], 1).mean((2, 3)))


def test_branches_functions_and_parameters() -> None:
    graph = network_map(Forked().eval(), _forked_layers())
    assert [(node.name, node.column, node.row) for node in graph.nodes] == [
        ("input", 0, 0),
        ("long1.weight", 1, 0),
        ("long2.weight", 2, 0),
        ("short.weight", 1, 1),
        ("join:cat", 3, 0),
        ("out.weight", 4, 0),
    ]
    assert sources(graph, "join:cat") == ["short.weight", "long2.weight"]


def _forked_layers() -> list[Layer]:
    shapes = {
        "short": (2, 1, 1, 1),
        "long1": (2, 1, 3, 3),
        "long2": (2, 2, 1, 1),
        "out": (3, 4, 1, 1),
    }
    return [layer(shape, name=f"{name}.weight") for name, shape in shapes.items()]


class Crossing(nn.Module):
    """Keys and values of another width come from another layer than the queries."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(8, 8)
        self.memory = nn.Linear(8, 4)
        self.mix = nn.MultiheadAttention(8, 2, kdim=4, vdim=4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        memory = self.memory(x[:, 0])
        return self.mix(self.query(x[:, 0]), memory, memory, need_weights=False)[0].mean(1)


def test_separate_projections_of_attention_are_side_by_side() -> None:
    graph = map_of(Crossing())
    assert sources(graph, "mix.q_proj_weight") == ["query.weight"]
    assert (
        sources(graph, "mix.k_proj_weight")
        == sources(graph, "mix.v_proj_weight")
        == ["memory.weight"]
    )
    assert sources(graph, "mix.out_proj.weight") == [f"mix.{part}_proj_weight" for part in "qkv"]
    assert sorted(node.row for node in graph.nodes if node.kind == "attention_proj") == [0, 1, 2]


class Deciding(nn.Module):
    """Reads values to choose a branch, which torch.fx cannot trace."""

    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Linear(4, 3)
        self.early = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.early(x.flatten(1))
        return self.late(y if y.sum() > 0 else -y)


def test_a_model_that_cannot_be_traced_is_shown_in_the_order_of_its_calls_with_the_reason() -> None:
    graph = map_of(Deciding(), (1, 2, 2))
    assert not graph.traced
    assert graph.reason is not None
    assert "torch.fx cannot trace it: symbolically traced variables" in graph.reason
    assert [(node.name, node.column, node.row) for node in graph.nodes] == [
        ("late.weight", 0, 0),
        ("early.weight", 1, 0),
    ]
    assert graph.edges == ()
    model = Deciding()
    model.never = nn.Linear(4, 4)
    by_calls = network_map(model, inventory(model, (1, 2, 2)), torch.ones(1, 1, 2, 2))
    assert [(node.name, node.column) for node in by_calls.nodes] == [
        ("early.weight", 0),
        ("late.weight", 1),
        ("never.weight", 2),
    ]


def test_an_error_in_the_map_is_not_taken_for_a_trace_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layer_graph, "_scope", lambda _node: dict[str, object]()["no such key"])
    with pytest.raises(KeyError, match="no such key"):
        zoo("resnet20")
