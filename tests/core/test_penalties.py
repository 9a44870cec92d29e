"""Penalties by hand, against loops over groups, and in the training step of any flow."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruning_core.granularity import GRANULARITIES, supports, to_groups
from pruning_core.model.inventory import inventory
from pruning_core.penalties import PENALTIES, bn_scale_l1, group_lasso, penalty
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Finished, Tuned
from tests.core.criteria.test_criteria import kinds
from tests.core.quarters import quarters
from tests.core.toy import is_sentence, refusal

CPU = torch.device("cpu")
CONFIG = TrainConfig(epochs=1, batch_size=8, lr=0.05, cosine=False, momentum=0.0, weight_decay=0.0)


def test_the_slope_of_slimming_is_the_sign_of_the_scale() -> None:
    model = deepcopy(quarters().model)
    with torch.no_grad():
        model.get_parameter("1.weight").copy_(
            torch.tensor([1.0, -2.0, 0.5, -0.1, 3.0, 1.0, -1.0, 2.0])
        )
    value = bn_scale_l1(model, (), None)
    assert float(value.detach()) == pytest.approx(10.6)
    (slope,) = torch.autograd.grad(value, model.get_parameter("1.weight"))
    assert torch.equal(slope, model.get_parameter("1.weight").detach().sign())
    assert "no batch norm" in refusal(lambda: bn_scale_l1(nn.Linear(2, 2), (), None))


def test_group_lasso_by_hand() -> None:
    """Filters (3, 4) and (0, 12): 5 + 12. Slopes are unit vectors, zero for a removed filter."""
    model = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.Flatten(), nn.Linear(2, 2))
    model[0].weight.data = torch.tensor([[3.0, 4.0], [0.0, 12.0]])[:, :, None, None]
    layers = inventory(model, (2, 1, 1))
    value = group_lasso(model, layers[:1], GRANULARITIES["filter"])
    assert float(value.detach()) == pytest.approx(17.0)
    (slope,) = torch.autograd.grad(value, model.get_parameter("0.weight"))
    torch.testing.assert_close(slope.flatten(1), torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    model[0].weight.data[0] = 0
    (slope,) = torch.autograd.grad(
        group_lasso(model, layers[:1], GRANULARITIES["filter"]), model.get_parameter("0.weight")
    )
    torch.testing.assert_close(slope.flatten(1), torch.tensor([[0.0, 0.0], [0.0, 1.0]]))


@pytest.mark.parametrize("name", GRANULARITIES)
def test_group_lasso_is_a_loop_over_the_groups_of_any_granularity(name: str) -> None:
    """A head is one group with its query, key, value and output weights."""
    (model, layers) = kinds()
    g = GRANULARITIES[name]
    joint: dict[tuple[str, int], float] = {}
    for layer in (x for x in layers if supports(g, x) is None):
        w = model.get_parameter(layer.name).detach().reshape(layer.shape)
        for at, group in enumerate(to_groups(w, g, layer).flatten(0, 1)):
            key = (layer.attention if g.spans_attention else layer.name, at)
            joint[key] = joint.get(key, 0.0) + float(group.double().square().sum())
    wanted = sum(square**0.5 for square in joint.values())
    assert joint
    assert float(group_lasso(model, layers, g).detach()) == pytest.approx(wanted, rel=1e-5)


def test_a_network_without_such_groups_is_refused() -> None:
    model = nn.Linear(4, 2)
    asked = penalty("group_lasso:head", 0.1, inventory(model, (4,)))
    assert "No layer of this network has groups of the granularity Attention head" in refusal(
        lambda: asked(model)
    )


@pytest.mark.parametrize("text", ["none", "bn_scale_l1", "group_lasso:filter"])
def test_a_training_with_a_penalty_is_the_loop_with_it_in_the_loss(text: str) -> None:
    here = quarters()
    strength = 0.05
    config = replace(CONFIG, penalty=text, penalty_strength=strength)
    last = list(fine_tune(here.model, {}, here.layers, here.dataset, config, CPU))[-1]
    assert isinstance(last, Tuned)
    model = deepcopy(here.model).train()
    steps = torch.optim.SGD(model.parameters(), lr=config.lr)

    def extra() -> Tensor:
        filters = (
            model.get_parameter("0.weight").flatten(1).norm(dim=1).sum()
        )  # rows of the layer that makes the classes are no groups
        return {
            "none": torch.zeros(()),
            "bn_scale_l1": model.get_parameter("1.weight").abs().sum(),
            "group_lasso:filter": filters,
        }[text]

    for x, y in here.dataset.train.shuffled(8, 1):
        steps.zero_grad()
        (cross_entropy(model(x), y) + strength * extra()).backward()
        steps.step()
    for name in ("0.weight", "1.weight", "4.weight"):
        torch.testing.assert_close(
            last.model.get_parameter(name), model.get_parameter(name), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("flow", ["rounds", "gradual", "rigl:updates=3", "movement:cuts=3"])
def test_any_flow_trains_with_the_penalty(flow: str) -> None:
    """The kept filters are smaller than without it; removed weights stay zero."""
    here = quarters()
    sizes = []
    for text in ("none", "group_lasso:filter"):
        config = replace(CONFIG, epochs=2, penalty=text, penalty_strength=0.15)
        plan = Plan(
            sparsity=0.5, allocation="global", schedule="agp:2", flow=flow, fine_tune=config
        )
        last = list(prune(plan, here, CPU))[-1]
        assert isinstance(last, Finished)
        assert all(
            not last.model.get_parameter(name)[~mask.view_as(last.model.get_parameter(name))].any()
            for name, mask in last.masks.items()
        )
        sizes.append(
            float(last.model.get_parameter("0.weight").detach().flatten(1).norm(dim=1).sum())
        )
    assert sizes[1] < 0.9 * sizes[0]


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_describe_themselves(name: str) -> None:
    entry = PENALTIES[name]
    assert is_sentence(entry.help)
    assert entry.formula.startswith("loss + strength")
    assert "arXiv" in entry.source
