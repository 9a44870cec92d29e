"""Training with masks that change during it: one hook for every flow that prunes while training."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from pruning_core.flows.protocol import FRAMES, Chosen, Event, FlowContext
from pruning_core.model.inventory import oihw, stored
from pruning_core.model.mask_forms import checked_masks
from pruning_core.model.model_io import copy_model
from pruning_core.settings import setting
from pruning_core.training.config import steps_per_epoch
from pruning_core.training.hook import Hook
from pruning_core.training.state_files import State, Stateful, placed_like
from pruning_core.types import Masks, Pruned, Tuned


def first_pruning() -> Any:
    """The setting `begin` of a flow that first trains without pruning."""
    text = "Training without pruning at first, as a fraction of all steps."
    return setting(0.1, 0.0, 0.95, text, label="First pruning at")


def mask_fixed(default: float) -> Any:
    """The setting `end` of a flow that keeps its last mask to the end of the training."""
    text = "When the mask becomes fixed, as a fraction of all steps."
    return setting(default, 0.05, 1.0, text, label="Mask frozen at")


@dataclass(frozen=True, eq=False)
class StepState:
    """What a rule sees after an optimizer step.

    step: counted from 0; weights: after the step, O x I x H x W by layer name (a removed weight
    that is still trained, or keeps its value, has the value that the optimizer gave it);
    gradients: of this step's loss, computed before the step; previous: the weights that these
    gradients were computed with (unmasked for a rule with `keeps_values`; empty for a rule without
    `reads_previous`); masks: in force now.
    """

    step: int
    total: int
    weights: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    masks: Masks
    model: nn.Module
    previous: Mapping[str, Tensor] = field(default_factory=dict)

    def snapshot(self) -> nn.Module:
        """A copy of the model in training, in eval mode on the CPU."""
        return evaluation_copy(self.model)


@runtime_checkable
class MaskRule(Protocol):
    """Decides after every optimizer step whether the masks change.

    updates: how many times in all; keeps_values: removed weights keep their values, only the
    forward pass sees zeros; trains_removed: removed weights get their gradients; holds_zeros:
    removed weights are zero until the next change, else only at the change and after the last one;
    reads_previous: it reads the weights from before each step; resets_momentum: a weight that
    returns starts with an empty state of the optimizer; skipped_steps: steps (from 0) in which the
    optimizer moves nothing.
    """

    @property
    def keeps_values(self) -> bool: ...
    @property
    def trains_removed(self) -> bool: ...
    @property
    def holds_zeros(self) -> bool: ...
    @property
    def reads_previous(self) -> bool: ...
    @property
    def resets_momentum(self) -> bool: ...
    @property
    def skipped_steps(self) -> Collection[int]: ...
    @property
    def updates(self) -> int: ...

    def __call__(self, state: StepState) -> tuple[float, Chosen] | None:
        """The share of the target and the new ratios and masks; None where nothing changes."""

    def state_dict(self) -> State | None:
        """What it keeps between two steps; None: an interrupted training starts again."""

    def load_state_dict(self, state: State) -> None:
        """Continues from there."""


@dataclass(eq=False, kw_only=True)
class RuleDefaults:
    """The usual facts of a rule; a rule states only those that differ.

    kept: by any names, all that the rule keeps between two steps, {} for nothing; None: it does not
    say, so that an interrupted training starts again.
    """

    keeps_values: bool = False
    trains_removed: bool = False
    holds_zeros: bool = True
    reads_previous: bool = False
    resets_momentum: bool = False
    skipped_steps: Collection[int] = ()
    kept: Mapping[str, Stateful] | None = None

    def state_dict(self) -> State | None:
        if self.kept is None:
            return None
        return {name: own.state_dict() for name, own in self.kept.items()}

    def load_state_dict(self, state: State) -> None:
        for name, own in (self.kept or {}).items():
            own.load_state_dict(state[name])


@dataclass(eq=False)
class Timed(RuleDefaults):
    """Changes the masks after given steps.

    when: step -> share of the target; choose: called after these steps; watch: after every step.
    """

    when: Mapping[int, float]
    choose: Callable[[StepState, float], Chosen]
    watch: Callable[[StepState], None] | None = None

    @property
    def updates(self) -> int:
        """How many times the masks change."""
        return len(self.when)

    def __call__(self, state: StepState) -> tuple[float, Chosen] | None:
        if self.watch is not None:
            self.watch(state)
        fraction = self.when.get(state.step)
        return None if fraction is None else (fraction, self.choose(state, fraction))


class Masking(Hook):
    """Follows a rule during `fine_tune`: holds its masks and reports about `FRAMES` of them."""

    def __init__(self, context: FlowContext, rule: MaskRule, masks: Masks, regrows: bool) -> None:
        self.masks = masks
        self._context = context
        self._rule = rule
        self._regrows = regrows
        self._changes = 0
        self._step = 0
        self._stride = -(-rule.updates // FRAMES)
        self._newest: tuple[float, Chosen] | None = None
        self._reports = 0
        self._parameters: dict[str, nn.Parameter] = {}
        self._values: dict[str, Tensor] = {}
        self._removed: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}
        self._previous: dict[str, Tensor] = {}
        self._frozen: dict[str, tuple[nn.Parameter, Tensor]] = {}

    @property
    def settled(self) -> bool:  # type: ignore[override]
        """Have all masks been chosen?"""
        return self._changes >= self._rule.updates

    def begin(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._model = model
        self._optimizer = optimizer
        self._parameters = {
            layer.name: model.get_parameter(layer.name) for layer in self._context.layers
        }
        self._frozen = {
            name: (p, p.detach().clone())
            for name, p in self._parameters.items()
            if not p.requires_grad
        }
        self._keep_values()
        self._use(self.masks)
        if self._rule.holds_zeros:
            self._set_zeros()
        self._need_gradients(self._context.config.epochs > 0)

    def _need_gradients(self, needed: bool) -> None:
        """Rules read the gradients of frozen layers too, which no optimizer changes."""
        for parameter, _ in self._frozen.values():
            parameter.requires_grad_(needed)
            parameter.grad = None

    @torch.no_grad()
    def backward(self) -> None:
        for name, parameter in self._parameters.items():
            # The forward pass does not read a weight without a gradient: its slope is zero.
            slope = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            self._gradients[name] = slope.clone()
            if name in self._removed and not self._rule.trains_removed:
                slope.masked_fill_(self._removed[name], 0)
            if self._rule.keeps_values:
                parameter.copy_(self._values[name])
            if self._rule.reads_previous:
                self._previous[name] = parameter.clone()
        if self._step in self._rule.skipped_steps:
            # An optimizer passes over parameters without a gradient.
            self._model.zero_grad(set_to_none=True)
        self._step += 1
        self._need_gradients(False)

    @torch.no_grad()
    def stepped(self, done: int, total: int) -> Sequence[Pruned]:
        rule = self._rule
        if rule.holds_zeros and not rule.keeps_values and not rule.trains_removed:
            # Momentum and weight decay have moved removed weights: a returning one starts at zero.
            self._set_zeros()
        if rule.keeps_values:
            self._keep_values()
        change = rule(self._state(done, total))
        if change is not None:
            self._changes += 1
            self._newest = change
            before = self._removed
            self._use(change[1][1])
            if rule.resets_momentum:
                self._reset_momentum(before)
        if rule.holds_zeros or change is not None or self.settled:
            self._set_zeros()
        events = self.unreported() if self._changes % self._stride == 0 or self.settled else ()
        self._need_gradients(done + 1 < total)
        return events

    def state_dict(self) -> State | None:
        rule = self._rule.state_dict()
        if rule is None:
            return None
        return {
            "rule": rule,
            "masks": self.masks,
            "counts": [self._changes, self._step, self._reports],
            "newest": self._newest and [self._newest[0], self._newest[1][0]],
            "values": self._values if self._rule.keeps_values else {},
        }

    def load_state_dict(self, state: State) -> None:
        self._rule.load_state_dict(state["rule"])
        self._changes, self._step, self._reports = state["counts"]
        self._use(state["masks"])
        if state["newest"] is not None:
            fraction, ratios = state["newest"]
            self._newest = fraction, (ratios, self.masks)
        for name, value in state["values"].items():
            self._values[name] = placed_like(value, self._parameters[name])

    def unreported(self) -> Sequence[Pruned]:
        """The event of the newest masks, unless it has been reported."""
        if self._newest is None:
            return ()
        fraction, (ratios, masks) = self._newest
        self._newest = None
        self._reports += 1
        rounds = max(self._reports, -(-self._rule.updates // self._stride))
        model = evaluation_copy(self._model)
        return (Pruned(self._reports, rounds, fraction, ratios, masks, model),)

    def _state(self, done: int, total: int) -> StepState:
        weights, gradients, previous = (
            self._viewed(tensors) for tensors in (self._parameters, self._gradients, self._previous)
        )
        return StepState(done, total, weights, gradients, self.masks, self._model, previous)

    def _viewed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            layer.name: oihw(tensors[layer.name].detach(), layer)
            for layer in self._context.layers
            if layer.name in tensors
        }

    def _keep_values(self) -> None:
        self._values = {name: p.detach().clone() for name, p in self._parameters.items()}

    def _use(self, masks: Masks) -> None:
        """Makes these the masks to hold.

        Dependent parameters are held too, unless removed weights may still return. A weight of a
        frozen layer returns with its value, because no training would move it away from zero.
        """
        self.masks = checked_masks(masks, self._context.plan.space.layers)
        self._removed = {
            x.name: ~stored(self.masks[x.name], x).to(self._parameters[x.name].device)
            for x in self._context.layers
            if x.name in self.masks
        }
        with torch.no_grad():
            for parameter, value in self._frozen.values():
                parameter.copy_(value)
        final = self.settled or not self._regrows
        dependent = self._context.plan.dependent_masks(self.masks) if final else {}
        self._dependent = [
            (self._model.get_parameter(name), ~keep) for name, keep in dependent.items()
        ]

    def _reset_momentum(self, before: Mapping[str, Tensor]) -> None:
        """Empties the optimizer's state of the weights that were removed and are kept now."""
        for name, removed in self._removed.items():
            parameter = self._parameters[name]
            for value in self._optimizer.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == parameter.shape and name in before:
                    value.masked_fill_(before[name] & ~removed, 0)

    @torch.no_grad()
    def _set_zeros(self) -> None:
        for name, removed in self._removed.items():
            self._parameters[name].masked_fill_(removed, 0)
        for parameter, removed in self._dependent:
            parameter.masked_fill_(removed.to(parameter.device), 0)


def evaluation_copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode, on the CPU, in the usual memory format."""
    return copy_model(model).cpu().to(memory_format=torch.contiguous_format).eval()


def train_with_rule(
    context: FlowContext, rule: MaskRule, model: nn.Module, masks: Masks, *, regrows: bool
) -> Iterator[Event]:
    """Trains a copy of the model, with these masks at first and then by the rule.

    Tuned is the last event; the last masks are reported before it.
    """
    hook = Masking(context, rule, masks, regrows)
    for event in context.fine_tune(model, {}, hook=hook):
        if isinstance(event, Tuned):
            yield from hook.unreported()
        yield event


def total_steps(context: FlowContext) -> int:
    """The number of optimizer steps of one training."""
    images = len(context.dataset.train)
    return context.config.epochs * steps_per_epoch(images, context.config.batch_size)


def update_steps(context: FlowContext, begin: float, end: float, count: int) -> tuple[int, ...]:
    """At most `count` different steps at equal distances, the last one at the end.

    begin, end: shares of all steps.
    """
    total = total_steps(context)
    first = round(begin * total)
    length = max(round(end * total), first + 1) - first
    return tuple(dict.fromkeys(first + -(-(k * length) // count) - 1 for k in range(1, count + 1)))
