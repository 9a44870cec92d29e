"""Wanda block by block against a loop written from its released rule, with torch alone."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from pruning_core.flows.blockwise import block_of
from pruning_core.model.inventory import inventory
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished
from pruning_core.workspaces import Workspace, calibration
from tests.core.events import last_of
from tests.core.quarters import quarters


class Block(nn.Module):
    """Two linear layers that read one input."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.gate = nn.Linear(wide, wide)
        self.up = nn.Linear(wide, wide)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.gate(x).relu() * self.up(x)
        return out


def released(model: nn.Sequential, x: Tensor) -> dict[str, Tensor]:
    """Per row, the lowest int(columns / 2) of |W| ||x|| are removed; then the next block."""
    masks = {}
    for at, block in enumerate(model):
        norm = x.square().sum(0).sqrt()
        for name, linear in block.named_modules():
            if isinstance(linear, nn.Linear):
                scores = linear.weight.abs() * norm
                lowest = scores.sort(dim=1, stable=True).indices[:, : scores.shape[1] // 2]
                mask = torch.ones_like(scores).scatter(1, lowest, 0)
                masks[f"{at}.{name}.weight".replace("..", ".")] = mask.bool()
                linear.weight.data *= mask
        x = block(x)
    return masks


def test_wanda_block_by_block_is_the_released_loop_and_one_pass_differs() -> None:
    base = quarters()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), Block(36), Block(36), nn.Linear(36, 4)).eval()
    here = Workspace(model, base.dataset, inventory(model, (1, 6, 6)), ())
    plan = Plan(
        criterion="wanda", granularity="row", flow="blockwise", fine_tune=TrainConfig(epochs=0)
    )
    found = {
        flow: last_of(Finished, prune(replace(plan, flow=flow), here, torch.device("cpu"))).masks
        for flow in ("blockwise", "rounds")
    }
    batches = [x for x, _ in calibration(here, plan.calibration) if isinstance(x, Tensor)]
    x = torch.cat(batches)
    with torch.no_grad():
        wanted = released(model, x)
    for name, mask in wanted.items():
        assert torch.equal(found["blockwise"][name].view_as(mask), mask), name
    assert torch.equal(found["rounds"]["1.up.weight"], found["blockwise"]["1.up.weight"])
    assert not torch.equal(found["rounds"]["2.up.weight"], found["blockwise"]["2.up.weight"])


class Residual(nn.Module):
    """Three convolutions whose outputs are added, so that they have the same channels."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Conv2d(i, 6, 3, padding=1) for i in (1, 6, 6))
        self.head = nn.Linear(6 * 36, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks[0](x)
        for block in list(self.blocks)[1:]:
            x = x + block(x).relu()
        out: Tensor = self.head(x.flatten(1))
        return out


def test_layers_of_several_blocks_lose_the_same_channels() -> None:
    base = quarters()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Residual().eval()
    here = Workspace(model, base.dataset, inventory(model, (1, 6, 6)), ())
    for criterion in ("gradient", "grasp", "snip"):
        plan = Plan(
            criterion=criterion,
            granularity="filter",
            flow="blockwise",
            tied=True,
            fine_tune=TrainConfig(epochs=0),
        )
        masks = last_of(Finished, prune(plan, here, torch.device("cpu"))).masks
        kept = [masks[f"blocks.{at}.weight"].flatten(1).any(1) for at in range(3)]
        assert not kept[0].all()
        assert kept[0].equal(kept[1]), criterion
        assert kept[0].equal(kept[2]), criterion


def test_a_block_ends_at_the_first_number() -> None:
    assert block_of("layer1.0.conv1.weight") == "layer1.0"
    assert block_of("4.weight") == "4"
