"""From a plan to a report: score, allocate, select, apply, train, measure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from pruning_core.evaluation.accuracy import Judge
from pruning_core.flows import FlowContext, Share, flow, flow_events
from pruning_core.plan import Plan
from pruning_core.repairs import BN, NONE, REPAIRS
from pruning_core.start_masks import start_sparsity
from pruning_core.tied_layers import unequal_couplings, unequal_note
from pruning_core.training.journal import Journal
from pruning_core.types import (
    Dataset,
    Epoch,
    Evaluation,
    Finished,
    GivenMasks,
    GoalRound,
    GroupScores,
    Layer,
    Masks,
    Pruned,
    Ratios,
    Report,
    Resumed,
    Split,
    Step,
    Tuned,
)
from pruning_core.workspaces import Workspace
from pruning_core.zoo import probe

SMALL = 64
"""Images of at most this many pixels a side are measured on the whole test split."""
Event = Pruned | Resumed | Step | Epoch | Tuned | GoalRound | Finished
Costs = Mapping[str, Callable[[Plan, Workspace, Masks], Share]]
"""What is measured of a network with such masks, by the names of a goal's budgets."""
NO_COSTS: Costs = {}


def group_scores_of(
    plan: Plan, space: Workspace, model: nn.Module | None = None
) -> tuple[tuple[Layer, ...], GroupScores]:
    """The layers that the plan can prune and their group scores, on the base model or another one.

    Raises PruningError where the plan can prune no layer.
    """
    resolved = plan.resolve(space)
    return resolved.layers, resolved.scores(model)


def choose_masks(plan: Plan, space: Workspace) -> tuple[Ratios, Masks]:
    """The ratios and masks of a plan on the base model, at its full target.

    Ratios: layer name -> fraction removed; masks: layer name -> O x I x H x W, True = keep.
    Raises PruningError where the plan can prune no layer.

    >>> from pruning_core import Plan, open_workspace
    >>> plan = Plan(model="lenet5", dataset="digits", granularity="kernel", sparsity=0.5)
    >>> ratios, masks = choose_masks(plan, open_workspace(plan.model, plan.dataset))
    >>> ratios["conv2.weight"], tuple(masks["conv2.weight"].shape)
    (0.5, (16, 6, 5, 5))
    """
    resolved = plan.resolve(space)
    groups = resolved.scores()
    ratios = resolved.ratios(groups)
    return ratios, resolved.masks(groups, ratios)


def dependent_masks_of(
    plan: Plan, space: Workspace, masks: GivenMasks
) -> dict[str, Bool[Tensor, "..."]]:
    """`ResolvedPlan.dependent_masks`: what must be zero besides the masked weights."""
    return plan.resolve(space).dependent_masks(masks)


def counts(
    plan: Plan, space: Workspace, masks: GivenMasks, model: nn.Module | None = None
) -> Report:
    """`metrics.measure` of the plan's masks on the base model or on a trained one.

    The report has thinned counts where whole outputs are removed, all of known couplings.

    >>> from pruning_core import Plan, open_workspace
    >>> plan = Plan(model="lenet5", dataset="digits", sparsity=0.5)
    >>> space = open_workspace(plan.model, plan.dataset)
    >>> _, masks = choose_masks(plan, space)
    >>> round(counts(plan, space, masks).sparsity_masked, 2)
    0.5
    """
    report = plan.resolve(space).counts(masks, model)
    return replace(report, sparsity_start=sparsity_at_start(plan, space))


def sparsity_at_start(plan: Plan, space: Workspace) -> float | None:
    """The fraction of all prunable weights that is removed before pruning; None if none is."""
    start = plan.resolve(space).start
    return start_sparsity(start, space.layers) if start else None


def masked_copy(
    plan: Plan, space: Workspace, masks: GivenMasks, model: nn.Module | None = None
) -> nn.Module:
    """A copy of the base model, or of a trained one, with the plan's masks applied.

    >>> from pruning_core import Plan, open_workspace
    >>> plan = Plan(model="lenet5", dataset="digits", sparsity=0.75)
    >>> space = open_workspace(plan.model, plan.dataset)
    >>> _, masks = choose_masks(plan, space)
    >>> weight = masked_copy(plan, space, masks).get_parameter("fc2.weight")
    >>> round(float((weight == 0).double().mean()), 2)
    0.75
    """
    return plan.resolve(space).masked_copy(masks, model)


def pruned_copy(
    plan: Plan, space: Workspace, masks: Masks, model: nn.Module | None = None
) -> nn.Module:
    """As `masked_copy`, then repaired as the plan says.

    >>> from pruning_core import Plan, open_workspace
    >>> plan = Plan(dataset="digits", granularity="kernel", repair="bn")
    >>> space = open_workspace(plan.model, plan.dataset)
    >>> state = pruned_copy(plan, space, choose_masks(plan, space)[1]).state_dict()
    >>> any(not state[name].equal(value) for name, value in space.model.named_buffers())
    True
    """
    return plan.resolve(space).pruned_copy(masks, model)


