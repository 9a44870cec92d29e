"""Weights and structure learned in one training: a random gate on every group (L0)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from pruning_core.flows.gradual import shares
from pruning_core.flows.masking import evaluation_copy, mask_fixed, update_steps
from pruning_core.flows.protocol import (
    FRAMES,
    Chosen,
    Event,
    FlowContext,
    FlowDefaults,
    least_met,
)
from pruning_core.granularity import from_groups, to_groups
from pruning_core.model.inventory import stored
from pruning_core.model.mask_forms import removed_places
from pruning_core.schedule import agp
from pruning_core.settings import setting
from pruning_core.tied_layers import tied_parts
from pruning_core.training.hook import Hook
from pruning_core.training.optimizers import SGD
from pruning_core.training.state_files import KeptOptimizer, State, placed_like
from pruning_core.types import GroupScores, Layer, Masks, Pruned, PruningError

LOW = -0.1
HIGH = 1.1
TEMPERATURE = 2 / 3
EPSILON = 1e-6
LIMIT = math.log(100)
"""log alpha stays between - ln 100 and ln 100, as in the released code."""
OFFSET = TEMPERATURE * math.log(-LOW / HIGH)
BISECTIONS = 12
MOMENTUM = 0.9
SPREAD = 0.01
"""Standard deviation of log alpha at the start, as in the released code."""


def hard_concrete(log_alpha: Tensor, u: Tensor | None = None) -> Tensor:
    """Gates in [0, 1], with exact zeros and ones.

    z = clamp(s (1.1 + 0.1) - 0.1, 0, 1), s = sigmoid((ln u - ln(1 - u) + log alpha) / b), b = 2/3;
    u: drawn evenly from (0, 1); without it s = sigmoid(log alpha), the gate after training.

    >>> hard_concrete(torch.tensor([-3.0, 0.0, 3.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    if u is None:
        s = torch.sigmoid(log_alpha)
    else:
        s = torch.sigmoid((torch.logit(u, EPSILON) + log_alpha) / TEMPERATURE)
    return (s * (HIGH - LOW) + LOW).clamp(0, 1)


def open_chance(log_alpha: Tensor) -> Tensor:
    """P(z > 0) = sigmoid(log alpha - b ln(0.1 / 1.1))."""
    return torch.sigmoid(log_alpha - OFFSET)


def lowered(log_alpha: Tensor, costs: Tensor, budget: float) -> Tensor:
    """One step of the penalty lambda sum over gates of cost P(z > 0), all gates alike.

    log alpha - lambda cost / mean cost; lambda is the least with which the expected cost is at most
    the budget. costs: of each gate, with the sum 1.
    """
    slope = costs / costs.mean()

    def moved(strength: float) -> Tensor:
        return (log_alpha - strength * slope).clamp(-LIMIT, LIMIT)

    def expected(strength: float) -> float:
        return float((costs * open_chance(moved(strength))).sum())

    if expected(0.0) <= budget:
        return log_alpha
    most = 2 * LIMIT / float(slope.min())
    return moved(least_met(lambda x: expected(x) <= budget, 0.0, most, BISECTIONS))


class _Structure:
    """The gates of all groups in one row, and what each of them multiplies.

    Layers whose weights are not trained have no gates. places: parameter name -> the number of the
    gate of each of its values. costs: of each gate, as a share of all. Gates of outputs act on the
    scale and shift of the batch norm behind the layer where there is one, because it would undo a
    factor of the weights. Raises PruningError where no layer is trained.
    """

    def __init__(self, context: FlowContext, *, macs: bool) -> None:
        plan = context.plan
        self._g = plan.granularity
        self._parts: list[tuple[tuple[Layer, ...], slice, tuple[int, int]]] = []
        self.places: dict[str, Tensor] = {}
        costs: list[Tensor] = []
        first = 0
        for part in tied_parts(context.layers, self._g, plan.couplings):
            if not all(context.model.get_parameter(x.name).requires_grad for x in part):
                continue
            shape = to_groups(torch.empty(part[0].shape), self._g, part[0]).shape[:2]
            count = shape.numel()
            numbers = torch.arange(first, first + count).view(shape)
            for layer in part:
                self._place(context.model, layer, from_groups(numbers, self._g, layer))
            size = sum(x.macs if macs else x.numel for x in part) / count
            costs.append(torch.full((count,), float(size)))
            self._parts.append((part, slice(first, first + count), (shape[0], shape[1])))
            first += count
        if not costs:
            raise PruningError("No layer that can be pruned so is trained: it needs gates.")
        total = torch.cat(costs)
        self.costs = total / total.sum()

    def _place(self, model: nn.Module, layer: Layer, numbers: Tensor) -> None:
        rows = numbers.flatten(1)[:, 0]
        outputs = self._g.removes_outputs
        if outputs and layer.bn is not None:
            self.places |= {f"{layer.bn}.{name}": rows for name in ("weight", "bias")}
            return
        self.places[layer.name] = stored(numbers, layer).contiguous()
        bias = layer.name.removesuffix("weight") + "bias"
        if outputs and bias in dict(model.named_parameters()):
            self.places[bias] = rows

    def groups(self, log_alpha: Tensor) -> GroupScores:
        """log alpha as the scores of groups."""
        flat = log_alpha.detach().cpu()
        return {
            layer.name: flat[span].view(shape)
            for part, span, shape in self._parts
            for layer in part
        }

    def cost(self, masks: Masks) -> float:
        """The share of the cost of all gates that these masks keep."""
        kept = [
            to_groups(masks[part[0].name], self._g, part[0]).any(-1) for part, *_ in self._parts
        ]
        return float((self.costs * torch.cat([keep.flatten() for keep in kept])).sum())


class _Gating(Hook):
    """Multiplies by the gates in every forward pass of `fine_tune`, and learns them."""

    def __init__(self, flow: "HardConcrete", context: FlowContext) -> None:
        self._flow = flow
        self._context = context
        self._structure = _Structure(context, macs=flow.macs)
        self._when = shares(update_steps(context, 0.0, flow.end, FRAMES), agp)
        self._budget = 1.0
        self._u = torch.Generator().manual_seed(context.config.seed)
        self._masks: Masks = {}
        self._zeros: list[tuple[nn.Parameter, Tensor]] = []
        self._events = 0

    @property
    def settled(self) -> bool:  # type: ignore[override]
        """Are the masks fixed?"""
        return self._events == len(self._when)

    def begin(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._model = model
        self._parameters = {name: model.get_parameter(name) for name in self._structure.places}
        device = next(iter(self._parameters.values())).device
        self._places = {name: place.to(device) for name, place in self._structure.places.items()}
        self._costs = self._structure.costs.to(device)
        closed = self._flow.closed
        start = torch.randn(len(self._costs), generator=self._u) * SPREAD
        start += math.log((1 - closed) / closed)
        self._log_alpha = start.to(device).requires_grad_()
        rate = self._flow.travel / (max(self._when) + 1)
        self._optimizer = SGD([self._log_alpha], lr=rate, momentum=MOMENTUM, dampening=MOMENTUM)
        self._keep_values()
        self._multiply(noisy=True)

    def _keep_values(self) -> None:
        self._values = {name: p.detach().clone() for name, p in self._parameters.items()}

    def _multiply(self, *, noisy: bool) -> None:
        """The next forward pass computes with the kept values times new gates."""
        drawn = torch.rand(len(self._costs), generator=self._u).to(self._costs.device)
        z = hard_concrete(self._log_alpha, drawn if noisy else None)
        self._factors = {name: z[place] for name, place in self._places.items()}
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self._values[name] * self._factors[name])

    def backward(self) -> None:
        if self.settled:
            return
        self._optimizer.zero_grad()
        slopes = []
        for name, parameter in self._parameters.items():
            value = self._values[name]
            if parameter.grad is not None:
                slopes.append((self._factors[name] * (parameter.grad * value)).sum())
                parameter.grad *= self._factors[name].detach()
            with torch.no_grad():
                parameter.copy_(value)
        if slopes:
            torch.stack(slopes).sum().backward()
            assert self._log_alpha.grad is not None
            self._log_alpha.grad /= self._log_alpha.grad.square().mean().sqrt().clamp_min(1e-12)

    def stepped(self, done: int, total: int) -> Sequence[Pruned]:
        if self.settled:
            self._set_zeros()
            return ()
        self._optimizer.step()
        with torch.no_grad():
            self._log_alpha.clamp_(-LIMIT, LIMIT)
            self._log_alpha.copy_(lowered(self._log_alpha, self._costs, self._budget))
        self._keep_values()
        per_epoch = total // self._context.config.epochs
        # The network is measured after an epoch, and reported with every event: without noise.
        self._multiply(noisy=(done + 1) % per_epoch != 0 and done not in self._when)
        return (self._pruned(self._when[done]),) if done in self._when else ()

    def state_dict(self) -> State:
        return {
            "log_alpha": self._log_alpha,
            "optimizer": KeptOptimizer(self._optimizer).state_dict(),
            "u": self._u.get_state(),
            "budget": self._budget,
            "events": self._events,
            "values": self._values,
            "masks": self._masks,
        }

    def load_state_dict(self, state: State) -> None:
        with torch.no_grad():
            self._log_alpha.copy_(state["log_alpha"])
        KeptOptimizer(self._optimizer).load_state_dict(state["optimizer"])
        self._budget = state["budget"]
        self._events = state["events"]
        for name, value in state["values"].items():
            self._values[name] = placed_like(value, self._parameters[name])
        if self.settled:
            self._hold(state["masks"])
        else:
            self._multiply(noisy=False)  # as at the end of every epoch
        self._u.set_state(state["u"])

    def _hold(self, masks: Masks) -> None:
        """Makes these the final masks."""
        space = self._context.plan.space
        dependent = self._context.plan.dependent_masks(masks)
        self._masks = masks
        self._zeros = removed_places(self._model, masks, space.layers, dependent)
        self._set_zeros()

    def _pruned(self, share: float) -> Pruned:
        """The masks at a share of the target, which is the next budget; the last ones stay."""
        plan = self._context.plan
        ratios, masks = self._flow.at(self._context, self._structure.groups(self._log_alpha), share)
        self._budget = self._structure.cost(masks)
        self._events += 1
        if self.settled:
            self._hold(masks)
        model = plan.masked_copy(masks, evaluation_copy(self._model))
        return Pruned(self._events, len(self._when), share, ratios, masks, model)

    @torch.no_grad()
    def _set_zeros(self) -> None:
        for parameter, removed in self._zeros:
            parameter.masked_fill_(removed, 0)


@dataclass(frozen=True)
class HardConcrete(FlowDefaults):
    """Learn weights and gates together; no fine-tuning follows.

    Each group's weights, or what follows its output, are multiplied by a random gate z that is
    often exactly 0 or 1 (`hard_concrete`). log alpha learns from the loss by momentum, with
    gradients scaled to a root mean square of 1 over all gates. (By Adam, as in the paper, gates
    without influence move as far as all others.) The penalty lambda sum cost P(z > 0) gets in every
    step the lambda that meets the budget, which falls on a cubic curve; the paper has one fixed
    lambda, and what remains follows from it. At `end` the plan's allocation ranks log alpha, the
    kept weights are multiplied by their gates, and the mask is fixed. The gates
    start nearly open, because the network is trained.
    Raises PruningError where no layer is trained, and for MACs that cannot be reached.
    """

    help: str = (
        "Multiplies every group by a random gate and learns the gates together with the weights, "
        "with a penalty that closes gates until the target is met. No fine-tuning follows."
    )
    formula: str = (
        "z = clamp(1.2 s - 0.1, 0, 1), s = sigmoid((ln u - ln(1 - u) + log alpha) / b), b = 2/3; "
        "loss + lambda sum cost P(z > 0)"
    )
    regrows: ClassVar[bool] = True
    label: str = "Learned gates (L0, hard concrete)"
    source: str = "Louizos et al. 2018, arXiv:1712.01312"
    published: tuple[tuple[str, str], ...] = (("granularity", "filter"), ("allocation", "global"))
    end: float = mask_fixed(0.7)
    closed: float = setting(
        0.01, 0.001, 0.9, "The drop rate that the gates start with.", label="Closed"
    )
    travel: float = setting(
        100.0,
        0.1,
        10000.0,
        "The rate at which log alpha learns x the number of its steps.",
        label="Travel",
    )
    macs: bool = setting(
        False,
        0,
        1,
        "The plan's sparsity is the share of the MACs to remove, not of the weights.",
        label="MACs in place of weights",
    )

    def __call__(self, context: FlowContext) -> Iterator[Event]:
        yield from context.fine_tune(context.model, {}, hook=_Gating(self, context))

    def at(self, context: FlowContext, groups: GroupScores, share: float) -> Chosen:
        """Ratios and masks at a share of the target."""
        if not self.macs:
            return context.plan.choose(groups, share)
        left = 1 - context.plan.sparsity * share
        whole = replace(context.plan, sparsity=1.0)

        def macs(fraction: float) -> float:
            return whole.counts(whole.choose(groups, fraction)[1]).remaining["macs"]

        if (least := macs(1.0)) > left:
            raise PruningError(
                f"{left:.1%} of the MACs cannot be reached: with every ratio at its largest, "
                f"{least:.1%} remain. Choose a lower sparsity."
            )
        share = least_met(lambda fraction: macs(fraction) <= left, 0.0, 1.0, BISECTIONS)
        return whole.choose(groups, share)
