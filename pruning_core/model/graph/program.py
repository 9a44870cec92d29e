"""The nodes of a traced model: which depends on which, and running some of them."""

import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.node import Node, map_arg

from pruning_core.model.model_io import arguments
from pruning_core.types import Inputs, PruningError

Values = dict[Node, Any]

OUT_OF_PLACE: dict[Any, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    torch.relu_: torch.relu,
    nn.functional.relu_: nn.functional.relu,
}
"""Functions that write over their first argument -> functions that do not."""
FRESH = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)
"""Modules whose result is a new tensor, never a view."""
NORMS: tuple[type, ...] = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True, eq=False)
class Stage:
    """One node of a run.

    spent: values that no later node reads; over: the input whose storage the result may take.
    """

    node: Node
    spent: tuple[Node, ...]
    over: Node | None


@dataclass(frozen=True, eq=False)
class Program:
    """The nodes of one forward pass, in order.

    x: node of the first input; result: node of the logits; reason: why the program is one node,
    None if it is not. The modules belong to the program, the tensors to the model; no method writes
    to them.
    """

    root: nn.Module
    nodes: tuple[Node, ...]
    x: Node
    result: Node
    reason: str | None = None
    modules: dict[Node, nn.Module] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        called = {
            node: self.root.get_submodule(str(node.target))
            for node in self.nodes
            if node.op == "call_module"
        }
        object.__setattr__(self, "modules", called)

    def start(self, x: Inputs) -> Values:
        """The values before the first node runs.

        Inputs that the batch does not have get their defaults.
        """
        return input_values(self.nodes, x)

    def tensor(self, name: str) -> Tensor:
        """The parameter or buffer of that name. Raises PruningError where the model has none."""
        path, _, key = name.rpartition(".")
        try:
            owner = self.root.get_submodule(path)
        except AttributeError:
            owner = nn.Module()
        if isinstance(owner, torch.jit.ScriptModule):
            raise PruningError(
                f"'{name}' belongs to a TorchScript module, whose weights cannot be exchanged: "
                "build the network from its Python class."
            )
        tensor = owner._parameters.get(key, owner._buffers.get(key))
        if tensor is None:
            raise PruningError(
                f"The model has no parameter or buffer '{name}': take a name from its state_dict."
            )
        return tensor

    def downstream(self, names: Collection[str]) -> tuple[Node, ...]:
        """The nodes whose value depends on any of these parameters or buffers, in order."""
        changed = {id(self.tensor(name)) for name in names}
        dependent = set[Node]()
        for node in self.nodes:
            if not changed.isdisjoint(self.reads(node)) or not dependent.isdisjoint(
                node.all_input_nodes
            ):
                dependent.add(node)
        return tuple(node for node in self.nodes if node in dependent)

    def reads(self, node: Node) -> set[int]:
        """The ids of the model's tensors that the node itself reads."""
        if node.op == "get_attr":
            return {id(operator.attrgetter(str(node.target))(self.root))}
        module = self.modules.get(node)
        return (
            set()
            if module is None
            else {id(own) for own in chain(module.parameters(), module.buffers())}
        )

    def missing(
        self, wanted: Collection[Node], have: Collection[Node]
    ) -> tuple[set[Node], tuple[Node, ...]]:
        """Which of the known values (`have`) and which nodes, in order, give the wanted values."""
        used = set[Node]()
        todo = set[Node]()
        stack = list(wanted)
        while stack:
            node = stack.pop()
            if node in have:
                used.add(node)
            elif node not in todo:
                todo.add(node)
                stack += node.all_input_nodes
        return used, tuple(node for node in self.nodes if node in todo)

    def stages(self, nodes: Sequence[Node], keep: Collection[Node]) -> tuple[Stage, ...]:
        """The stages of those nodes. Every value but `keep` is dropped after its last use."""
        last = {source: node for node in nodes for source in (node, *node.all_input_nodes)}
        spent: dict[Node, list[Node]] = {}
        for source, node in last.items():
            if source not in keep:
                spent.setdefault(node, []).append(source)
        made = set(nodes)
        return tuple(
            Stage(n, tuple(gone := spent.get(n, [])), self._over(n, made.intersection(gone)))
            for n in nodes
        )

    def _over(self, node: Node, free: set[Node]) -> Node | None:
        """An input whose storage the result may take, or None.

        The same run computed it, its storage is its own, and no other node reads it.
        """
        own = [
            source
            for source in node.all_input_nodes
            if source in free and len(source.users) == 1 and self._is_fresh(source)
        ]
        module = self.modules.get(node)
        writes = node.target is operator.add or hasattr(module, "inplace") or type(module) in NORMS
        return own[0] if own and writes else None

    def _is_fresh(self, node: Node) -> bool:
        return node.target is operator.add or type(self.modules.get(node)) in FRESH

    def run(self, stages: Sequence[Stage], values: Values) -> Values:
        """Runs the stages on the values, which it changes and returns."""
        for stage in stages:
            values[stage.node] = self.value(stage, values)
            for node in stage.spent:
                values.pop(node, None)
        return values

    def value(self, stage: Stage, values: Mapping[Node, Any]) -> Any:
        """The value that the stage's node computes."""
        node = stage.node
        args = map_arg(node.args, values.__getitem__)
        kwargs = map_arg(node.kwargs, values.__getitem__)
        if node in self.modules:
            module = self.modules[node]
            if stage.over is not None and type(module) in NORMS:
                return _normed(values[stage.over], module)
            if hasattr(module, "inplace"):
                setattr(module, "inplace", stage.over is not None)  # noqa: B010
            return module(*args, **kwargs)
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self.root)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return _added(values[stage.over], args) if stage.over else node.target(*args, **kwargs)  # type: ignore[operator]

    @contextmanager
    def swapped(self, change: Mapping[str, Tensor]) -> Iterator[None]:
        """A context in which other tensors replace parameters and buffers wherever read."""
        new = {
            id(old): (old, fitting(change[name], old, name))
            for name in change
            for old in [self.tensor(name)]
        }
        owners: list[dict[str, Any]] = [
            own
            for m in self.root.modules()
            if not isinstance(m, torch.jit.ScriptModule)
            for own in (m._parameters, m._buffers)
        ]
        places = [(own, key) for own in owners for key in own]
        taken = [
            (owner, key, new[id(owner[key])]) for owner, key in places if id(owner[key]) in new
        ]
        try:
            for owner, key, (_, tensor) in taken:
                owner[key] = tensor
            yield
        finally:
            for owner, key, (old, _) in taken:
                owner[key] = old


