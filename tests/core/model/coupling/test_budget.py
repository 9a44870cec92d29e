"""Finding couplings ends at a limit, in one sentence with a remedy that helps."""

from functools import partial

from pruning_core.model.coupling.budget import Budget
from pruning_core.model.coupling.trace import couplings
from pruning_core.model.inventory import inventory
from tests.core.evaluation.test_partial_forward import seeded
from tests.core.model.coupling.networks import CHANNELS, head
from tests.core.toy import is_sentence, refusal


def test_budgets_end_in_one_sentence() -> None:
    model = seeded(lambda: head(lambda n, x: n.a(x)))
    layers = inventory(model.eval(), CHANNELS)
    weights = sum(4 * own.numel() for own in model.parameters())
    for budget, remedy in (
        (Budget(seconds=0.0), "only where the network repeats operations for every part of it"),
        (Budget(steps=3), "only where the network repeats operations for every part of it"),
        (Budget(bytes=10), "its weights alone take that much, so no smaller input helps"),
        (Budget(bytes=weights), "try a smaller input"),
    ):
        problem = refusal(partial(couplings, model, layers, CHANNELS, budget))
        assert is_sentence(problem)
        assert "It takes more than" in problem
        assert remedy in problem


def test_a_smaller_input_is_advised_where_single_operations_take_the_time() -> None:
    for count, advised in ((50, True), (50_000, False)):
        budget = Budget()
        budget._done = count
        budget._end = -1.0  # 60 s are over
        budget._earliest = -1.0
        assert ("try a smaller input" in refusal(budget.step)) == advised


def test_time_that_another_program_takes_is_not_counted() -> None:
    budget = Budget()
    budget._earliest = -1.0
    budget.step()
