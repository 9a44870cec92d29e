"""Lottery tickets from new weights, and what a network needs for that."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from pruning_core.flows import flow
from pruning_core.flows.rounds import Lottery
from pruning_core.pipeline import flow_context
from tests.core.flows.test_oracles import CONFIG, CPU, NAMES, planned, run
from tests.core.quarters import quarters
from tests.core.toy import refusal

TWICE = replace(CONFIG, epochs=2, seed=7)


class Scaled(nn.Module):
    """Has a parameter that nobody can initialise anew."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def test_a_ticket_starts_from_new_weights_of_the_same_network() -> None:
    """Not from those of the plan's network in the zoo, where the workspace has one of the user's
    own.
    """
    here = quarters()
    lottery = flow("lottery")
    assert isinstance(lottery, Lottery)
    assert lottery.fresh
    made, again = (
        flow_context(planned("lottery", TWICE), here, CPU).plan.fresh_model(TWICE.seed)
        for _ in range(2)
    )
    for name in NAMES:
        assert torch.equal(made.get_parameter(name), again.get_parameter(name))
        assert not torch.equal(made.get_parameter(name), here.model.get_parameter(name))
    cuts, last = run("lottery", here, TWICE, schedule="exponential:2")
    for name in NAMES:
        kept = cuts[0].masks[name].view_as(made.get_parameter(name))
        assert torch.equal(cuts[0].model.get_parameter(name), made.get_parameter(name) * kept)
    assert last.tuned is not None


def test_a_network_that_cannot_be_initialised_says_so() -> None:
    here = quarters()
    here.model.add_module("own", Scaled())
    assert "own has parameters" in refusal(lambda: run("lottery", here, TWICE))
