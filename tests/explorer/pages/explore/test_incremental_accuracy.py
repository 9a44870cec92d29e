"""The Explore page's accuracy is `evaluate`'s, and a slider computes only what depends on the layer
that it moved.
"""

from dataclasses import replace
from unittest.mock import patch

import pytest
import torch

from explorer.session import cache
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.model.graph import Program
from pruning_core.model.graph.program import Stage, Values
from pruning_core.plan import Plan
from pruning_core.types import Evaluation
from tests.core.toy import answers

PLAN = Plan(model="lenet5", probe=96, sparsity=0.3, allocation="uniform")


def computed(plan: Plan) -> tuple[Evaluation, set[str]]:
    """The page's measurement, and the modules that it ran."""
    ran: set[str] = set()
    value = Program.value

    def counting(program: Program, stage: Stage, values: Values) -> object:
        ran.add(str(stage.node.target))
        return value(program, stage, values)

    space = cache.workspace(plan.model, plan.dataset)
    with patch.object(Program, "value", counting):
        return cache.accuracy(plan, space), ran


@pytest.mark.parametrize("granularity", ["fine", "filter"])
def test_the_page_measures_what_evaluate_measures(granularity: str) -> None:
    space = cache.workspace(PLAN.model, PLAN.dataset)
    for sparsity in (0.31, 0.6, 0.32, 0.31):
        plan = replace(PLAN, granularity=granularity, sparsity=sparsity)
        found = cache.accuracy(plan, space)
        wanted = evaluate(
            cache.pruned_model(plan, space), cache.probe(plan, space), outputs=space.dataset.outputs
        )
        assert (found.n, found.value, found.extras, found.loss) == (
            wanted.n,
            wanted.value,
            wanted.extras,
            wanted.loss,
        )
        assert (found.interval, answers(found).per_class) == (
            wanted.interval,
            answers(wanted).per_class,
        )
        assert torch.equal(answers(found).confusion, answers(wanted).confusion)
        assert torch.equal(answers(found).predictions, answers(wanted).predictions)


def test_moving_a_late_layer_leaves_the_early_ones_alone() -> None:
    layers = cache.workspace(PLAN.model, PLAN.dataset).layers
    first = layers[0]
    last = layers[-1]
    _, everything = computed(PLAN)
    assert {layer.module for layer in layers} <= everything
    for ratio in (0.11, 0.12):
        _, ran = computed(replace(PLAN, overrides=((last.name, ratio),)))
        assert last.module in ran
        assert not ran & {layer.module for layer in layers[:-1]}
    _, ran = computed(replace(PLAN, overrides=((first.name, 0.11),)))
    assert {layer.module for layer in layers} <= ran
