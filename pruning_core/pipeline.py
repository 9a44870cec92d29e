"""The whole flow on one screen: score -> allocate -> select -> apply -> train -> measure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from pruning_core.allocation import ALLOCATIONS, locked
from pruning_core.criteria import Criterion, criterion, refusal
from pruning_core.evaluation.metrics import measure
from pruning_core.flows import FlowContext, flow
from pruning_core.granularity import Granularity, from_groups, granularity, supports, to_groups
from pruning_core.masks import apply_hand_edits, apply_masks, group_scores, select
from pruning_core.model.coupling.dependent_masks import (
    WHOLE_OUTPUTS,
    dead_inputs,
    dependent_masks,
)
from pruning_core.model.coupling.positions import Coupling
from pruning_core.model.coupling.trace import couplings
from pruning_core.model.inventory import inventory, unprunable_parameters
from pruning_core.model.model_io import answering, example
from pruning_core.plan import Plan
from pruning_core.registry import find
from pruning_core.schedule import schedule
from pruning_core.tied_layers import average_ratios, extend_ratios, tied_parts
from pruning_core.training.fine_tune import evaluate, recalibrate_bn, tracked_norms
from pruning_core.types import (
    Batches,
    Dataset,
    Epoch,
    Evaluation,
    Finished,
    GroupScores,
    Inputs,
    Layer,
    Masks,
    Pruned,
    PruningError,
    Ratios,
    Report,
    Split,
    Step,
    Tuned,
    Unprunable,
)
from pruning_core.zoo import Progress, anew, datasets_for, load_data, load_model, probe

SMALL = 64
"""Images of at most this many pixels a side are examined on the whole test split."""
RECALIBRATION = 1024
"""Training images that batch-norm statistics are taken from."""
Event = Pruned | Step | Epoch | Tuned | Finished


@dataclass(frozen=True, eq=False)
class Workspace:
    """A trained base model, never changed, with its data, prunable layers and the parameters that
    are shown only.

    example: a batch of inputs that are not images of the data's shape, such as tokens (`Example`).
    """

    model: nn.Module
    dataset: Dataset
    layers: tuple[Layer, ...]
    fixed: tuple[Unprunable, ...]
    example: Inputs | None = None

    @property
    def one(self) -> Inputs:
        """One input: a blank image, or the first of the examples."""
        return example(self.dataset.shape if self.example is None else self.example)

    @cached_property
    def tied(self) -> tuple[tuple[Coupling, ...], str | None]:
        """The channels that can only go together, or why torch-pruning cannot say; traced once."""
        try:
            return couplings(self.model, self.layers, self.one), None
        except PruningError as error:
            return (), str(error)


def open_workspace(model: str, dataset: str, progress: Progress | None = None) -> Workspace:
    """Loads data and model and lists the layers; progress: told about downloads of data. Raises
    PruningError or DataMissing.
    """
    if dataset not in datasets_for(model):
        load_model(
            model, dataset
        )  # raises with what is missing, before any data is downloaded for nothing
    data = load_data(dataset, model=model, progress=progress)
    loaded = load_model(model, dataset, data=data)
    layers = inventory(loaded, data.shape)
    return Workspace(loaded, data, layers, unprunable_parameters(loaded, layers))


def prunable(
    layers: tuple[Layer, ...], g: Granularity, how: Criterion
) -> tuple[tuple[Layer, ...], dict[str, str]]:
    """The layers that both the granularity and the criterion can take, and for the others the
    sentence why not.
    """
    reasons = {layer.name: supports(g, layer) or refusal(how, g, layer) for layer in layers}
    return tuple(x for x in layers if reasons[x.name] is None), {
        name: why for name, why in reasons.items() if why is not None
    }


def group_scores_of(
    plan: Plan, space: Workspace, model: nn.Module | None = None
) -> tuple[tuple[Layer, ...], GroupScores]:
    """The layers that the plan can prune and their group scores. Raises PruningError where there is
    no such layer.
    """
    g = granularity(plan.granularity)
    how = criterion(plan.criterion, plan.seed)
    layers = prunable_layers(plan, space, g, how)
    return layers, group_scores(
        how(criterion_model(how, space, model), layers, criterion_inputs(plan, space, how)),
        layers,
        g,
        how.pool,
    )


def prunable_layers(
    plan: Plan, space: Workspace, g: Granularity, how: Criterion
) -> tuple[Layer, ...]:
    """The layers that both can take. Raises PruningError, with the first layer's reason, where
    there is none.
    """
    layers, reasons = prunable(space.layers, g, how)
    if not layers:
        why = next(iter(reasons.values()))
        raise PruningError(
            f"No layer of {plan.model} can be pruned by {g.label} with {how.label}: {why}"
        )
    return layers


def check_by_hand(plan: Plan, space: Workspace) -> None:
    """Raises PruningError for a ratio or groups set by hand in a layer that the plan cannot cut,
    before anything is computed.
    """
    layers, _ = prunable(
        space.layers, granularity(plan.granularity), criterion(plan.criterion, plan.seed)
    )
    known = dict.fromkeys((layer.name for layer in layers), 0.0)
    locked(known, dict(plan.overrides))
    for edits in plan.edits_now:
        find(known, edits.layer, "layer to be cut called")


def criterion_model(how: Criterion, space: Workspace, model: nn.Module | None = None) -> nn.Module:
    """The base model, or another one, as the criterion reads it: where it sees labels, with the
    logits of their classes alone.
    """
    return answering(model or space.model, space.dataset.outputs if how.needs_data else None)


def criterion_inputs(plan: Plan, space: Workspace, how: Criterion) -> Batches:
    """What the criterion gets to read: the calibration images, or one blank input for a criterion
    that needs no data.
    """
    if how.needs_data:
        return calibration(space, plan.calibration)
    return ((space.one, torch.zeros(1, dtype=torch.long)),)


def calibration(space: Workspace, images: int) -> Batches:
    """The fixed training images that criteria read, in batches of 128."""
    return tuple(probe(space.dataset.train, images).batches(128))


def ratios_of(
    plan: Plan, layers: tuple[Layer, ...], groups: GroupScores, fraction: float = 1.0
) -> Ratios:
    """Ratios per layer at a share of the plan's target; N:M sets its own; ratios set by hand take
    the place of the rest.

    Where whole heads go, the layers of one attention have one ratio.
    """
    g = granularity(plan.granularity)
    if (
        fixed := g.fixed_ratio
    ) is not None:  # a ratio of 0 keeps the layer dense, any other means N:M itself
        return locked(
            {layer.name: fixed for layer in layers},
            {name: fixed if ratio else 0.0 for name, ratio in plan.overrides},
        )
    ratios = ALLOCATIONS[plan.allocation](layers, groups, plan.sparsity * fraction)
    apply_hand_edits = extend_ratios(dict(plan.overrides), layers, g)
    return locked(
        average_ratios(ratios, layers, g),
        {name: min(1.0, ratio * fraction) for name, ratio in apply_hand_edits.items()},
    )


def masks_of(plan: Plan, layers: tuple[Layer, ...], groups: GroupScores, ratios: Ratios) -> Masks:
    """The masks that the plan's granularity makes of these ratios, with the plan's hand edits on
    top.
    """
    masks = select(
        groups, layers, granularity(plan.granularity), ratios, allow_collapse=plan.allow_collapse
    )
    return _edited(plan, layers, groups, masks)


def _edited(plan: Plan, layers: tuple[Layer, ...], groups: GroupScores, masks: Masks) -> Masks:
    """The masks with the groups that are kept or pruned by hand at the plan's granularity; other
    granularities' edits wait.

    Raises PruningError for a layer that cannot be cut so and for a group that is not there.
    """
    g = granularity(plan.granularity)
    known = {layer.name: layer for layer in layers}
    changed = dict(masks)
    for edits in plan.edits_now:
        asked = find(known, edits.layer, "layer to be cut called")
        for layer in next(part for part in tied_parts(layers, g) if asked in part):
            kept = to_groups(changed[layer.name], g, layer).any(-1)
            found = apply_hand_edits(
                kept, groups[layer.name], edits.groups, allow_collapse=plan.allow_collapse
            )
            changed[layer.name] = from_groups(found, g, layer)
    return changed


def choose_masks(plan: Plan, space: Workspace) -> tuple[Ratios, Masks]:
    """One-shot ratios and masks of a plan on the base model."""
    layers, groups = group_scores_of(plan, space)
    ratios = ratios_of(plan, layers, groups)
    return ratios, masks_of(plan, layers, groups, ratios)


def dependent_masks_of(
    plan: Plan, space: Workspace, masks: Masks
) -> dict[str, Bool[Tensor, "..."]]:
    """What the plan's masks put to zero besides weights: whole removed outputs take biases and
    norms' scale and shift with them.

    True = keep. Nothing where the granularity cuts anything smaller. What follows a join of several
    layers is known where `Workspace.tied` is; else only a layer's own bias and batch norm fall
    silent.
    """
    return (
        dependent_masks(space.model, space.layers, masks, space.tied[0])
        if masks and plan.granularity in WHOLE_OUTPUTS
        else {}
    )


def counts(plan: Plan, space: Workspace, masks: Masks, model: nn.Module | None = None) -> Report:
    """`metrics.measure` of the plan's masks on the base model or on a trained one.

    Thinned counts too where whole outputs go and torch-pruning says who reads them
    (`Workspace.tied`).
    """
    model = model or space.model
    whole = masks and plan.granularity in WHOLE_OUTPUTS and space.tied[1] is None
    without = dead_inputs(model, space.layers, masks, space.tied[0]) if whole else None
    return measure(model, space.layers, masks, dependent_masks_of(plan, space, masks), without)


def masked_copy(
    plan: Plan, space: Workspace, masks: Masks, model: nn.Module | None = None
) -> nn.Module:
    """A copy of the base model, or of a trained one, with the plan's masks applied and removed
    outputs silent.
    """
    return apply_masks(
        model or space.model, masks, space.layers, dependent_masks_of(plan, space, masks)
    )


def probe_split(plan: Plan, space: Workspace) -> Split:
    """The fixed, stratified validation images on which the sliders' accuracy is measured."""
    return probe(space.dataset.val, plan.probe)


