"""The network map as data for the browser: boxes with places, arrows, blocks that fold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.charts.palette import CHOSEN, KEPT, LOSS, PRUNED
from explorer.texts.formats import LAYER_KINDS, count, shape
from explorer.texts.translate import N_, _
from pruning_core.model.layer_graph import MapNode, NetworkMap
from pruning_core.types import Layer

LOOK = {"kept": KEPT, "pruned": PRUNED, "chosen": CHOSEN, "hurts": LOSS}
SYMBOLS = {
    "add": "+",
    "sub": "−",
    "mul": "×",
    "truediv": "÷",
    "matmul": "·",
    "cat": "C",
    "concat": "C",
    "stack": "S",
}
OPERATIONS = {
    "add": N_("adds"),
    "sub": N_("subtracts"),
    "mul": N_("multiplies"),
    "truediv": N_("divides"),
    "matmul": N_("matrix product"),
    "cat": N_("concatenates"),
    "concat": N_("concatenates"),
    "stack": N_("stacks"),
}
SUFFIXES = (".weight", "_weight")


@dataclass(frozen=True, eq=False)
class MapView:
    """A network's map, ready to be sent. names: the layers, in the order of their boxes."""

    names: tuple[str, ...]
    data: Mapping[str, Any]


def map_view(network: NetworkMap, layers: Sequence[Layer]) -> MapView:
    """The map of a network, made of these layers. It depends on the network and the language.

    A node is [role, label, sentence, weights, column, row, number of its block or -1, name,
    outputs]; the label of a join is its sign, and its outputs are 0.
    """
    known = {layer.name: layer for layer in layers}
    blocks = list(dict.fromkeys(node.block for node in network.nodes if node.block))
    number = {block: n for n, block in enumerate(blocks)} | {"": -1}
    labels = _labels(network.nodes)
    nodes = [
        [
            node.role,
            labels[node.name],
            _sentence(node, known),
            node.weights,
            node.column,
            node.row,
            number[node.block],
            node.name,
            known[node.name].shape[0] if node.role == "layer" else 0,
        ]
        for node in network.nodes
    ]
    place = {node.name: n for n, node in enumerate(network.nodes)}
    data = {
        "nodes": nodes,
        "edges": [[place[source], place[target]] for source, target in network.edges],
        "blocks": [_short(block) for block in blocks],
        "repeats": [[number[block] for block in run] for run in network.repeats],
        "traced": network.traced,
        "look": LOOK,
    }
    return MapView(tuple(node.name for node in network.nodes if node.role == "layer"), data)


def _sentence(node: MapNode, known: Mapping[str, Layer]) -> str:
    if node.role != "layer":
        return _(OPERATIONS.get(node.kind, node.kind))
    layer = known[node.name]
    return _(
        "{layer} · {kind} · {shape} · {weights} weights · {macs} MACs",
        layer=layer.name,
        kind=_(LAYER_KINDS.get(layer.kind, layer.kind)),
        shape=shape(layer.shape),
        weights=count(layer.numel),
        macs=count(layer.macs),
    )


def _labels(nodes: Sequence[MapNode]) -> dict[str, str]:
    """The shortest unique name of each box in its block: one end of its path, or the whole path."""
    inside: dict[str, list[list[str]]] = {}
    for node in nodes:
        inside.setdefault(node.block, []).append(_path(node))
    return {node.name: _label(node, inside[node.block]) for node in nodes}


def _label(node: MapNode, beside: Sequence[list[str]]) -> str:
    if node.role == "join":
        return SYMBOLS.get(node.kind, "•")
    path = _path(node)
    for end in (0, -1) if node.block else ():
        if sum(other[end] == path[end] for other in beside) == 1 and not path[end].isdigit():
            return path[end]
    return ".".join(path)


def _path(node: MapNode) -> list[str]:
    """The parts of the layer's name below its block."""
    name = node.name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return (name.removeprefix(f"{node.block}.") if node.block else name).split(".")


def _short(block: str) -> str:
    """encoder.layers.encoder_layer_3 -> encoder_layer_3; layer1.0 -> layer1.0.

    A number keeps the name before it.
    """
    parts = block.split(".")
    return ".".join(parts[-2:] if parts[-1].isdigit() else parts[-1:])