def repair_note(plan: Plan, space: Workspace) -> str | None:
    """A sentence where the plan's repair changes nothing in this network; None without a repair."""
    return None if plan.repair == NONE else REPAIRS[plan.repair].no_effect(space.model)


def start_note(plan: Plan, space: Workspace) -> str | None:
    """A sentence about a sparse start; None for a dense one."""
    share = sparsity_at_start(plan, space)
    if share is None:
        return None
    more = "" if share <= plan.sparsity else f", more than the target of {plan.sparsity:.1%}"
    return f"{share:.1%} of the prunable weights are removed at the start and stay removed{more}."


def tied_note(plan: Plan, space: Workspace) -> str | None:
    """A sentence on tied layers that a plan which ties layers leaves alone; None without any."""
    resolved = plan.resolve(space)
    if not (resolved.tied and resolved.granularity.ties_layers):
        return None
    return unequal_note(unequal_couplings(resolved.space.tied[0]))


def probe_split(plan: Plan, space: Workspace) -> Split:
    """The fixed, stratified validation images on which the sliders' accuracy is measured."""
    return probe(space.dataset.val, plan.probe)


def uses_whole_test(dataset: Dataset) -> bool:
    """Is the final comparison made on all test images? It is for small images."""
    return max(dataset.shape[1:]) <= SMALL


def final_test_split(plan: Plan, space: Workspace) -> Split:
    """The test images of the final comparison.

    All of them for small images, else a stratified part of `probe` images.
    """
    test = space.dataset.test
    return test if uses_whole_test(space.dataset) else probe(test, plan.probe)


def prune(
    plan: Plan,
    space: Workspace,
    device: torch.device | None = None,
    costs: Costs = NO_COSTS,
    journal: Journal | None = None,
) -> Iterator[Event]:
    """Runs the plan's flow; the last event carries masks, report and accuracies.

    `fine_tune.epochs` is the length of each training of the flow; 0 leaves the weights as they
    are, and the final model is then repaired as the plan says. Four states are measured on the
    test split: dense; pruned (the final masks on the base weights, repaired as the plan says);
    recalibrated (the masks on the base weights with new batch-norm statistics); tuned.
    costs: for a flow whose goal has a budget of bytes or time: `compress.goal_costs.COSTS`.
    journal: its trainings continue from what an interrupted run kept there (`fine_tune`). Measure
    the networks of Pruned events by `journal.measured`: those of before the interruption are lost.
    Raises PruningError where the plan cannot be carried out.

    >>> from pruning_core import Finished, Plan, TrainConfig, open_workspace
    >>> plan = Plan(model="lenet5", dataset="digits", fine_tune=TrainConfig(epochs=0))
    >>> *_, done = prune(plan, open_workspace(plan.model, plan.dataset))
    >>> isinstance(done, Finished), done.dense.n
    (True, 359)
    """
    space = plan.resolve(space).space
    model = space.model
    masks = Masks()
    goal: list[GoalRound] = []
    context = flow_context(plan, space, device, costs, journal)
    for event in flow_events(flow(plan.flow), context):
        yield event
        if isinstance(event, GoalRound):
            goal.append(event)
        masks = event.masks if isinstance(event, Pruned) else masks
        model = event.model if isinstance(event, Pruned | Tuned) else model
    if not plan.fine_tune.epochs:
        model = plan.resolve(space).repaired_copy(masks, model)
    yield replace(measure_states(plan, space, masks, model, device), goal=tuple(goal))


def flow_context(
    plan: Plan,
    space: Workspace,
    device: torch.device | None = None,
    costs: Costs = NO_COSTS,
    journal: Journal | None = None,
) -> FlowContext:
    """The plan as a flow works with it. Raises PruningError where it can prune no layer."""
    resolved = plan.resolve(space)
    own = {name: partial(cost, plan, space) for name, cost in costs.items()}
    return FlowContext(resolved, resolved.layers, plan.fine_tune, device, own, journal)


def measure_states(
    plan: Plan,
    space: Workspace,
    masks: Masks,
    model: nn.Module,
    device: torch.device | None = None,
) -> Finished:
    """Measures the four states on the test split."""
    split = final_test_split(plan, space)

    def score(candidate: nn.Module) -> Evaluation:
        return Judge.of(space.dataset).evaluate(candidate, split, device)

    pruned = score(pruned_copy(plan, space, masks))
    with_bn = replace(plan, repair=BN)
    recalibrated = None
    if repair_note(with_bn, space) is None:
        repaired = plan.repair == BN
        recalibrated = pruned if repaired else score(pruned_copy(with_bn, space, masks))
    return Finished(
        model,
        masks,
        counts(plan, space, masks, model),
        score(space.model),
        pruned,
        recalibrated,
        score(model) if plan.fine_tune.epochs else None,
        torch.get_num_threads(),
    )
