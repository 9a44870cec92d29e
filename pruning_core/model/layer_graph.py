"""The network as a map: the prunable layers in data-flow order, with branches and joins."""

import operator
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

import torch
from torch import nn
from torch.fx.node import Node

from pruning_core.errors import first_sentence
from pruning_core.model.graph import TRACE_ERRORS, Program, first_calls, skeleton, trace
from pruning_core.model.model_io import map_tensors
from pruning_core.types import Inputs, Layer

INPUT = "input"
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
METADATA = {"shape", "ndim", "dtype", "device", "size", "dim", "numel"}
"""Attributes and methods of a tensor that do not read its values."""
Edge = tuple[str, str]


@dataclass(frozen=True)
class MapNode:
    """One box of the map.

    column: depth, so that every arrow leads to a higher one; row: lane, 0 is the longest path.
    name: the parameter's, or a name of its own for other boxes; role: input | layer | join; kind:
    the layer's kind, or what joins the branches ("add", "cat", "mul"); module: path of the owner;
    block: path of the repeated module that it belongs to, "" if none; weights: number of weights.
    """

    name: str
    role: str
    kind: str
    module: str
    block: str
    weights: int
    column: int
    row: int


@dataclass(frozen=True)
class NetworkMap:
    """Nodes in data-flow order and arrows between their names.

    An operation without prunable weights that joins nothing has no node. repeats: runs of two or
    more successive blocks with the same layers; reason: why the model could not be traced, None
    where it was. Without a trace the nodes are in the order of the calls, or of the modules where
    the calls are not known, without arrows.
    """

    nodes: tuple[MapNode, ...]
    edges: tuple[Edge, ...]
    repeats: tuple[tuple[str, ...], ...]
    reason: str | None = None

    @property
    def traced(self) -> bool:
        """Is the order that of the data?"""
        return self.reason is None


