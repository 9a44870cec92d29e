"""Movement pruning and PLATON against loops written from their papers and released rules."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruning_core.flows.gradual import UncertainImportance
from pruning_core.flows.masking import StepState
from pruning_core.training.config import TrainConfig
from pruning_core.types import Inputs
from tests.core.flows.test_oracles import CONFIG, NAMES, masked, optimizer, row, run, same
from tests.core.quarters import quarters
from tests.core.toy import gradient


class MovementLoop:
    """Sanh et al. 2020: dL/dS = (dL/dW') W of the same pass, and S moves against it.

    This holds for masked weights too. Weights by plain SGD: masked weights keep their values, the
    scores of all weights change, and each layer keeps its highest scores. Scores by Adam's formula
    at the rate 0.01, or without a rate as their plain sum.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, adam: bool) -> None:
        self.adam = adam
        self.t = 0
        self.model = model
        self.lr = config.lr
        self.steps = optimizer(model, config)
        self.w = {name: model.get_parameter(name).data.clone() for name in NAMES}
        self.mask = {name: torch.ones_like(w) for name, w in self.w.items()}
        self.scores = {name: torch.zeros_like(w) for name, w in self.w.items()}
        self.m = {name: torch.zeros_like(w) for name, w in self.w.items()}
        self.v = {name: torch.zeros_like(w) for name, w in self.w.items()}

    def moved(self, name: str, slope: Tensor) -> Tensor:
        if not self.adam:
            return slope
        self.m[name] = 0.9 * self.m[name] + 0.1 * slope
        self.v[name] = 0.999 * self.v[name] + 0.001 * slope**2
        m_hat = self.m[name] / (1 - 0.9**self.t)
        v_hat = self.v[name] / (1 - 0.999**self.t)
        return 0.01 * m_hat / (v_hat.sqrt() + 1e-8)

    def step(self, x: Inputs, y: Tensor) -> None:
        for name in NAMES:
            self.model.get_parameter(name).data = self.w[name] * self.mask[name]
        self.steps.zero_grad()
        cross_entropy(self.model(x), y).backward()
        slopes = {name: gradient(self.model, name).clone() for name in NAMES}
        self.steps.step()
        self.t += 1
        for name, slope in slopes.items():
            self.scores[name] -= self.moved(name, slope * self.w[name])
            self.w[name] = self.w[name] - self.lr * slope * self.mask[name]

    def prune(self, share: float) -> None:
        for name, scores in self.scores.items():
            lowest = scores.flatten().argsort(stable=True)[: round(share * scores.numel())]
            self.mask[name] = torch.ones(scores.numel()).index_fill(0, lowest, 0).view_as(scores)


@pytest.mark.parametrize("adam", [True, False])
def test_movement_is_the_loop_of_its_scores(adam: bool) -> None:
    here = quarters()
    config = replace(CONFIG, momentum=0.0, weight_decay=0.0)
    text = f"movement:begin=0.2,end=0.8,cuts=3,adamw={int(adam)}"
    prunings, last = run(text, here, config, allocation="uniform")
    loop = MovementLoop(deepcopy(here.model).train(), config, adam)
    done = 0
    for step, (x, y) in enumerate(here.dataset.train.shuffled(8, 1)):
        loop.step(x, y)
        if step in (3, 5, 7):
            loop.prune(0.6 * (1 - (1 - (done + 1) / 3) ** 3))
            for name, mask in loop.mask.items():
                event = prunings[done].masks[name]
                assert torch.equal(event.view_as(mask), mask.bool()), f"step {step}"
            done += 1
    assert done == len(prunings)
    for name in NAMES:
        torch.testing.assert_close(
            last.model.get_parameter(name).data,
            loop.w[name] * loop.mask[name],
            rtol=1e-4,
            atol=1e-6,
        )


class PlatonLoop:
    """Zhang et al. 2022, equations 4 to 8, over one row of weights: I = |w g| at the same step, S =
    Ibar U. As released, w is read after the step, and a mask sets zeros at its own moment only.
    """

    def __init__(self, n: int, window: int) -> None:
        self.mean = torch.zeros(n)
        self.doubt = torch.zeros(n)
        self.seen: list[Tensor] = []
        self.window = window

    def add(self, w: Tensor, g: Tensor) -> None:
        self.seen.append((w * g).abs())
        if len(self.seen) == self.window:
            now = sum(self.seen) / self.window
            self.mean = 0.85 * self.mean + 0.15 * now
            self.doubt = 0.95 * self.doubt + 0.05 * (now - self.mean).abs()
            self.seen = []


def test_platons_importance_is_the_papers_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    found = UncertainImportance(0.85, 0.95, 3)
    loop = PlatonLoop(5, 3)
    for _ in range(12):
        w = torch.randn(5, generator=rng)
        g = torch.randn(5, generator=rng)
        found.add(StepState(0, 1, {"w": w}, {"w": g}, {}, nn.Identity()))
        loop.add(w, g)
    torch.testing.assert_close(found.scores()["w"], loop.mean * loop.doubt)


def test_platon_while_training_is_the_released_loop_and_weights_return() -> None:
    here = quarters()
    config = replace(CONFIG, lr=0.2)
    cuts, last = run("platon:begin=0,end=0.8,window=2", here, config)
    model = deepcopy(here.model).train()
    loop = PlatonLoop(584, 2)
    mask = torch.ones(584)
    steps = optimizer(model, config)
    done = 0
    returned = 0
    for step, (x, y) in enumerate(here.dataset.train.shuffled(8, 1)):
        steps.zero_grad()
        cross_entropy(model(x), y).backward()
        slopes = torch.cat([gradient(model, name).flatten() for name in NAMES])
        steps.step()
        loop.add(row(model).clone(), slopes)
        if step in (1, 3, 5, 7):
            before = mask
            done += 1
            removed = round(0.6 * (1 - (1 - done / 4) ** 3) * 584)
            mask = torch.ones(584).index_fill(
                0, (loop.mean * loop.doubt).argsort(stable=True)[:removed], 0
            )
            assert same(cuts[done - 1], mask), f"step {step}"
            returned += int((mask > before).sum())
            masked(model, mask)
        if step > 7:
            masked(model, mask)
    assert done == len(cuts)
    assert returned > 0
    torch.testing.assert_close(row(last.model), row(model), rtol=1e-4, atol=1e-6)
