"""Oracles of flows: the loops of the papers and of their released code, in plain torch.

Weights are one row, in the order of `names`; `Loop` trains, a rule says what happens in each step.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Batches = Sequence[tuple[Tensor, Tensor]]


class Loop:
    """SGD with Nesterov momentum and a cosine rate; weight decay on tensors of 2 or more axes."""

    def __init__(
        self, model: nn.Module, names: Sequence[str], lr: float, total: int, done: int = 0
    ) -> None:
        self.model = deepcopy(model).train()
        self.parameters = [self.model.get_parameter(name) for name in names]
        self.sizes = [p.numel() for p in self.parameters]
        many, few = (
            [p for p in self.model.parameters() if (p.ndim > 1) == wide] for wide in (True, False)
        )
        groups = [{"params": many, "weight_decay": 5e-4}, {"params": few, "weight_decay": 0.0}]
        self.optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
        self.lr = lr
        self.total = total
        self.done = done

    @property
    def rate(self) -> float:
        """The share of the highest learning rate in this step."""
        return (1 + math.cos(math.pi * self.done / self.total)) / 2

    def row(self) -> Tensor:
        """All weights."""
        return torch.cat([p.detach().flatten() for p in self.parameters])

    def slopes(self) -> Tensor:
        """All gradients."""
        parts = [p.grad for p in self.parameters]
        return torch.cat([g.flatten() for g in parts if g is not None])

    def put(self, row: Tensor) -> None:
        """Sets all weights."""
        for p, part in zip(self.parameters, row.split(self.sizes), strict=True):
            p.data.copy_(part.view_as(p))

    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Computes the gradients of a batch, and gives those of the weights."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * self.rate
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()
        return self.slopes().clone()

    def mask_slopes(self, mask: Tensor) -> None:
        """Gradients of removed weights are zero."""
        for p, part in zip(self.parameters, mask.split(self.sizes), strict=True):
            if p.grad is not None:
                p.grad.mul_(part.view_as(p))

    def step(self) -> None:
        """Makes the optimizer's step."""
        self.optimizer.step()
        self.done += 1

    def reset_momentum(self, places: Tensor) -> None:
        """Momentum is zero at these places."""
        for p, part in zip(self.parameters, places.split(self.sizes), strict=True):
            buffer = self.optimizer.state[p].get("momentum_buffer")
            if buffer is not None:
                buffer.masked_fill_(part.view_as(p), 0)


def keep_top(scores: Tensor, kept: int) -> Tensor:
    """The mask of the highest scores; of equal ones, the last are kept."""
    lowest = scores.argsort(stable=True)[: len(scores) - kept]
    return torch.ones_like(scores).index_fill(0, lowest, 0)


def kept_at(loop: Loop, sparsity: float, share: float) -> int:
    """How many weights are kept at a share of the target."""
    return sum(loop.sizes) - round(sparsity * share * sum(loop.sizes))


def gradual(loop: Loop, data: Batches, shares: dict[int, float], sparsity: float) -> Tensor:
    """Zhu and Gupta 2017: |w| ranked again at some steps; removed weights stay zero."""
    mask = torch.ones(sum(loop.sizes))
    for step, (x, y) in enumerate(data):
        loop.backward(x, y)
        loop.mask_slopes(mask)
        loop.step()
        loop.put(loop.row() * mask)
        if step in shares:
            mask = keep_top(loop.row().abs(), kept_at(loop, sparsity, shares[step]))
            loop.put(loop.row() * mask)
    return mask


