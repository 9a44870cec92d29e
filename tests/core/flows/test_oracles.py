"""Flows against loops written from their papers' formulas, with torch alone."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.truth import training
from benchmarks.truth.training import Seven
from pruning_core.flows import flow
from pruning_core.flows.masking import StepState, Timed, train_with_rule, update_steps
from pruning_core.flows.protocol import Chosen
from pruning_core.flows.recipes import above_quantile
from pruning_core.flows.regrow import exchanged
from pruning_core.flows.rounds import Lottery
from pruning_core.flows.seven import keep_ratio
from pruning_core.pipeline import flow_context, prune
from pruning_core.plan import Plan
from pruning_core.schedule import agp
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Epoch, Finished, Pruned, Tuned
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
    loop = Seven(8 * 9 + 512, 10, 0.6)
    batches = here.dataset.train.shuffled(8, 0)
    for t in range(10):
        x, y = next(batches)
        model.zero_grad()
        cross_entropy(model(x), y).backward()
        loop.prune(t, row(model), torch.cat([gradient(model, name).flatten() for name in NAMES]))
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
    loop = Seven(8 * 9 + 512, 8, 0.6)
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
            loop.prune(step - 2, row(model), slopes * loop.mask)
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


def test_grown_weights_have_no_momentum_from_before() -> None:
    """One weight that returns after two steps: its next step is that of its gradient alone."""
    here = quarters()
    weight = "4.weight"
    masks = {weight: torch.ones(4, 128, 1, 1, dtype=torch.bool).index_fill(1, torch.tensor(3), 0)}
    moved: dict[bool, Tensor] = {}
    config = replace(CONFIG, weight_decay=0.0)
    for resets in (False, True):

        def choose(state: StepState, fraction: float) -> Chosen:
            kept = {} if fraction == 1 else masks
            return {}, {weight: kept.get(weight, torch.ones_like(masks[weight]))}

        def watch(state: StepState, resets: bool = resets) -> None:
            if state.step == 4:
                moved[resets] = state.weights[weight][:, 3] / state.gradients[weight][:, 3]

        rule = Timed({1: 0.5, 3: 1.0}, choose, watch, resets_momentum=resets)
        context = flow_context(planned("gradual", config), here, CPU)
        list(train_with_rule(context, rule, here.model, {}, regrows=True))
    # Nesterov's first step: lr (g + 0.9 g).
    torch.testing.assert_close(moved[True], torch.full_like(moved[True], -0.05 * 1.9))
    assert not torch.allclose(moved[False], moved[True])


def test_released_steps_are_those_of_the_loops_of_the_authors_code() -> None:
    """10 steps: masks until the last one, PLATON's one step late, no step at RigL's exchanges."""
    here = quarters()
    config = TrainConfig(epochs=1, batch_size=8, lr=0.05, weight_decay=5e-4)
    batches = here.dataset.train.shuffled(8, 1)
    data = [(x, y) for x, y in batches if isinstance(x, Tensor)]
    cubic = {step: agp(step / 6) for step in range(1, 7)} | dict.fromkeys(range(7, 10), 1.0)
    windows = {1: agp(1 / 3), 3: agp(2 / 3), 5: 1.0}
    plan = planned("rigl", config)
    _, first = plan.resolve(here).choose(plan.resolve(here).scores(), 1.0)
    exchanges = update_steps(flow_context(plan, here, CPU), 0.0, 0.75, 4)
    cases: tuple[tuple[str, str, Callable[[training.Loop], Tensor]], ...] = (
        (
            "movement",
            "movement:cuts=3",
            lambda loop: training.movement(loop, data, cubic, 0.6, True),
        ),
        (
            "platon:window=2,released=1",
            "platon:window=2",
            lambda loop: training.platon(loop, data, windows, 0.6, True, 2),
        ),
        (
            "rigl:updates=4,released=1",
            "rigl:updates=4",
            lambda loop: training.rigl(
                loop, data, exchanges, 8, [first[name] for name in NAMES], True
            ),
        ),
    )
    for text, other, oracle in cases:
        wanted = oracle(training.Loop(here.model, NAMES, 0.05, len(data)))
        released, plain = (
            torch.cat([run(each, here, config)[1].masks[n].flatten() for n in NAMES])
            for each in (text, other)
        )
        assert torch.equal(released, wanted.bool()), text
        assert not torch.equal(released, plain), text


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
    assert "epoch 9" in refusal(lambda: run("lottery:fresh=0,rewind=9,resume=0", here, config))
    assert "after epoch 2" in refusal(lambda: run("lottery:fresh=0,rewind=2", here, config))
    lottery = flow("lottery")
    assert isinstance(lottery, Lottery)
    assert lottery.fresh


def test_a_rewound_training_goes_on_after_its_epoch_and_rounds_score_the_last() -> None:
    """Its steps have the images and the rates of the dense training's second epoch."""
    here = quarters()
    config = replace(CONFIG, epochs=2, cosine=True, momentum=0.0)
    cuts, last = run("lottery:fresh=0,rewind=1", here, config, schedule="exponential:2")
    model = deepcopy(cuts[0].model).train()
    mask = torch.cat([cuts[0].masks[name].flatten() for name in NAMES]).float()
    steps = optimizer(model, config)
    for step, (x, y) in enumerate(here.dataset.train.shuffled(8, 2)):
        for group in steps.param_groups:
            group["lr"] = config.lr * (1 + math.cos(math.pi * (10 + step) / 20)) / 2
        steps.zero_grad()
        cross_entropy(model(x), y).backward()
        steps.step()
        masked(model, mask)
    now = row(model).abs() * mask
    kept = round((1 - 0.6 * cuts[1].fraction) * 584)
    wanted = torch.zeros(584).index_fill(0, now.topk(kept).indices, 1)
    assert same(cuts[1], wanted)
    assert last.tuned is not None


def test_fresh_rounds_score_new_weights() -> None:
    here = quarters()
    config = replace(CONFIG, seed=1)
    plan = planned("rounds:fresh=1", config, criterion="snip")
    (cut,), _ = run("rounds:fresh=1", here, config, criterion="snip")
    fresh = plan.resolve(here).fresh_model(1)
    assert not torch.equal(row(fresh), row(here.model))
    groups = plan.resolve(here).scores(fresh)
    _, masks = plan.resolve(here).choose(groups, 1.0)
    assert all(torch.equal(mask, cut.masks[name]) for name, mask in masks.items())


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
