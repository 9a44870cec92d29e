"""The flows against the loops of `training.py`, on lenet5."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.studies.granularity_order import finished
from benchmarks.truth import training
from benchmarks.truth.table import TARGETS, Line, overlap
from pruning_core.flows import FlowContext, flow
from pruning_core.flows.gradual import Windowed, pruning_steps, shares
from pruning_core.flows.masking import update_steps
from pruning_core.pipeline import flow_context
from pruning_core.plan import Plan
from pruning_core.schedule import agp, fractions
from pruning_core.training.config import TrainConfig
from pruning_core.workspaces import open_workspace

CONFIG = TrainConfig(epochs=2, lr=0.05)
CPU = torch.device("cpu")
Start = Callable[[int], training.Loop]
Rule = Callable[[FlowContext, Callable[[int], training.Loop], training.Batches], Tensor]


@dataclass(frozen=True)
class Trained:
    """A flow with the loop of its paper."""

    method: str
    text: str
    plan: Plan
    rule: Rule
    why: str = "nothing"


def trained(case: Trained) -> Line:
    """The overlap of the final masks, on lenet5."""
    space = open_workspace("lenet5", "digits")
    overlaps = []
    for target in TARGETS:
        plan = replace(case.plan, model="lenet5", sparsity=target)
        context = flow_context(plan, space, CPU)
        names = [layer.name for layer in context.layers]
        if case.plan.flow.startswith("seven"):
            names = [layer.name for layer in context.without_output_layer().layers]
        tune = plan.fine_tune
        data = [
            (x, y)
            for epoch in range(1, tune.epochs + 1)
            for x, y in space.dataset.train.shuffled(tune.batch_size, epoch)
            if isinstance(x, Tensor)
        ]
        start = partial(training.Loop, space.model, names, tune.lr, len(data))
        mask = case.rule(context, start, data)
        ours = finished(plan, space).masks
        overlaps.append(overlap([ours[name] for name in names], [mask]))
    return Line(case.method, case.text, "masks alone", tuple(overlaps), case.why)


def _shares(context: FlowContext, text: str, count: int) -> dict[int, float]:
    chosen = flow(text)
    assert isinstance(chosen, Windowed)
    return shares(pruning_steps(chosen, context, count), agp)


def _gradual(context: FlowContext, start: Start, data: training.Batches) -> Tensor:
    when = _shares(context, "gradual", 20)
    return training.gradual(start(0), data, when, context.plan.sparsity)


def _movement(
    adam: bool, released: bool, context: FlowContext, start: Start, data: training.Batches
) -> Tensor:
    when = _shares(context, "movement", len(data) if released else 20)
    if released:
        when |= dict.fromkeys(range(max(when) + 1, len(data)), 1.0)
    return training.movement(start(0), data, when, context.plan.sparsity, adam)


def _platon(late: bool, context: FlowContext, start: Start, data: training.Batches) -> Tensor:
    every = _shares(context, "platon", len(data))
    steps = tuple(step for step in every if (step + 1) % 10 == 0)
    return training.platon(start(0), data, shares(steps, agp), context.plan.sparsity, late)


def _rigl(skips: bool, context: FlowContext, start: Start, data: training.Batches) -> Tensor:
    _, masks = context.plan.choose(context.plan.scores(), 1.0)
    steps = update_steps(context, 0.0, 0.75, 20)
    first = [masks[layer.name] for layer in context.layers]
    return training.rigl(start(0), data, steps, round(0.75 * len(data)), first, skips)


def _surgery(fixed: bool, context: FlowContext, start: Start, data: training.Batches) -> Tensor:
    steps = update_steps(context, 0.0, 0.7, 30)
    return training.surgery(start(0), data, steps, context.plan.sparsity, fixed)


def _lottery(context: FlowContext, start: Start, data: training.Batches) -> Tensor:
    parts = fractions(context.plan.schedule)
    rewind = len(data) // context.config.epochs
    return training.ticket(
        start, lambda skip: iter(data[skip:]), rewind, parts, context.plan.sparsity
    )


def _seven_pre(context: FlowContext, start: Start, data: training.Batches) -> Tensor:
    batches = context.batches(32)
    own = [(x, y) for x, y in (next(batches) for _ in range(40)) if isinstance(x, Tensor)]
    return training.seven_pre(start(0), own, context.plan.sparsity)


def _seven_dyn(context: FlowContext, start: Start, data: training.Batches) -> Tensor:
    total = len(data)
    return training.seven_dyn(
        start(0), data, round(0.1 * total), round(0.5 * total), context.plan.sparsity
    )


FLOW = Plan(allocation="global", fine_tune=CONFIG)
UNIFORM = Plan(fine_tune=CONFIG)
RIGL = Plan(allocation="erk", criterion="random", flow="rigl", fine_tune=CONFIG)
TICKET = replace(FLOW, flow="lottery:fresh=0,rewind=1", schedule="exponential:3")
TRAINED = (
    Trained("`gradual`", "Zhu 2017", replace(FLOW, flow="gradual", schedule="agp:20"), _gradual),
    Trained("`seven_pre`", "Xiao 2024", replace(FLOW, flow="seven_pre:steps=40"), _seven_pre),
    Trained("`seven_dyn`", "Xiao 2024", replace(FLOW, flow="seven_dyn"), _seven_dyn),
    Trained(
        "`movement`",
        "Sanh 2020, AdamW, released",
        replace(FLOW, flow="movement"),
        partial(_movement, True, True),
    ),
    Trained(
        "`movement:cuts=20`",
        "Sanh 2020, AdamW, 20 masks",
        replace(FLOW, flow="movement:cuts=20"),
        partial(_movement, True, False),
    ),
    Trained(
        "`movement:cuts=20`",
        "Sanh 2020, AdamW, released",
        replace(FLOW, flow="movement:cuts=20"),
        partial(_movement, True, True),
        "the release chooses a mask in every step until the last: what the default was",
    ),
    Trained(
        "`movement:adamw=0`",
        "Sanh 2020, sum",
        replace(FLOW, flow="movement:adamw=0"),
        partial(_movement, False, True),
    ),
    Trained(
        "`movement:adamw=0`",
        "Sanh 2020, AdamW, released",
        replace(FLOW, flow="movement:adamw=0"),
        partial(_movement, True, True),
        "another optimizer of the scores",
    ),
    Trained(
        "`platon`",
        "Zhang 2022, masks at these steps",
        replace(FLOW, flow="platon"),
        partial(_platon, False),
    ),
    Trained(
        "`platon`",
        "Zhang 2022, released",
        replace(FLOW, flow="platon"),
        partial(_platon, True),
        "the release sets a mask one step later and changes it until the last: take `released=1`",
    ),
    Trained(
        "`platon:released=1`",
        "Zhang 2022, released",
        replace(FLOW, flow="platon:released=1"),
        partial(_platon, True),
    ),
    Trained(
        "`rigl`",
        "Evci 2020",
        RIGL,
        partial(_rigl, False),
    ),
    Trained(
        "`rigl`",
        "Evci 2020, released",
        RIGL,
        partial(_rigl, True),
        "the release makes no optimizer step at an exchange: take `released=1`",
    ),
    Trained(
        "`rigl:released=1`",
        "Evci 2020, released",
        replace(RIGL, flow="rigl:released=1"),
        partial(_rigl, True),
    ),
    Trained(
        "`surgery`",
        "Guo 2016, levels of now",
        replace(UNIFORM, flow="surgery"),
        partial(_surgery, False),
    ),
    Trained(
        "`surgery:fixed=1`",
        "Guo 2016, released",
        replace(UNIFORM, flow="surgery:fixed=1"),
        partial(_surgery, True),
        "the release also masks biases and asks for q; nothing else",
    ),
    Trained("`lottery`", "Frankle 2020", TICKET, _lottery),
)
