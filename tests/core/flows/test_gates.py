"""Hard-concrete gates: their formulas, their gradients, and the budgets that they meet."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from pruning_core.flows.gates import (
    HardConcrete,
    _Gating,
    hard_concrete,
    lowered,
    open_chance,
)
from pruning_core.flows.rounds import SLIMMING
from pruning_core.pipeline import flow_context, prune
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished, Masks, PruningError
from tests.core.events import last_of
from tests.core.quarters import quarters

CPU = torch.device("cpu")
CONFIG = TrainConfig(epochs=2, batch_size=8, lr=0.05, weight_decay=0.0)
PLAN = Plan(sparsity=0.5, allocation="global", granularity="filter", flow="gates", fine_tune=CONFIG)


def test_gates_are_those_of_the_paper() -> None:
    """A loop over its formulas; P(z > 0) against draws; the gradient is zero where z is clamped."""
    for log_alpha in (-4.0, -1.0, 0.5, 3.0):
        for u in (0.01, 0.4, 0.99):
            s = 1 / (1 + math.exp(-(math.log(u) - math.log(1 - u) + log_alpha) / (2 / 3)))
            wanted = min(1.0, max(0.0, s * 1.2 - 0.1))
            given = hard_concrete(torch.tensor([log_alpha]), torch.tensor([u]))
            assert float(given) == pytest.approx(wanted, abs=1e-6)
        drawn = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
        open_ones = hard_concrete(torch.tensor([log_alpha]), drawn) > 0
        assert float(open_ones.float().mean()) == pytest.approx(
            float(open_chance(torch.tensor(log_alpha))), abs=0.01
        )
    assert hard_concrete(torch.tensor([-2.5, 2.5])).tolist() == [0.0, 1.0]


def test_the_penalty_closes_expensive_gates_first_until_the_budget_is_met() -> None:
    costs = torch.tensor([0.1, 0.2, 0.7])
    start = torch.full((3,), 2.0)
    assert torch.equal(lowered(start, costs, 1.0), start)
    after = lowered(start, costs, 0.4)
    assert float((costs * open_chance(after)).sum()) == pytest.approx(0.4, abs=0.001)
    moves = start - after
    assert float(moves[1] / moves[0]) == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize("shape", ["filter", "fine", "vector_row"])
def test_weights_and_gates_get_the_gradients_of_the_gated_network(shape: str) -> None:
    """Against autograd through the network whose tensors are values times gates."""
    here = quarters()
    context = flow_context(replace(PLAN, granularity=shape), here, CPU)
    hook = _Gating(HardConcrete(), context)
    model = quarters().model.train()
    values = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    hook.begin(model, torch.optim.SGD(model.parameters(), lr=0.1))
    x, y = next(iter(here.dataset.train.batches(16)))
    alpha = hook._log_alpha
    drawn = torch.rand(len(alpha), generator=torch.Generator().manual_seed(3))
    hook._u.manual_seed(3)
    hook._multiply(noisy=True)
    nn.functional.cross_entropy(model(x), y).backward()
    hook.backward()
    z = hard_concrete(alpha, drawn)
    gated = values | {name: values[name] * z[place] for name, place in hook._places.items()}
    out = torch.func.functional_call(quarters().model.train(), gated, (x,))
    loss = nn.functional.cross_entropy(out, y)
    wanted = torch.autograd.grad(loss, [alpha, *values.values()])
    assert alpha.grad is not None
    scaled = wanted[0] / wanted[0].square().mean().sqrt()
    assert torch.allclose(alpha.grad, scaled, atol=1e-4)
    for (name, parameter), slope in zip(model.named_parameters(), wanted[1:], strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, slope, atol=1e-6), name
        assert torch.equal(parameter, values[name]), name


def test_the_target_may_be_a_share_of_the_macs() -> None:
    here = quarters()
    done = last_of(Finished, prune(replace(PLAN, flow="gates:macs=1"), here, CPU))
    assert 0.4 < done.report.remaining["macs"] <= 0.5
    assert done.tuned is not None
    assert done.tuned.value > 0.4
    with pytest.raises(PruningError, match=r"of the MACs cannot be reached: .* lower sparsity"):
        list(prune(replace(PLAN, flow="gates:macs=1", sparsity=0.999), here, CPU))


def test_slimming_removes_a_share_of_the_channels_by_one_threshold() -> None:
    plan = replace(PLAN, flow="slimming:groups=1", criterion="bn_scale", sparsity=0.25)
    context = flow_context(plan, quarters(), CPU)
    model = quarters().model
    norm = model.get_submodule("1")
    scales = torch.tensor([0.9, -0.1, 0.5, 0.3, -0.7, 0.2, 0.8, 0.4])
    with torch.no_grad():
        norm.get_parameter("weight").copy_(scales)
    chosen: Masks = replace(SLIMMING, groups=True)._chosen(context, model)[1]
    kept = chosen["0.weight"].flatten(1).any(1)
    assert torch.equal(kept, scales.abs() > 0.2)


def test_layers_that_are_not_trained_have_no_gate() -> None:
    here = quarters()
    here.model.get_parameter("0.weight").requires_grad_(False)
    with pytest.raises(PruningError, match="needs gates"):
        list(prune(PLAN, here, CPU))