def movement(
    loop: Loop, data: Batches, shares: dict[int, float], sparsity: float, adam: bool
) -> Tensor:
    """Sanh et al. 2020: S by Adam at 0.01 times the schedule (released), or by the plain sum."""
    n = sum(loop.sizes)
    mask = torch.ones(n)
    scores = torch.zeros(n)
    m = torch.zeros(n)
    v = torch.zeros(n)
    values = loop.row()
    for step, (x, y) in enumerate(data):
        loop.put(values * mask)
        slope = loop.backward(x, y) * values
        rate = 0.01 * loop.rate
        loop.mask_slopes(mask)
        loop.put(values)
        loop.step()
        values = loop.row()
        if adam:
            m = 0.9 * m + 0.1 * slope
            v = 0.999 * v + 0.001 * slope**2
            corrected = v / (1 - 0.999 ** (step + 1))
            scores -= rate * m / (1 - 0.9 ** (step + 1)) / (corrected.sqrt() + 1e-8)
        else:
            scores -= slope
        if step in shares:
            mask = keep_top(scores, kept_at(loop, sparsity, shares[step]))
    return mask


def platon(
    loop: Loop,
    data: Batches,
    shares: dict[int, float],
    sparsity: float,
    late: bool = False,
    size: int = 10,
) -> Tensor:
    """Zhang et al. 2022, released: |w g| after the step, zeros set at each update alone.

    size: steps in a window. late: as in the release, a window's mask is set one step after it, and
    after the last share the mask follows the scores in every step.
    """
    n = sum(loop.sizes)
    window: list[Tensor] = []
    mean = torch.zeros(n)
    doubt = torch.zeros(n)
    mask = torch.ones(n)
    last = max(shares)
    for step, (x, y) in enumerate(data):
        slope = loop.backward(x, y)
        loop.step()
        window.append((loop.row() * slope).abs())
        if len(window) == size:
            now = torch.stack(window).mean(0)
            mean = 0.85 * mean + 0.15 * now
            doubt = 0.95 * doubt + 0.05 * (now - mean).abs()
            window = []
        chosen = step - late
        if chosen in shares or (late and chosen > last):
            share = shares.get(chosen, 1.0)
            mask = keep_top(mean * doubt, kept_at(loop, sparsity, share))
        if chosen in shares or chosen > last:
            loop.put(loop.row() * mask)
    return mask


def rigl(
    loop: Loop,
    data: Batches,
    steps: Sequence[int],
    end: int,
    masks: Sequence[Tensor],
    skips: bool = False,
) -> Tensor:
    """Evci et al. 2020: per layer, drop the smallest |w|, grow the largest |g| from zero with no
    momentum; the share is 0.3 / 2 (1 + cos(pi t / T)). skips: no optimizer step at an exchange."""
    mask = torch.cat([m.flatten() for m in masks]).float()
    loop.put(loop.row() * mask)
    for step, (x, y) in enumerate(data):
        slope = loop.backward(x, y)
        loop.mask_slopes(mask)
        if skips and step in steps:
            loop.done += 1
        else:
            loop.step()
        loop.put(loop.row() * mask)
        if step not in steps:
            continue
        share = 0.3 / 2 * (1 + math.cos(math.pi * (step + 1) / end))
        parts = []
        for w, g, m in zip(*(t.split(loop.sizes) for t in (loop.row(), slope, mask)), strict=True):
            count = int(m.sum() * share)
            size = w.abs().masked_fill(m == 0, math.inf)
            after = m.index_fill(0, size.argsort(stable=True)[:count], 0)
            pull = (-g.abs()).masked_fill(after == 1, math.inf)
            parts.append(after.index_fill(0, pull.argsort(stable=True)[:count], 1))
        grown = torch.cat(parts)
        loop.reset_momentum((grown == 1) & (mask == 0))
        mask = grown
        loop.put(loop.row() * mask)
    return mask


