"""Repeats a run without some channels, and compares what every layer reads with the first run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from pruning_core.model.coupling.budget import Budget
from pruning_core.model.coupling.first_run import (
    NormStep,
    NotedStep,
    StatisticStep,
    WeightStep,
)
from pruning_core.model.coupling.operations import Operations

MOST_STEPS = 2**24
MARK = 12288.0
"""Stands in weights that read removed channels: no result may depend on them. Exact in bfloat16."""


class StepsDiffer(ValueError):
    """A repeated run took other steps than the first."""


@dataclass(eq=False)
class Comparison:
    """What a repeated run found. Numbers of channels.

    not_zero: removed channels that a layer read as not zero. changed: kept channels that had
    another value; elsewhere: another value was found where no channel is known, or in the outputs.
    """

    not_zero: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    elsewhere: bool = False

    @property
    def passed(self) -> bool:
        """Was everything as it must be?"""
        return not (self.not_zero or self.changed or self.elsewhere)


class Repeated(Operations):
    """Repeats a run. Weights give their first results, without the removed channels.

    So each layer reads what the operations between layers make of these results alone. expected:
    what every step read when nothing was removed; None: this run notes it. noise: a seed; with it,
    random numbers are added to the results, so that no accident of one input proves anything.
    names: of the operations that take the steps; met: the steps that were taken. Raises StepsDiffer
    for other steps.
    """

    def __init__(
        self,
        steps: Mapping[int, NotedStep],
        names: Mapping[int, str],
        removed: Tensor,
        budget: Budget,
        expected: "Repeated | None" = None,
        noise: int = 0,
    ) -> None:
        super().__init__(budget)
        self.steps = steps
        self.removed = removed
        self.expected = expected
        self.read: dict[int, Tensor] = {}
        self.names = names
        self.biases: dict[int, Tensor] = {}
        self.met: set[int] = set()
        self.noise = noise
        self.result = Comparison()

    def step(self, op: Any, args: Any, kwargs: Any) -> Any:
        """Runs one operation, or gives its first result."""
        noted = self.steps.get(self.index)
        if noted is None:
            return op(*args, **kwargs)
        self.met.add(self.index)
        if self.names[self.index] != op._schema.name:
            raise StepsDiffer
        if isinstance(noted, WeightStep):
            return self._weights(noted, args)
        if isinstance(noted, NormStep):
            return _norm(noted, op, args)
        return _statistics(noted, op, args, kwargs)

    def _weights(self, step: WeightStep, args: Any) -> Tensor:
        x = args[step.x]
        if step.read.any():
            self._compare(x, step)
        self._compare_weight(args[step.weight], step)
        removed = self.removed[step.made.long()]
        if step.bias is not None:
            self._compare_bias(args[step.bias], step, removed)
        result = step.dense.clone()  # with the same strides, on which later operations depend
        if self.noise and result.is_floating_point():
            rng = torch.Generator().manual_seed(self.noise * MOST_STEPS + self.index)
            result += 2 * _spread(step.dense) * torch.randn(result.shape, generator=rng)
        shape = [1] * result.ndim
        shape[step.out_dim] = -1
        return result.masked_fill_(removed.view(shape), 0)

    def _compare(self, x: Tensor, step: WeightStep) -> None:
        """Kept channels must be equal to the first run's, removed ones zero."""
        if self.expected is None:
            self.budget.hold(x.numel() * x.element_size())
            self.read[self.index] = x.clone()
            return
        dense = self.expected.read[self.index]
        if dense.shape != x.shape:
            raise StepsDiffer
        removed = self.removed[step.read.long()]
        shape = [1] * x.ndim
        shape[step.x_dim] = -1
        wanted = torch.where(removed.view(shape), torch.zeros((), dtype=x.dtype), dense)
        if torch.equal(x, wanted):
            return
        wrong = ~torch.isclose(x, wanted, rtol=1e-4, atol=1e-6, equal_nan=True)
        at = wrong.movedim(step.x_dim, 0).flatten(1).any(1)
        self.result.not_zero.update(step.read[at & removed].tolist())
        kept = step.read[at & ~removed].tolist()
        self.result.changed.update(n for n in kept if n)
        self.result.elsewhere |= 0 in kept

    def _compare_bias(self, bias: Tensor, step: WeightStep, removed: Tensor) -> None:
        """The bias must be zero for removed rows, and as before for kept ones."""
        if self.expected is None:
            self.biases[self.index] = bias.clone()
            return
        kept = bias == self.expected.biases[self.index]
        self.result.not_zero.update(step.made[removed & (bias != 0)].tolist())
        self.result.changed.update(step.made[~removed & ~kept].tolist())

    def _compare_weight(self, weight: Tensor, step: WeightStep) -> None:
        """Only columns of removed channels may hold the mark.

        A weight that is computed must lose the rows of removed channels, and keep the others.
        Where it is computed from all its inputs, a mark changes rows that stay.
        """
        ins, outs = step.weight_dims
        rows = self.removed[step.made.long()]
        if step.computed:
            if self.expected is None:
                self.budget.hold(weight.numel() * weight.element_size(), weights=True)
                self.read[-self.index] = weight.clone()
                return
            shape = [1] * weight.ndim
            shape[outs] = -1
            zero = torch.zeros((), dtype=weight.dtype)
            wanted = torch.where(rows.view(shape), zero, self.expected.read[-self.index])
            wrong = ~torch.isclose(weight, wanted, rtol=1e-4, atol=1e-6, equal_nan=True)
            at = wrong.movedim(outs, 0).flatten(1).any(1)
            self.result.not_zero.update(step.made[at & rows].tolist())
            self.result.elsewhere |= bool((at & ~rows).any())
            return
        if step.zeros:
            return
        removed = self.removed[step.read.long()]
        columns = weight.shape[ins]
        if weight.shape[outs] != len(rows):
            return  # a grouped transposed convolution, whose columns are never marked
        marked = (weight == MARK).movedim((outs, ins), (0, 1))
        groups = len(removed) // columns  # each group's rows read that group's channels
        anywhere = marked.reshape(groups, len(rows) // groups, columns, -1).any(3).any(1).flatten()
        if bool((anywhere & ~removed).any()):
            self.result.elsewhere = True


def _spread(values: Tensor) -> float:
    """A length of the values' own size."""
    return float(values.float().square().mean().sqrt()) if values.numel() else 0.0


def _norm(step: NormStep, op: Any, args: Any) -> tuple[Tensor, ...]:
    """The norm with the first run's means and scales."""
    x = args[0]
    if step.kind == "group":
        rows = x.reshape(*step.scale.shape, -1)
        out = ((rows - step.mean[..., None]) * step.scale[..., None]).reshape(x.shape)  # type: ignore[index]
        vectors = [v if v is None else v.view(-1, *(1,) * (x.ndim - 2)) for v in args[1:3]]
    else:
        out = (x if step.mean is None else x - step.mean) * step.scale
        vectors = list(args[2:4] if step.mean is not None else (args[2], None))
    out = out if vectors[0] is None else out * vectors[0]
    out = out if vectors[1] is None else out + vectors[1]
    rest = (step.scale,) if step.mean is None else (step.mean, step.scale)
    return out.to(x.dtype).contiguous(), *rest


def _statistics(step: StatisticStep, op: Any, args: Any, kwargs: Any) -> Any:
    leaves, form = tree_flatten(op(*args, **kwargs))
    if len(leaves) != len(step.results):
        raise StepsDiffer
    return tree_unflatten([result.clone() for result in step.results], form)
