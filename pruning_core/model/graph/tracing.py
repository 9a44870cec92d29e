"""Traces a model with torch.fx and checks the trace against the model."""

import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import Node
from torch.utils._pytree import tree_map

from pruning_core.errors import first_line, first_sentence
from pruning_core.model.graph.program import OUT_OF_PLACE, Program, input_values
from pruning_core.model.graph.replay_check import checked_replay
from pruning_core.model.held_buffers import held_buffers
from pruning_core.model.model_io import (
    arguments,
    call,
    copy_model,
    find_logits,
    map_tensors,
    require_logits,
)
from pruning_core.types import Inputs

TRACE_ERRORS = (
    fx.proxy.TraceError,
    NameError,
    TypeError,
    ValueError,
    RuntimeError,
    AttributeError,
    LookupError,
    AssertionError,
)
"""What torch.fx raises, and what a wrong trace raises when it runs."""
_TRACING = threading.Lock()


class _Tracer(fx.Tracer):
    """A tracer for one thread.

    torch.fx patches `nn.Module` in the whole process while it traces, so the modules of other
    threads must run unchanged.
    """

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """A module with `traced_whole` is one node, as torch's own modules are."""
        whole = getattr(m, "traced_whole", False)
        return whole or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        own_thread = threading.get_ident() == self.thread
        return (
            super().call_module(m, forward, args, kwargs)
            if own_thread
            else forward(*args, **kwargs)
        )

    @cached_property
    def names(self) -> dict[int, tuple[str, nn.Parameter]]:
        """Every parameter of the network by its id, with its first name."""
        return {id(own): (name, own) for name, own in self.root.named_parameters()}

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        """A parameter as a node of its name. torch.fx itself would look through all of them."""
        if threading.get_ident() != self.thread or not isinstance(attr_val, nn.Parameter):
            return attr_val
        name, known = self.names.get(id(attr_val), ("", None))
        if known is not attr_val:
            return attr_val
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = self.create_proxy("get_attr", name, (), {})
        return parameter_proxy_cache[name]


Outputs = Callable[[Any], Tensor]
"""Gives the tensor that is judged, of what a model gives."""


def program(model: nn.Module, x: Inputs, outputs: Outputs | None = None) -> Program:
    """The traced program of a model in eval mode; where tracing fails, a program of its calls.

    A trace is used only if it gives the model's own logits for `x`, bit for bit, and no node writes
    over the value of another. Otherwise the model runs again from the module that changed on
    (`Replay`), if that gives the same bits. Where it does not, the program is one whole-model node.
    outputs: of a task of the user's; the program ends with what it gives, not with the logits.
    """
    # As in `_trace_problem`: in another mode, torch may choose another kernel.
    with torch.no_grad():
        wanted = call(model, map_tensors(x, torch.clone))
        judged = find_logits(wanted) if outputs is None else outputs(wanted)
    traced = _checked_trace(model, x, wanted if judged is None else judged, outputs)
    if isinstance(traced, Program):
        return traced
    own = outputs or require_logits
    replay = None if judged is None else checked_replay(skeleton(model), x, judged, own)
    if isinstance(replay, Program):
        return replay
    reason = f"{traced}; nor can a part of it run alone: {replay}" if replay else traced
    plain = outputs is None and isinstance(wanted, Tensor)
    return _whole(skeleton(model), x, reason, None if plain else own)


def _checked_trace(
    model: nn.Module, x: Inputs, wanted: object, outputs: Outputs | None
) -> Program | str:
    """The traced program, or the reason why there is none that gives what the model gives."""
    try:
        traced = trace(skeleton(model), x, outputs)
    except TRACE_ERRORS as error:
        return f"torch.fx cannot trace it: {first_sentence(error)}"
    return _trace_problem(traced, x, require_logits(wanted)) or traced


def skeleton(model: nn.Module) -> nn.Module:
    """A copy of the modules that shares parameters and buffers with the model.

    Buffers that a call changes are its own.
    """
    held = {id(model.get_buffer(name)) for name in held_buffers(model)}
    buffers = (buffer for buffer in model.buffers() if id(buffer) not in held)
    return copy_model(model, chain(model.parameters(), buffers))