def uses_whole_test(dataset: Dataset) -> bool:
    """Is the exam split all test images? For small images it is."""
    return max(dataset.shape[1:]) <= SMALL


def test_split(plan: Plan, space: Workspace) -> Split:
    """The test images of the final comparison: all of them for small images, else a stratified part
    of `probe` images.
    """
    test = space.dataset.test
    return test if uses_whole_test(space.dataset) else probe(test, plan.probe)


def prune(plan: Plan, space: Workspace, device: torch.device | None = None) -> Iterator[Event]:
    """Runs the plan's flow: it scores, cuts and trains; then the last event carries masks, report
    and accuracies.

    `fine_tune.epochs` is per training, of which a flow may have several; 0 leaves the weights as
    they are. All four accuracies are on the exam split: dense, pruned (the final masks on the
    untouched weights), recalibrated (the same with fresh batch-norm statistics), tuned. Raises
    PruningError, in one sentence.
    """
    model = space.model
    masks = Masks()
    for event in flow(plan.flow)(flow_context(plan, space, device)):
        yield event
        masks = event.masks if isinstance(event, Pruned) else masks
        model = event.model if isinstance(event, Pruned | Tuned) else model
    yield measure_states(plan, space, masks, model, device)


def flow_context(plan: Plan, space: Workspace, device: torch.device | None = None) -> FlowContext:
    """The plan as a flow works with it: its axes as functions of a model, of scores and of masks."""
    g = granularity(plan.granularity)
    how = criterion(plan.criterion, plan.seed)
    layers = prunable_layers(plan, space, g, how)

    def choose(groups: GroupScores, fraction: float) -> tuple[Ratios, Masks]:
        chosen = tuple(layer for layer in layers if layer.name in groups)
        spared = {layer.name for layer in layers} - groups.keys()  # by the flow itself
        own = replace(
            plan,
            overrides=tuple(pair for pair in plan.overrides if pair[0] not in spared),
            edits=tuple(each for each in plan.edits if each.layer not in spared),
        )
        ratios = ratios_of(own, chosen, groups, fraction)
        return ratios, masks_of(own, chosen, groups, ratios)

    return FlowContext(
        space.model,
        space.layers,
        layers,
        g,
        space.dataset,
        plan.fine_tune,
        schedule=schedule(plan.schedule, plan.sparsity),
        sparsity=plan.sparsity,
        score=lambda model: group_scores_of(plan, space, model)[1],
        choose=choose,
        edited=lambda groups, masks: _edited(plan, layers, groups, masks),
        apply=lambda model, masks: masked_copy(plan, space, masks, model),
        silence=lambda masks: dependent_masks_of(plan, space, masks),
        fresh=lambda seed: anew(space.model, plan.model, space.dataset, seed),
        calibration=lambda: calibration(space, plan.calibration),
        device=device,
    )


def measure_states(
    plan: Plan, space: Workspace, masks: Masks, model: nn.Module, device: torch.device | None = None
) -> Finished:
    """Measures the four states on the exam split."""
    split = test_split(plan, space)
    base = masked_copy(plan, space, masks)

    def score(candidate: nn.Module) -> Evaluation:
        return evaluate(candidate, split, outputs=space.dataset.outputs, device=device)

    mixed = probe(space.dataset.train, RECALIBRATION)  # a folder's images come class by class
    recalibrated = (
        score(recalibrate_bn(base, mixed, device=device)) if tracked_norms(base) else None
    )
    tuned = score(model) if plan.fine_tune.epochs else None
    report = counts(plan, space, masks, model)
    threads = torch.get_num_threads()
    return Finished(
        model, masks, report, score(space.model), score(base), recalibrated, tuned, threads
    )
