"""Dynamic network surgery against a loop written from its formula, with torch alone."""

from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruning_core.types import Inputs
from tests.core.flows.test_oracles import CONFIG, NAMES, optimizer, run
from tests.core.quarters import quarters


def depth(w: Tensor, n_removed: int) -> float:
    """q for which mean + q std lies halfway between the largest removed and the smallest kept
    weight.
    """
    sizes = w.abs().flatten()
    ranked = sizes.sort().values
    level = (ranked[n_removed - 1] + ranked[n_removed]) / 2
    return float((level - sizes.mean()) / sizes.std(unbiased=False))


class SurgeryLoop:
    """Guo et al. 2016: after every step m = 0 below 0.9 level, 1 from 1.1 level on, else as before;
    all weights keep learning.
    """

    def __init__(self, model: nn.Module, share: float, fixed: bool) -> None:
        self.model = model
        self.level: dict[str, float] = {}
        self.fixed = fixed
        self.steps = optimizer(model, CONFIG)
        self.w = {name: model.get_parameter(name).data.clone() for name in NAMES}
        self.q = {}
        self.mask = {}
        self.returned = 0
        for name, w in self.w.items():
            n_removed = round(share * w.numel())
            self.q[name] = depth(w, n_removed)
            self.level[name] = self.level_of(name, w.abs())
            self.mask[name] = w.abs() > w.abs().flatten().kthvalue(n_removed).values

    def level_of(self, name: str, sizes: Tensor) -> float:
        return float(sizes.mean() + self.q[name] * sizes.std(unbiased=False))

    def step(self, x: Inputs, y: Tensor) -> None:
        for name in NAMES:
            self.model.get_parameter(name).data = self.w[name] * self.mask[name]
        self.steps.zero_grad()
        cross_entropy(self.model(x), y).backward()
        for name in NAMES:
            self.model.get_parameter(name).data = self.w[name].clone()
        self.steps.step()
        for name in NAMES:
            self.w[name] = self.model.get_parameter(name).data.clone()
            self._set_mask(name)

    def _set_mask(self, name: str) -> None:
        sizes = self.w[name].abs()
        before = self.mask[name]
        level = self.level[name] if self.fixed else self.level_of(name, sizes)
        now = torch.where(
            sizes < 0.9 * level, False, torch.where(sizes >= 1.1 * level, True, before)
        )
        self.returned += int((now & ~before).sum())
        self.mask[name] = now


@pytest.mark.parametrize("fixed", [False, True])
def test_surgery_is_the_loop_of_its_two_thresholds(fixed: bool) -> None:
    here = quarters()
    text = f"surgery:updates=10,end=1.0,fixed={int(fixed)}"
    prunings, last = run(text, here, allocation="uniform")
    loop = SurgeryLoop(deepcopy(here.model).train(), 0.6, fixed)
    for step, (x, y) in enumerate(here.dataset.train.shuffled(8, 1)):
        loop.step(x, y)
        for name, mask in loop.mask.items():
            event = prunings[step].masks[name]
            assert torch.equal(event.view_as(mask), mask), f"step {step}"
    assert len(prunings) == 10
    assert loop.returned > 0, "no weight came back"
    for name in NAMES:
        torch.testing.assert_close(
            last.model.get_parameter(name).data,
            loop.w[name] * loop.mask[name],
            rtol=1e-4,
            atol=1e-6,
        )


def test_surgery_updates_less_and_less_often() -> None:
    """With gamma 1 an update after t steps happens with probability 1 / (1 + t)."""
    here = quarters()
    often, _ = run("surgery:updates=10,end=1.0", here)
    seldom, _ = run("surgery:updates=10,end=1.0,gamma=1", here)
    changes = [
        sum(any((a.masks[x] != b.masks[x]).any() for x in NAMES) for a, b in pairwise(cuts))
        for cuts in (often, seldom)
    ]
    assert 0 < changes[1] < changes[0] == 9