def trace(root: nn.Module, x: Inputs | None = None, outputs: Outputs | None = None) -> Program:
    """The traced nodes of a `skeleton`, not yet compared with what the model computes.

    x: example inputs; outputs: as in `program`. Raises one of TRACE_ERRORS.
    """
    with _TRACING:
        graph = _Tracer().trace(root)
    _remove_writes(graph, root)
    if outputs is not None:
        _end_with(graph, outputs)
    *nodes, output = graph.nodes
    input_values(nodes, torch.empty(0) if x is None else x)
    result = _logits(output.args[0])
    first = next(node for node in nodes if node.op == "placeholder")
    return Program(root, tuple(nodes), first, result)


def _end_with(graph: fx.Graph, outputs: Outputs) -> None:
    """Adds a node that gives the task's outputs of what the model gives."""
    output = graph.output_node()
    with graph.inserting_before(output):
        output.args = (graph.call_function(outputs, (output.args[0],)),)


def _logits(out: Any) -> Node:
    """The node of the logits in a trace's output. Raises TypeError where there is none."""
    # A dataclass is made of the node's arguments.
    if isinstance(out, Node) and isinstance(out.target, type):
        out = out.kwargs
    if isinstance(out, Mapping):
        out = out.get("logits", out.get("out"))
    elif isinstance(out, tuple | list):
        out = getattr(out, "logits", out[0] if out else None)
    if not isinstance(out, Node):
        raise TypeError("its output does not show which part of it is the logits")
    return out


def _remove_writes(graph: fx.Graph, root: nn.Module) -> None:
    """Replaces the usual in-place operations by plain ones; whoever read the overwritten value
    reads the new one.
    """
    modules = dict(root.named_modules())
    writers = [node for node in graph.nodes if _writes(node, modules)]
    for node in writers:
        overwritten = node.args[0]
        if not isinstance(overwritten, Node):
            raise TypeError(f"{node.name} writes over something that is not a value")
        overwritten.replace_all_uses_with(node, delete_user_cb=node.__lt__)
        node.kwargs = {key: value for key, value in node.kwargs.items() if key != "inplace"}
        if node.op == "call_module":
            modules[str(node.target)].inplace = False
        elif node.op == "call_method":
            node.target = str(node.target)[:-1]
        else:
            node.target = OUT_OF_PLACE.get(node.target, node.target)


def _writes(node: Node, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return getattr(modules[str(node.target)], "inplace", False) is True
    if node.op == "call_method":
        return str(node.target).endswith("_") and not str(node.target).endswith("__")
    return node.target in OUT_OF_PLACE or node.kwargs.get("inplace") is True


def _trace_problem(program: Program, x: Inputs, wanted: object) -> str | None:
    """Runs the traced program once. Why it must not be used, or None."""
    values = program.start(map_tensors(x, torch.clone))
    with torch.no_grad():  # not inference mode, whose tensors do not count their versions
        for stage in program.stages(
            [node for node in program.nodes if node.op != "placeholder"], {program.result}
        ):
            read = [
                values[n]
                for n in stage.node.all_input_nodes
                if n is not stage.over and isinstance(values[n], Tensor)
            ]
            versions = [tensor._version for tensor in read]
            try:
                values[stage.node] = program.value(stage, values)
            except TRACE_ERRORS as error:
                return f"its trace cannot be computed, at {stage.node.name}: {first_line(error)}"
            if versions != [tensor._version for tensor in read]:
                return f"it writes over a tensor in place, in {stage.node.name}"
            for node in stage.spent:
                values.pop(node, None)
    same = isinstance(wanted, Tensor) and torch.equal(values[program.result], wanted)
    return None if same else "its trace does not give the model's own output"


def _whole(root: nn.Module, x: Inputs, reason: str, outputs: Outputs | None) -> Program:
    def cloned(_module: nn.Module, args: Any, kwargs: Any) -> Any:
        """The model may write over its input."""
        return tree_map(torch.clone, args), tree_map(torch.clone, kwargs)

    root.register_forward_pre_hook(cloned, with_kwargs=True)
    graph = fx.Graph()
    (args, kwargs) = arguments(x)
    first = tuple(graph.placeholder(f"x{at}") for at in range(len(args)))
    named: dict[str, Any] = {name: graph.placeholder(name) for name in kwargs}
    out = graph.create_node("call_module", "", first, named)
    inputs = (*first, *named.values())
    logits = () if outputs is None else (graph.call_function(outputs, (out,)),)
    return Program(root, (*inputs, out, *logits), inputs[0], logits[0] if logits else out, reason)
