"""Training with masks that change on the way: one hook for every flow that prunes while the network
learns.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from pruning_core.flows.protocol import FRAMES, Chosen, Event, FlowContext
from pruning_core.model.inventory import oihw
from pruning_core.training.fine_tune import Hook, steps_per_epoch
from pruning_core.types import Masks, Pruned, Tuned


@dataclass(frozen=True, eq=False)
class StepState:
    """What a rule sees after an optimizer step: weights after the step, gradients before it, O x I
    x H x W by layer name.

    step: from 0; a removed weight that is still pulled, or kept underneath, has the value that the
    optimizer just gave it; before: the weights before the step, with which the slopes were
    computed; of a hidden rule, as they lie under the masks; empty for a rule that does not recall
    them.
    """

    step: int
    total: int
    weights: Mapping[str, Tensor]
    slopes: Mapping[str, Tensor]
    masks: Masks
    model: nn.Module
    before: Mapping[str, Tensor] = field(default_factory=dict)

    def snapshot(self) -> nn.Module:
        """A copy of the model in training, in eval mode on the CPU."""
        return deepcopy(self.model).cpu().to(memory_format=torch.contiguous_format).eval()


@runtime_checkable
class MaskRule(Protocol):
    """Decides after every optimizer step. updates: how many times in all it gives masks.

    hidden: removed weights keep their values underneath, and only what they compute is zero; dense:
    removed weights are pulled by the gradient too; held: removed weights are at zero until the rule
    changes its mind, else only when it decides; recalls: it reads the weights of before each step.
    """

    @property
    def hidden(self) -> bool: ...
    @property
    def dense(self) -> bool: ...
    @property
    def held(self) -> bool: ...
    @property
    def recalls(self) -> bool: ...
    @property
    def updates(self) -> int: ...

    def __call__(self, moment: StepState) -> tuple[float, Chosen] | None:
        """The share of the target and the masks from now on, or None for no change."""


@dataclass(eq=False)
class Timed:
    """A rule that calls `choose` with the share of the target after the steps named; `watch` sees
    every step.
    """

    when: Mapping[int, float]
    choose: Callable[[StepState, float], Chosen]
    watch: Callable[[StepState], None] | None = None
    hidden: bool = False
    dense: bool = False
    held: bool = True
    recalls: bool = False

    @property
    def updates(self) -> int:
        """How many times masks change."""
        return len(self.when)

    def __call__(self, moment: StepState) -> tuple[float, Chosen] | None:
        if self.watch is not None:
            self.watch(moment)
        fraction = self.when.get(moment.step)
        return None if fraction is None else (fraction, self.choose(moment, fraction))


class Masking(Hook):
    """Carries out a rule while `fine_tune` trains: holds its masks, and tells about `FRAMES` of
    them.
    """

    def __init__(self, work: FlowContext, rule: MaskRule, masks: Masks, regrows: bool) -> None:
        self.masks = masks
        self._work = work
        self._rule = rule
        self._regrows = regrows
        self._done = 0
        self._stride = -(-rule.updates // FRAMES)
        self._newest: tuple[float, Chosen] | None = None
        self._rounds = 0
        self._parameters: dict[str, nn.Parameter] = {}
        self._under: dict[str, Tensor] = {}
        self._removed: dict[str, Tensor] = {}
        self._slopes: dict[str, Tensor] = {}
        self._before: dict[str, Tensor] = {}

    @property
    def settled(self) -> bool:  # type: ignore[override]
        """All masks have been chosen."""
        return self._done >= self._rule.updates

    def begin(self, model: nn.Module) -> None:
        self._model = model
        self._parameters = {
            layer.name: model.get_parameter(layer.name) for layer in self._work.prunable
        }
        self._under = {
            name: parameter.detach().clone() for name, parameter in self._parameters.items()
        }
        self._place(self.masks)
        if self._rule.held:
            self._hold()

    @torch.no_grad()
    def backward(self) -> None:
        for name, parameter in self._parameters.items():
            if parameter.grad is None:
                continue
            self._slopes[name] = parameter.grad.clone()
            if name in self._removed and not self._rule.dense:
                parameter.grad.masked_fill_(self._removed[name], 0)
            if self._rule.hidden:
                parameter.copy_(self._under[name])
            if self._rule.recalls:
                self._before[name] = parameter.clone()

    @torch.no_grad()
    def stepped(self, done: int, total: int) -> Sequence[Pruned]:
        if self._rule.held and not self._rule.hidden and not self._rule.dense:
            self._hold()  # momentum and decay have moved them: what grows next grows from zero
        if self._rule.hidden:
            self._under = {name: p.detach().clone() for name, p in self._parameters.items()}
        weights, slopes, before = (
            self._viewed(found) for found in (self._parameters, self._slopes, self._before)
        )
        found = self._rule(StepState(done, total, weights, slopes, self.masks, self._model, before))
        if found is not None:
            self._done += 1
            self._newest = found
            self._place(found[1][1])
        if self._rule.held or found is not None:
            self._hold()
        return self.untold() if self._done % self._stride == 0 or self.settled else ()

    def untold(self) -> Sequence[Pruned]:
        """The event of the newest masks, if they were not told yet."""
        if self._newest is None:
            return ()
        fraction, (ratios, masks) = self._newest
        self._newest = None
        self._rounds = self._rounds + 1
        rounds = max(self._rounds, -(-self._rule.updates // self._stride))
        model = deepcopy(self._model).cpu().to(memory_format=torch.contiguous_format).eval()
        return (Pruned(self._rounds, rounds, fraction, ratios, masks, model),)

    def _viewed(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            x.name: oihw(tensors[x.name].detach(), x)
            for x in self._work.prunable
            if x.name in tensors
        }

    def _place(self, masks: Masks) -> None:
        """Makes the masks the ones to hold; what falls silent is held as well, where nothing may
        come back or all is settled.
        """
        self.masks = masks
        self._removed = {
            x.name: ~masks[x.name].reshape(x.param_shape).to(self._parameters[x.name].device)
            for x in self._work.prunable
            if x.name in masks
        }
        silent = self._work.silence(masks) if self.settled or not self._regrows else {}
        self._silent = [(self._model.get_parameter(name), ~keep) for name, keep in silent.items()]

    @torch.no_grad()
    def _hold(self) -> None:
        for name, removed in self._removed.items():
            self._parameters[name].masked_fill_(removed, 0)
        for parameter, removed in self._silent:
            parameter.masked_fill_(removed.to(parameter.device), 0)


def trained(
    work: FlowContext, rule: MaskRule, model: nn.Module, masks: Masks, *, regrows: bool
) -> Iterator[Event]:
    """Trains a copy of the model from these masks on, by the rule; then Tuned, before it the last
    masks if they were not told.
    """
    hook = Masking(work, rule, masks, regrows)
    for event in work.tuned(model, {}, hook=hook):
        if isinstance(event, Tuned):
            yield from hook.untold()
        yield event


def steps_in_all(work: FlowContext) -> int:
    """Optimizer steps of the plan's training."""
    return work.config.epochs * steps_per_epoch(len(work.dataset.train), work.config.batch_size)


def update_steps(work: FlowContext, begin: float, end: float, count: int) -> tuple[int, ...]:
    """At most `count` different steps, evenly from the share `begin` of all steps to the share
    `end`, the last one at the end.
    """
    total = steps_in_all(work)
    first = round(begin * total)
    last = max(round(end * total), round(begin * total) + 1)
    return tuple(
        dict.fromkeys(first + -(-(k * (last - first)) // count) - 1 for k in range(1, count + 1))
    )
