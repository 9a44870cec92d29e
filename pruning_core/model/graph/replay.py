"""A model without a trace, run from the call of one of its modules on.

The model's own code runs again, and every module that was finished before gives its kept output at
once. So the same modules compute the same tensors as in a full pass, whatever Python does between.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.node import Node
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from pruning_core.model.graph.absent import Absent, Form, ValuesMissing
from pruning_core.model.graph.calls import ROOT, callable_modules, intercepted
from pruning_core.model.graph.cuts import CallOrder, Cut, Leaf
from pruning_core.model.graph.program import Program, Stage, Values
from pruning_core.model.model_io import arguments, require_logits
from pruning_core.types import Inputs

Kept = tuple[tuple[Any, ...], TreeSpec]
"""A module's output in parts. Tensors that are not read again are a `Form`."""
State = dict[int, Kept]
"""What is kept at a cut: number of a finished call -> its output; `ROOT` -> the inputs.

With the inputs alone the model is computed from the start.
"""
ERRORS = (TypeError, ValueError, RuntimeError, AttributeError, LookupError, AssertionError)
"""What a model may raise that is given tensors without values."""


class _Stopped(BaseException):
    """The last cut of a run is reached. No handler of a model catches it."""


@dataclass(frozen=True, eq=False)
class Replay(Program):
    """A program with one node per cut, whose value is the `State` there, and one for the logits.

    order: the model's calls; positional, names: how the inputs are given to the model;
    outputs: gives the tensor that is judged, of what the model gives.
    """

    order: CallOrder = field(kw_only=True)
    positional: int = field(kw_only=True)
    names: tuple[str, ...] = field(kw_only=True)
    outputs: Callable[[Any], Tensor] = field(kw_only=True)
    steps: dict[Node, int] = field(init=False, repr=False)
    read: dict[Node, set[int]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        steps = [node for node in self.nodes if node.op != "placeholder"]
        read: dict[Node, set[int]] = {node: set() for node in self.nodes}
        for tensor, segment in self.order.segments().items():
            read[steps[segment]].add(tensor)
        object.__setattr__(self, "steps", {node: number for number, node in enumerate(steps)})
        object.__setattr__(self, "read", read)

    def reads(self, node: Node) -> set[int]:
        """The ids of the model's tensors that are read first by this node."""
        return self.read[node]

    def run(self, stages: Sequence[Stage], values: Values) -> Values:
        """Runs the stages on the values, which it changes and returns.

        Raises ValuesMissing where another batch needs more than what was kept for it.
        """
        spent = {node for stage in stages for node in stage.spent}
        for run in self._runs([stage.node for stage in stages]):
            self._advance(run, [node for node in run if node not in spent], values)
        for node in spent:
            values.pop(node, None)
        return values

    def _runs(self, nodes: Sequence[Node]) -> Iterator[list[Node]]:
        """The nodes in runs of successive ones."""
        run: list[Node] = []
        for node in nodes:
            if run and run[-1] not in node.all_input_nodes:
                yield run
                run = []
            run.append(node)
        if run:
            yield run

    def _advance(self, run: Sequence[Node], wanted: Sequence[Node], values: Values) -> None:
        """Computes the wanted values of successive nodes from the value before them."""
        cuts = dict(zip(self.steps, self.order.cuts, strict=False))
        before = self.steps[run[0]] - 1
        state = values[list(self.steps)[before]] if before >= 0 else self._start(values)
        if len(state) == 1:
            before = -1
        passing = _Pass(
            self.order,
            self.order.cuts[before].call if before >= 0 else ROOT,
            state,
            {cuts[node].call: cuts[node] for node in wanted if node in cuts},
            stops=self.result not in wanted,
        )
        result = self._computed(passing)
        for node in wanted:
            values[node] = passing.states[cuts[node].call] if node in cuts else result

    def _start(self, values: Mapping[Node, Any]) -> State:
        leaves, spec = tree_flatten(
            [values[node] for node in self.nodes if node.op == "placeholder"]
        )
        return {ROOT: (tuple(leaves), spec)}

    def _computed(self, passing: "_Pass") -> Tensor | None:
        """Runs the model; its logits, None where the pass stopped before."""
        inputs = passing.given(ROOT)
        named = dict(zip(self.names, inputs[self.positional :], strict=True))
        with intercepted(self._seen(), passing.called):
            try:
                out = self.outputs(self.root(*inputs[: self.positional], **named))
            except _Stopped:
                return None
            except ERRORS as error:
                if passing.begin == ROOT:
                    raise
                raise ValuesMissing(str(error)) from error
        passing.finish()
        if isinstance(out, Absent):
            raise ValuesMissing("The logits depend on a value that was not kept.")
        return out

    def _seen(self) -> dict[str, nn.Module]:
        paths = {each.path for each in self.order.calls}
        return {path: m for path, m in callable_modules(self.root).items() if path in paths}


@dataclass(eq=False)
class _Pass:
    """One pass of a model from a cut on.

    begin: number of the call at the cut, `ROOT` for a full pass; state: what was kept there;
    wanted: the cuts whose states are collected, by call; stops: whether it ends at the last one.
    """

    order: CallOrder
    begin: int
    state: State
    wanted: Mapping[int, Cut]
    stops: bool
    states: dict[int, State] = field(default_factory=dict)
    open: list[int] = field(default_factory=lambda: [ROOT])
    next: int = 0
    matched: bool = True

    def __post_init__(self) -> None:
        self.last = max([self.begin, *self.wanted])
        self.saved: dict[int, Kept] = dict(self.state)
        self.live = frozenset(chain.from_iterable(cut.live for cut in self.wanted.values()))
        self.kept = frozenset(chain.from_iterable(cut.finished for cut in self.wanted.values()))

    def called(
        self,
        path: str,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """The output of a module: the kept one if its call was finished before the cut."""
        number = self._matched(path)
        if number is None:
            return forward(*args, **kwargs)
        call = self.order.calls[number]
        if call.after <= self.begin:
            self.next = call.after
            return self.given(number)
        if number in self.wanted:
            self.states[number] = self._state(self.wanted[number])
            if self.stops and number == self.last:
                raise _Stopped
        self.next = number + 1
        self.open.append(number)
        out = forward(*args, **kwargs)
        self.open.pop()
        if self.matched and self.next != call.after:
            self._differs()
        if self.matched and number in self.kept:
            leaves, spec = tree_flatten(out)
            self.saved[number] = self._copied(number, (tuple(leaves), spec))
        return out

    def _matched(self, path: str) -> int | None:
        """The number of this call; None after the last cut, and once the order is another one."""
        if not self.matched or self.next > self.last:
            return None
        expected = self.order.calls[self.next]
        if (expected.path, expected.parent) == (path, self.open[-1]):
            return self.next
        self._differs()
        return None

    def _differs(self) -> None:
        """From here on the calls are not those of the recorded pass."""
        if self.next > self.last:
            return
        if self.begin != ROOT:
            raise ValuesMissing("The model calls other modules for this batch.")
        self.matched = False

    def finish(self) -> None:
        """Gives the cuts that were not reached the inputs alone."""
        for number in self.wanted:
            if number not in self.states:
                if any(isinstance(leaf, Form) for leaf in self.state[ROOT][0]):
                    raise ValuesMissing("The inputs of this batch were not kept.")
                self.states[number] = {ROOT: self.state[ROOT]}

    def given(self, number: int) -> Any:
        """The kept output of a call, or the inputs. What is written over later is a copy."""
        leaves, spec = self.state[number]
        full = [
            leaf.absent()
            if isinstance(leaf, Form)
            else leaf.clone()
            if (number, place) in self.order.overwritten
            else leaf
            for place, leaf in enumerate(leaves)
        ]
        return tree_unflatten(full, spec)

    def _copied(self, number: int, output: Kept) -> Kept:
        """An output as it is kept: only live tensors, and a copy of what is written over later."""
        leaves, spec = output
        return tuple(
            leaf.clone()
            if isinstance(leaf, Tensor) and (number, place) in self.live & self.order.overwritten
            else _reduced(leaf, (number, place), self.live)
            for place, leaf in enumerate(leaves)
        ), spec

    def _state(self, cut: Cut) -> State:
        return {
            number: (
                tuple(
                    _reduced(leaf, (number, place), cut.live)
                    for place, leaf in enumerate(self.saved[number][0])
                ),
                self.saved[number][1],
            )
            for number in (ROOT, *cut.finished)
        }


def _reduced(leaf: Any, place: Leaf, live: Collection[Leaf]) -> Any:
    return Form.of(leaf) if isinstance(leaf, Tensor) and place not in live else leaf


def replay(
    root: nn.Module, x: Inputs, order: CallOrder, outputs: Callable[[Any], Tensor] = require_logits
) -> Replay:
    """The program of a model whose calls are in this order, for inputs like `x`."""
    graph = fx.Graph()
    args, kwargs = arguments(x)
    inputs = [graph.placeholder(name) for name in (*(f"x{n}" for n in range(len(args))), *kwargs)]
    steps: list[Node] = []
    for number in range(len(order.cuts) + 1):
        name = "logits" if number == len(order.cuts) else f"cut{number}"
        before = tuple(steps[-1:] or inputs)
        steps.append(graph.create_node("call_function", tree_flatten, before, name=name))
    return Replay(
        root,
        (*inputs, *steps),
        inputs[0],
        steps[-1],
        order=order,
        positional=len(args),
        names=tuple(kwargs),
        outputs=outputs,
    )