@dataclass(eq=False)
class _Origins:
    """Finds the box that every value of a program comes from.

    boxes: name -> (role, kind, module), in order of first use.
    """

    program: Program
    layers: Sequence[Layer]
    boxes: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    edges: dict[Edge, None] = field(default_factory=dict)
    origin: dict[Node, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        root = self.program.root
        owned = {id(root.get_parameter(layer.name)): layer for layer in self.layers}
        self.owns: Callable[[Any], Layer | None] = lambda parameter: owned.get(id(parameter))
        for node in self.program.nodes:
            self.origin[node] = self._origin(node)

    def _origin(self, node: Node) -> str | None:
        """Name of the box that a node's value comes from; None for metadata and parameters."""
        if node is self.program.x:
            return self._box(INPUT, INPUT, "image", "", ())
        if node.op == "get_attr" or _is_metadata(node):
            return None
        sources = tuple(
            dict.fromkeys(
                name for n in node.all_input_nodes if (name := self.origin[n]) is not None
            )
        )
        if layers := self._called(node):
            return self._through(node, layers, sources)
        if len(sources) > 1:
            return self._box(
                f"join:{node.name}", "join", _operation(node, self.program), _scope(node), sources
            )
        return sources[0] if sources else None

    def _called(self, node: Node) -> list[Layer]:
        """The layers whose weight the node reads."""
        if node in self.program.modules:
            read = list(self.program.modules[node].parameters())
        else:
            attributes = [str(n.target) for n in node.all_input_nodes if n.op == "get_attr"]
            read = [operator.attrgetter(target)(self.program.root) for target in attributes]
        names = {layer.name for parameter in read if (layer := self.owns(parameter))}
        return [layer for layer in self.layers if layer.name in names]

    def _through(self, node: Node, layers: Sequence[Layer], sources: tuple[str, ...]) -> str:
        """Adds the layers of one call, one after the other, and gives the last one's name.

        Separate query, key and value projections are side by side.
        """
        side = [layer for layer in layers if layer.kind == "attention_proj"]
        for layer, source in zip(side, [*node.args, *node.kwargs.values()], strict=False):
            name = self.origin[source] if isinstance(source, Node) else None
            self._box(
                layer.name, "layer", layer.kind, layer.module, () if name is None else (name,)
            )
        ends = tuple(layer.name for layer in side) or sources
        for layer in layers:
            if layer not in side:
                ends = (self._box(layer.name, "layer", layer.kind, layer.module, ends),)
        return ends[0]

    def _box(self, name: str, role: str, kind: str, module: str, sources: tuple[str, ...]) -> str:
        self.boxes.setdefault(name, (role, kind, module))
        self.edges |= dict.fromkeys((source, name) for source in sources if source != name)
        return name


def network_map(model: nn.Module, layers: Sequence[Layer], one: Inputs | None = None) -> NetworkMap:
    """The map of a model's prunable layers.

    torch.fx traces it, without running it. Where it cannot, the layers are in the order in which
    the model calls their modules for the input `one`, or in module order without `one`. A layer
    that is called more than once has one box, at its first call. Layers that are never called are
    last.
    """
    try:
        program = trace(skeleton(model), one)
    except TRACE_ERRORS as error:
        ordered = layers if one is None else _by_calls(model, layers, one)
        boxes = {layer.name: ("layer", layer.kind, layer.module) for layer in ordered}
        reason = f"torch.fx cannot trace it: {first_sentence(error)}"
        return _map(model, layers, boxes, (), reason)
    origins = _Origins(program, layers)
    unused = {
        layer.name: ("layer", layer.kind, layer.module)
        for layer in layers
        if layer.name not in origins.boxes
    }
    return _map(model, layers, origins.boxes | unused, tuple(origins.edges), None)


def _by_calls(model: nn.Module, layers: Sequence[Layer], one: Inputs) -> list[Layer]:
    """The layers by the first call of their module. Those that are never called are last."""
    order = first_calls(skeleton(model), map_tensors(one, torch.clone))
    place = {path: number for number, path in enumerate(order)}
    return sorted(layers, key=lambda layer: place.get(layer.module, len(place)))


def _map(
    model: nn.Module,
    layers: Sequence[Layer],
    boxes: dict[str, tuple[str, str, str]],
    edges: tuple[Edge, ...],
    reason: str | None,
) -> NetworkMap:
    columns = _columns(list(boxes), edges)
    rows = _rows(list(boxes), edges, columns)
    weights = {layer.name: layer.numel for layer in layers}
    block = _blocks(model, layers)
    nodes = tuple(
        MapNode(
            name, role, kind, module, block(module), weights.get(name, 0), columns[name], rows[name]
        )
        for name, (role, kind, module) in boxes.items()
    )
    return NetworkMap(
        nodes, edges, tuple(_repeats(nodes, {layer.name: layer for layer in layers})), reason
    )


def _is_metadata(node: Node) -> bool:
    name = (
        node.args[1]
        if node.target is getattr
        else node.target
        if node.op == "call_method"
        else None
    )
    return name in METADATA


def _operation(node: Node, program: Program) -> str:
    if node in program.modules:
        return type(program.modules[node]).__name__
    return str(
        node.target if node.op == "call_method" else getattr(node.target, "__name__", node.name)
    )


def _scope(node: Node) -> str:
    """Path of the module whose forward method contains the node."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack else ""


def _columns(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The length of the longest path from a start to each box.

    Boxes without arrows come after all others, each in a column of its own.
    """
    before = _neighbours(names, edges)[0]
    linked = {name for edge in edges for name in edge} or set(names[:1])
    columns: dict[str, int] = {}
    for name in [
        *filter(linked.__contains__, names),
        *(name for name in names if name not in linked),
    ]:
        columns[name] = 1 + max(
            (columns[source] for source in (before[name] if name in linked else columns)),
            default=-1,
        )
    return columns


def _neighbours(
    names: Sequence[str], edges: Sequence[Edge]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Sources and targets of each box, without arrows to an earlier box (a layer called again)."""
    order = {name: number for number, name in enumerate(names)}
    before, after = ({name: list[str]() for name in names} for _ in range(2))
    for source, target in edges:
        if order[source] < order[target]:
            before[target].append(source)
            after[source].append(target)
    return before, after


def _rows(names: Sequence[str], edges: Sequence[Edge], columns: dict[str, int]) -> dict[str, int]:
    """The longest path is in row 0; every further path takes the lowest row that is free there."""
    before, after = _neighbours(names, edges)
    free = dict.fromkeys(names)
    rows = dict[str, int]()
    taken: list[list[tuple[int, int]]] = []
    while free:
        path = _longest(list(free), after)
        first = min([columns[source] + 1 for source in before[path[0]]], default=columns[path[0]])
        last = max([columns[target] - 1 for target in after[path[-1]]], default=columns[path[-1]])
        fits = (
            row
            for row, spans in enumerate(taken)
            if all(last < start or end < first for start, end in spans)
        )
        row = next(fits, len(taken))
        taken.extend([] if row < len(taken) else [[]])
        taken[row].append((first, last))
        for name in path:
            rows[name] = row
            del free[name]
    return rows


def _longest(names: Sequence[str], after: dict[str, list[str]]) -> list[str]:
    """The longest path over these boxes; of equal ones the first."""
    length: dict[str, int] = {}
    for name in reversed(names):
        length[name] = 1 + max(
            (length[target] for target in after[name] if target in length), default=0
        )
    path = [max(names, key=length.__getitem__)]
    while following := [target for target in after[path[-1]] if target in length]:
        path.append(max(following, key=length.__getitem__))
    return path


def _blocks(model: nn.Module, layers: Sequence[Layer]) -> Callable[[str], str]:
    """A function from a module's path to the block that it belongs to, "" if none.

    A block is the innermost module with two layers or more and a sibling of its class. A module
    whose layers all belong to smaller blocks is none.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    inside = Counter(path for layer in layers for path in _parents(layer.module))

    def is_block(path: str) -> bool:
        counted = path[-1].isdigit() or not isinstance(modules[path], CONTAINERS)
        siblings = modules[path.rpartition(".")[0]].children()
        return (
            inside[path] > 1
            and counted
            and sum(type(each) is type(modules[path]) for each in siblings) > 1
        )

    blocks = {next(filter(is_block, _parents(layer.module)), "") for layer in layers}
    return lambda module: next(filter(blocks.__contains__, _parents(module)), "")


def _parents(path: str) -> Iterator[str]:
    """The path and its parents, without the root."""
    while path:
        yield path
        path = path.rpartition(".")[0]


def _repeats(nodes: Sequence[MapNode], layers: dict[str, Layer]) -> Iterator[tuple[str, ...]]:
    """Runs of successive blocks that differ in the number of input channels only."""
    parts = [(block, list(part)) for block, part in groupby(nodes, key=lambda node: node.block)]
    times = Counter(block for block, _ in parts)

    def form(block: str, part: Sequence[MapNode]) -> tuple[object, ...]:
        own = [layers[node.name] for node in part if node.role == "layer"]
        return block.rpartition(".")[0], *(
            (each.name[len(block) :], each.kind, each.shape[0], each.shape[2:]) for each in own
        )

    forms = [form(block, part) if block and times[block] == 1 else None for block, part in parts]
    run: list[str] = []
    for index, following in pairwise([*range(len(parts)), None]):
        if index is None or forms[index] is None:
            continue
        run.append(parts[index][0])
        if following is None or forms[following] != forms[index]:
            if len(run) > 1:
                yield tuple(run)
            run = []
