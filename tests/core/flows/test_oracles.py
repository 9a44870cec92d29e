"""Flows against loops written from their papers' formulas, with torch alone."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruning_core.flows import flow
from pruning_core.flows.gradual import UncertainImportance
from pruning_core.flows.masking import StepState
from pruning_core.flows.recipes import above_quantile
from pruning_core.flows.regrow import exchanged
from pruning_core.flows.rounds import Lottery
from pruning_core.flows.seven import keep_ratio
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Epoch, Finished, Inputs, Pruned, Tuned
from pruning_core.workspaces import Workspace
from tests.core.events import last_of, of_kind
from tests.core.quarters import quarters
from tests.core.toy import gradient, refusal

CPU = torch.device("cpu")
CONFIG = TrainConfig(epochs=1, batch_size=8, lr=0.05, cosine=False, weight_decay=1e-3)
NAMES = ("0.weight", "4.weight")


def planned(text: str, config: TrainConfig = CONFIG, **more: Any) -> Plan:
    return replace(Plan(sparsity=0.6, allocation="global", flow=text, fine_tune=config), **more)


def run(
    text: str, here: Workspace, config: TrainConfig = CONFIG, **more: Any
) -> tuple[list[Pruned], Finished]:
    found = tuple(prune(planned(text, config, **more), here, CPU))
    return of_kind(Pruned, found), last_of(Finished, found)


def optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.SGD:
    decayed, others = (
        [p for p in model.parameters() if (p.ndim > 1) == many] for many in (True, False)
    )
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0
    )


class Loop:
    """SEVEN's state, in the pseudo-code's own names: one row of all weights."""

    def __init__(self, n: int, steps: int, sparsity: float) -> None:
        self.m = torch.zeros(n)
        self.v = torch.zeros(n)
        self.s = torch.zeros(n)
        self.mask = torch.ones(n)
        self.n = n
        self.steps = steps
        self.r = 1 - sparsity

    def cut(self, t: int, w: Tensor, g: Tensor) -> None:
        a = g.abs()
        self.m = 0.8 * self.m + 0.2 * a
        self.v = 0.9 * self.v + 0.1 * a**2
        m_hat = self.m / (1 - 0.8 ** (t + 1))
        v_hat = self.v / (1 - 0.9 ** (t + 1))
        self.s += (w * a * m_hat / (v_hat.sqrt() + 1e-9)).abs()
        self.s[self.mask == 0] = 0
        k = int((self.r + (1 - self.r) * (1 - (t + 1) / self.steps) ** 3) * self.n)
        ranked = self.s.masked_fill(self.mask == 0, -1).argsort(
            stable=True
        )  # of equal scores, such as 0, the first go first
        self.mask[ranked[: self.n - k]] = 0


def row(model: nn.Module, part: str = "data") -> Tensor:
    return torch.cat([getattr(model.get_parameter(name), part).flatten() for name in NAMES])


def masked(model: nn.Module, mask: Tensor) -> None:
    with torch.no_grad():
        for name, part in zip(
            NAMES, mask.split([model.get_parameter(x).numel() for x in NAMES]), strict=True
        ):
            model.get_parameter(name).mul_(part.view_as(model.get_parameter(name)))


def same(event: Pruned, mask: Tensor) -> bool:
    return torch.equal(torch.cat([event.masks[name].flatten() for name in NAMES]), mask.bool())


def test_seven_before_fine_tuning_is_the_released_loop_over_ten_steps() -> None:
    here = quarters()
    cuts, _ = run("seven_pre:steps=10,batch=8,classifier=1", here, replace(CONFIG, epochs=0))
    model = deepcopy(here.model).eval()
    loop = Loop(8 * 9 + 512, 10, 0.6)
    batches = here.dataset.train.shuffled(8, 0)
    for t in range(10):
        x, y = next(batches)
        model.zero_grad()
        cross_entropy(model(x), y).backward()
        loop.cut(t, row(model), torch.cat([gradient(model, name).flatten() for name in NAMES]))
        masked(model, loop.mask)
        assert same(cuts[t], loop.mask), f"step {t}"
    assert cuts[-1].fraction == pytest.approx(1.0, abs=2 / 584)
    assert int(loop.mask.sum()) == int((1 - 0.6) * 584)


def test_seven_while_fine_tuning_is_the_released_loop_over_ten_steps() -> None:
    """Two plain steps, cuts after steps 2 to 8 (T = 8, the last t is T - 2), one step of recovery;
    weights too.
    """
    here = quarters()
    cuts, last = run("seven_dyn:delay=0.2,window=0.8,classifier=1", here)
    model = deepcopy(here.model).train()
    loop = Loop(8 * 9 + 512, 8, 0.6)
    steps = optimizer(model, CONFIG)
    done = 0
    for step, (x, y) in enumerate(here.dataset.train.shuffled(8, 1)):
        steps.zero_grad()
        cross_entropy(model(x), y).backward()
        slopes = torch.cat([gradient(model, name).flatten() for name in NAMES])
        for name, part in zip(NAMES, loop.mask.split([72, 512]), strict=True):
            gradient(model, name).mul_(
                part.view_as(model.get_parameter(name))
            )  # forward with W M: no gradient there
        steps.step()
        if 2 <= step < 2 + 8 - 1:
            loop.cut(step - 2, row(model), slopes * loop.mask)
            masked(model, loop.mask)
            assert same(cuts[done], loop.mask), f"step {step}"
            done += 1
        masked(model, loop.mask)
    assert done == len(cuts) == 7
    assert int(loop.mask.sum()) == int((0.4 + 0.6 / 8**3) * 584)
    torch.testing.assert_close(row(last.model), row(model), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["seven_pre:steps=4,batch=8", "seven_dyn:delay=0,window=0.8"])
def test_seven_leaves_the_classifier_whole_unless_asked(name: str) -> None:
    for text, layers in ((name, {NAMES[0]}), (f"{name},classifier=1", set(NAMES))):
        cuts, _ = run(text, quarters())
        assert cuts[-1].masks.keys() == cuts[-1].ratios.keys() == layers
    assert 1 - cuts[-1].masks[NAMES[0]].double().mean() > 0


def test_sevens_keep_ratio_is_cubic_and_ends_at_the_target() -> None:
    assert keep_ratio(0, 2, 0.8) == pytest.approx(0.2 + 0.8 / 8)
    assert keep_ratio(9, 10, 0.8) == pytest.approx(0.2)
    assert "two steps" in refusal(lambda: run("seven_dyn:window=0.1", quarters()))


class MovementLoop:
    """Sanh et al. 2020: dL/dS = (dL/dW') W of the same pass, and S moves against it.

    This holds for masked weights too. Plain SGD: masked weights keep their values, the scores of
    all weights change, and each layer keeps its highest scores.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.model = model
        self.lr = config.lr
        self.steps = optimizer(model, config)
        self.w = {name: model.get_parameter(name).data.clone() for name in NAMES}
        self.mask = {name: torch.ones_like(w) for name, w in self.w.items()}
        self.scores = {name: torch.zeros_like(w) for name, w in self.w.items()}

    def step(self, x: Inputs, y: Tensor) -> None:
        for name in NAMES:
            self.model.get_parameter(name).data = self.w[name] * self.mask[name]
        self.steps.zero_grad()
        cross_entropy(self.model(x), y).backward()
        slopes = {name: gradient(self.model, name).clone() for name in NAMES}
        self.steps.step()
        for name, slope in slopes.items():
            self.scores[name] -= slope * self.w[name]
            self.w[name] = self.w[name] - self.lr * slope * self.mask[name]

    def prune(self, share: float) -> None:
        for name, scores in self.scores.items():
            lowest = scores.flatten().argsort(stable=True)[: round(share * scores.numel())]
            self.mask[name] = torch.ones(scores.numel()).index_fill(0, lowest, 0).view_as(scores)


def test_movement_is_minus_the_sum_of_slope_times_weight() -> None:
    here = quarters()
    config = replace(CONFIG, momentum=0.0, weight_decay=0.0)
    prunings, last = run("movement:begin=0.2,end=0.8,cuts=3", here, config, allocation="uniform")
    loop = MovementLoop(deepcopy(here.model).train(), config)
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
    Ibar U.
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
        found.add(StepState(0, 1, {"w": w - 0.1 * g}, {"w": g}, {}, nn.Identity(), {"w": w}))
        loop.add(w, g)
    torch.testing.assert_close(found.scores()["w"], loop.mean * loop.doubt)


def test_platon_while_training_is_the_papers_loop() -> None:
    """Sensitivity of the pass: the weights that the gradient was computed with, not those that the
    optimizer made of them.
    """
    here = quarters()
    config = replace(CONFIG, lr=0.2)
    cuts, last = run("platon:begin=0,end=0.8,window=2", here, config)
    model = deepcopy(here.model).train()
    loop = PlatonLoop(584, 2)
    mask = torch.ones(584)
    steps = optimizer(model, config)
    done = 0
    for step, (x, y) in enumerate(here.dataset.train.shuffled(8, 1)):
        steps.zero_grad()
        cross_entropy(model(x), y).backward()
        loop.add(
            row(model).clone(),
            torch.cat([gradient(model, name).flatten() for name in NAMES]),
        )
        steps.step()
        if step in (1, 3, 5, 7):
            done += 1
            removed = round(0.6 * (1 - (1 - done / 4) ** 3) * 584)
            mask = torch.ones(584).index_fill(
                0, (loop.mean * loop.doubt).argsort(stable=True)[:removed], 0
            )
            assert same(cuts[done - 1], mask), f"step {step}"
        masked(model, mask)
    assert done == len(cuts)
    torch.testing.assert_close(row(last.model), row(model), rtol=1e-4, atol=1e-6)


def test_drop_and_grow_by_hand() -> None:
    kept = torch.tensor([[True, True, True, True, False, False, False]])
    sizes = torch.tensor([[0.1, 0.9, 0.2, 0.8, 0.0, 0.0, 0.0]])
    pulls = torch.tensor([[0.3, 9.0, 0.1, 9.0, 0.2, 0.5, 0.4]])
    after = exchanged(
        kept, sizes, pulls, 0.5
    )  # 0 and 2 drop; 5 and 6 pull most among those left out
    assert after.tolist() == [[False, True, False, True, False, True, True]]
    assert exchanged(kept, sizes, pulls, 0.2).equal(kept)  # floor(0.8) = 0
    assert exchanged(kept, sizes, torch.tensor([[9.0] + [0.0] * 6]), 0.25).equal(
        kept
    )  # the dropped one may grow at once


def test_rigl_keeps_its_count_and_grows_from_zero() -> None:
    cuts, last = run("rigl:updates=4", quarters())
    assert {int(cut.masks["4.weight"].sum()) for cut in cuts} == {int(last.masks["4.weight"].sum())}
    first = cuts[0]
    second = cuts[1]
    grown = second.masks["4.weight"] & ~first.masks["4.weight"]
    assert grown.any()
    assert not second.model.get_parameter("4.weight").detach()[grown[..., 0, 0]].any()


def test_surgery_has_a_band_in_which_nothing_changes() -> None:
    """A narrow band lets weights come and go; in a wide one few move. The share removed stays near
    the plan's.
    """
    here = quarters()
    cuts, _ = run("surgery:updates=5,end=1.0", here)
    assert all(0.4 < float((~cut.masks["4.weight"]).float().mean()) < 0.8 for cut in cuts)
    wide, _ = run("surgery:updates=5,low=0.1,high=10.0", here)
    changed = sum(int((wide[0].masks[name] != wide[-1].masks[name]).sum()) for name in NAMES)
    narrow = sum(int((cuts[0].masks[name] != cuts[-1].masks[name]).sum()) for name in NAMES)
    assert changed < narrow


def test_the_quantile_is_strict() -> None:
    """Of nine elements the median is the threshold and goes: 4 stay, 5 go; level 0 drops the
    minimum.
    """
    values = torch.tensor([[0.1, -0.2, 0.3], [-0.4, 0.5, -0.6], [0.7, -0.8, 0.9]])
    assert above_quantile(values, 0.5).tolist() == [[False] * 3, [False, False, True], [True] * 3]
    assert above_quantile(values, 0.0).sum() == 8
    torch.testing.assert_close(
        above_quantile(values, 0.3),
        values.abs() > torch.quantile(values.abs(), 0.3),
        rtol=0,
        atol=0,
    )


def test_the_magnitude_recipe_cuts_convolutions_by_themselves_and_lets_weights_revive() -> None:
    here = quarters()
    cuts, _ = run("magnitude_quantile", here)
    w = here.model.get_parameter("0.weight").detach().abs()
    assert cuts[0].masks.keys() == {"0.weight"}
    assert torch.equal(cuts[0].masks["0.weight"], w > torch.quantile(w, 0.6))
    seen: list[Tensor] = []
    here.model.get_submodule("0").register_forward_pre_hook(
        lambda module, _: seen.append(module.weight.detach().clone()) if module.training else None
    )
    again, _ = run("magnitude_quantile:every=5", here)
    assert [cut.fraction for cut in again] == [0.5, 1.0]
    removed = ~again[0].masks["0.weight"]
    assert not seen[5][removed].any()
    assert (seen[6][removed] != 0).all()


@pytest.mark.parametrize("rewind", [0, 1])
def test_a_ticket_starts_from_its_early_weights(rewind: int) -> None:
    here = quarters()
    config = replace(CONFIG, epochs=2)
    cuts, _ = run(f"lottery:fresh=0,rewind={rewind}", here, config, schedule="exponential:3")
    early = here.model
    if rewind:
        events = fine_tune(early, {}, here.layers, here.dataset, replace(config, epochs=1), CPU)
        early = next(event.model for event in events if isinstance(event, Tuned))
    assert len(cuts) == 3
    for cut in cuts:
        for name, mask in cut.masks.items():
            wanted = early.get_parameter(name).detach() * mask.view_as(early.get_parameter(name))
            torch.testing.assert_close(cut.model.get_parameter(name).detach(), wanted)
    assert "epoch 9" in refusal(lambda: run("lottery:fresh=0,rewind=9", here, config))
    lottery = flow("lottery")
    assert isinstance(lottery, Lottery)
    assert lottery.fresh


@pytest.mark.parametrize("name", ["slimming", "group_lasso"])
def test_the_penalty_makes_groups_small_before_they_are_cut(name: str) -> None:
    here = quarters()
    config = replace(CONFIG, epochs=2)
    sizes = []
    for strength in (0.0, 0.02):
        found = tuple(
            prune(planned(f"{name}:strength={strength}", config, granularity="filter"), here, CPU)
        )
        model = next(event.model for event in found if isinstance(event, Tuned))
        filters = model.get_parameter("0.weight").detach().flatten(1).norm(dim=1)
        sizes.append(
            float(
                (
                    model.get_parameter("1.weight").detach().abs()
                    if name == "slimming"
                    else filters
                ).sum()
            )
        )
        assert sum(isinstance(event, Epoch) for event in found) == 4
    assert sizes[1] < 0.9 * sizes[0]