def fitting(tensor: Tensor, old: Tensor, name: str) -> Tensor:
    """The tensor's values in a tensor of the same kind as the old one, so that the same kernels
    run.

    The kind is class (nn.Parameter or a subclass), attributes, requires_grad, is_inference(),
    device and strides. torch chooses kernels by all of these; for example, matmul folds a 3-d input
    only where the weight requires a gradient. The values are copied only where device, strides or
    is_inference() differ. Raises PruningError for another shape or type.
    """
    if (tensor.shape, tensor.dtype) != (old.shape, old.dtype):
        raise PruningError(
            f"The change of {name} is {tuple(tensor.shape)} {tensor.dtype}; "
            f"the model stores {tuple(old.shape)} {old.dtype}."
        )
    with torch.inference_mode(old.is_inference()), torch.no_grad():
        placed = tensor.detach()
        if (placed.is_inference(), placed.device, placed.stride()) != (
            old.is_inference(),
            old.device,
            old.stride(),
        ):
            placed = empty_as(old).copy_(placed)
        # As nn.Parameter does it. With `as_subclass` it would be a view, whose transpose in
        # inference mode requires no gradient.
        fit = torch.Tensor._make_subclass(type(old), placed, old.requires_grad)
    vars(fit).update(vars(old))
    return fit


def empty_as(old: Tensor) -> Tensor:
    """A new plain tensor, without values, with the shape, type, device and strides of the old one.

    Strides that put several elements in one place (`expand`) cannot be kept: then it is contiguous.
    """
    shared = any(step == 0 and size > 1 for size, step in zip(old.shape, old.stride(), strict=True))
    if shared:
        return torch.empty(old.shape, dtype=old.dtype, device=old.device)
    return torch.empty_strided(old.shape, old.stride(), dtype=old.dtype, device=old.device)


def _normed(into: Tensor, norm: Any) -> Tensor:
    """The batch norm by its running statistics, written over its input where torch can."""
    if into.device.type != "cpu" or norm.running_mean is None:
        output: Tensor = norm(into)
        return output
    spare = into.new_empty(0), into.new_empty(0)
    fixed = norm.weight, norm.bias, norm.running_mean, norm.running_var, False, 0.0, norm.eps
    torch.native_batch_norm(into, *fixed, out=(into, *spare))
    return into


def _added(into: Tensor, args: tuple[Any, ...]) -> Any:
    """The sum, written over one summand if that keeps shape, type and memory format."""
    a, b = args
    alike = (
        isinstance(a, Tensor)
        and isinstance(b, Tensor)
        and (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)
    )
    return into.add_(b if into is a else a) if alike and a is not b else a + b


def input_values(nodes: Sequence[Node], x: Inputs) -> Values:
    """The values of the input nodes. Raises TypeError where the batch has more or fewer inputs."""
    holders = [node for node in nodes if node.op == "placeholder"]
    args, kwargs = arguments(x)
    names = [str(node.target) for node in holders]
    by_name = dict(zip(names, args, strict=False)) | kwargs
    if len(args) > len(names) or not by_name.keys() <= set(names):
        raise TypeError("it does not name the inputs that it takes")
    if not all(node.args for node, name in zip(holders, names, strict=True) if name not in by_name):
        raise TypeError("it takes more than one tensor")
    return {
        node: by_name[name] if name in by_name else node.args[0]
        for node, name in zip(holders, names, strict=True)
    }