def surgery(
    loop: Loop, data: Batches, steps: Sequence[int], sparsity: float, fixed: bool
) -> Tensor:
    """Guo et al. 2016: per layer two thresholds around mean + q std, of the start or of now."""
    values = loop.row()
    masks = []
    depths = []
    for w in values.abs().split(loop.sizes):
        ranked = w.sort().values
        n = round(sparsity * len(w))
        level = (ranked[n - 1] + ranked[n]) / 2
        depths.append((level - w.mean()) / w.std(unbiased=False))
        masks.append(keep_top(w, len(w) - n))
    mask = torch.cat(masks)
    first = values.abs().split(loop.sizes)
    for step, (x, y) in enumerate(data):
        loop.put(values * mask)
        loop.backward(x, y)
        loop.put(values)
        loop.step()
        values = loop.row()
        if step not in steps:
            continue
        parts = []
        now = values.abs().split(loop.sizes)
        for w, m, q, old in zip(now, mask.split(loop.sizes), depths, first, strict=True):
            base = old if fixed else w
            level = base.mean() + q * base.std(unbiased=False)
            parts.append(torch.where(w < 0.9 * level, 0.0, torch.where(w >= 1.1 * level, 1.0, m)))
        mask = torch.cat(parts)
    return mask


def ticket(
    start: Callable[[int], Loop],
    data: Callable[[int], Iterator[tuple[Tensor, Tensor]]],
    rewind: int,
    shares: Sequence[float],
    sparsity: float,
) -> Tensor:
    """Frankle et al. 2020, released: train, prune |w| of the last step, go back to the weights
    after `rewind` steps and go on from there; momentum starts at zero."""
    loop = start(0)
    early: nn.Module = deepcopy(loop.model)
    mask = torch.ones(sum(loop.sizes))
    for step, (x, y) in enumerate(data(0), start=1):
        loop.backward(x, y)
        loop.step()
        if step == rewind:
            early = deepcopy(loop.model)
    for number, share in enumerate(shares, start=1):
        ranked = loop.row().abs().masked_fill(mask == 0, -1)
        mask = keep_top(ranked, kept_at(loop, sparsity, share))
        if number == len(shares):
            return mask
        loop = start(rewind)
        loop.model.load_state_dict(early.state_dict())
        loop.put(loop.row() * mask)
        for x, y in data(rewind):
            loop.backward(x, y)
            loop.step()
            loop.put(loop.row() * mask)
    return mask


class Seven:
    """Xiao et al. 2024, released: accumulated scores, cubic keep ratio, no return."""

    def __init__(self, n: int, steps: int, sparsity: float) -> None:
        self.m = torch.zeros(n)
        self.v = torch.zeros(n)
        self.s = torch.zeros(n)
        self.mask = torch.ones(n)
        self.steps = steps
        self.keep = 1 - sparsity

    def prune(self, t: int, w: Tensor, g: Tensor) -> None:
        """One mini-batch; t counts from 0."""
        a = g.abs() * self.mask
        self.m = 0.8 * self.m + 0.2 * a
        self.v = 0.9 * self.v + 0.1 * a**2
        m_hat = self.m / (1 - 0.8 ** (t + 1))
        v_hat = self.v / (1 - 0.9 ** (t + 1))
        self.s += (w * a * m_hat / (v_hat.sqrt() + 1e-9)).abs()
        self.s[self.mask == 0] = 0
        share = self.keep + (1 - self.keep) * (1 - (t + 1) / self.steps) ** 3
        ranked = self.s.masked_fill(self.mask == 0, -1)
        self.mask = keep_top(ranked, int(share * len(w)))


def seven_pre(loop: Loop, data: Batches, sparsity: float) -> Tensor:
    """Before training: the network is in evaluation mode and its weights do not move."""
    state = Seven(sum(loop.sizes), len(data), sparsity)
    loop.model.eval()
    for t, (x, y) in enumerate(data):
        slope = loop.backward(x, y)
        state.prune(t, loop.row(), slope)
        loop.put(loop.row() * state.mask)
    return state.mask


def seven_dyn(loop: Loop, data: Batches, first: int, steps: int, sparsity: float) -> Tensor:
    """During training: the gradient before a step, the weights after it; the last t is T - 2."""
    state = Seven(sum(loop.sizes), steps, sparsity)
    for step, (x, y) in enumerate(data):
        slope = loop.backward(x, y)
        loop.mask_slopes(state.mask)
        loop.step()
        if first <= step < first + steps - 1:
            state.prune(step - first, loop.row(), slope)
        loop.put(loop.row() * state.mask)
    return state.mask
