"""A plan whose names have become objects, on the network that it prunes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from pruning_core.allocation import Allocation, total_ratio, with_overrides
from pruning_core.criteria import Criterion, refusal, scores_by_part
from pruning_core.evaluation.metrics import measure
from pruning_core.granularity import Granularity, from_groups, supports, to_groups
from pruning_core.hand_edits import HandEdits
from pruning_core.last_results import LastResults
from pruning_core.masks import (
    apply_hand_edits,
    apply_masks,
    exclude_removed,
    intersect,
    masked_tensors,
    mean_group_scores,
    n_removed,
    select,
)
from pruning_core.model.coupling.dependent_masks import (
    couplings_for,
    dead_without_rows,
    dependent_masks,
    is_exact,
    kept_outputs,
    removed_rows,
)
from pruning_core.model.coupling.positions import Coupling
from pruning_core.model.kept_norms import KEPT, with_kept_norms
from pruning_core.model.mask_forms import checked_masks, removed_places
from pruning_core.model.model_io import copy_model, tensors_of, with_selected_logits
from pruning_core.registry import find
from pruning_core.repairs import NONE, REPAIRS, BoundRepair, Repair
from pruning_core.schedule import Schedule
from pruning_core.start_masks import at_least_removed, removed_first
from pruning_core.tied_layers import (
    average_ratios,
    edits_of_channels,
    extend_ratios,
    has_several_outputs,
    same_channels,
    tied_parts,
    tied_scores,
)
from pruning_core.types import (
    Batches,
    GivenMasks,
    GroupScores,
    Layer,
    Masks,
    PruningError,
    Ratios,
    Report,
    TaskBatches,
)
from pruning_core.workspaces import Workspace, calibration
from pruning_core.zoo import reinitialise


@dataclass(frozen=True, eq=False)
class ResolvedPlan:
    """The result of `Plan.resolve(space)`: the plan's axes as objects, and what follows from them.

    model: the network's name; sparsity: the target, in [0, 1]; overrides: ratios set by hand, by
    layer; edits: hand edits at this granularity; calibration: how many training images a
    criterion or repair reads; start: what is removed before pruning (`start_masks`), {} for
    nothing; repair: of the pruned network, without training; probe: how many validation images
    accuracy is measured on; tied: layers with tied channels lose the same ones.
    """

    space: Workspace
    model: str
    criterion: Criterion
    granularity: Granularity
    allocation: Allocation
    schedule: Schedule
    sparsity: float
    overrides: Mapping[str, float]
    edits: tuple[HandEdits, ...]
    allow_collapse: bool
    calibration: int
    start: Masks = field(default_factory=Masks)
    repair: Repair = REPAIRS[NONE]
    probe: int = 512
    tied: bool = False

    @cached_property
    def refusals(self) -> dict[str, str]:
        """Why the granularity or the criterion does not support a layer, by layer name."""
        return prunable(self.space.layers, self.granularity, self.criterion)[1]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that both the granularity and the criterion support.

        Raises PruningError where there is none, with the reason of the first layer that the
        granularity supports, else of the first layer.
        """
        supported = tuple(x for x in self.space.layers if x.name not in self.refusals)
        if not supported:
            by_criterion = (x for x in self.space.layers if supports(self.granularity, x) is None)
            first = next(by_criterion, self.space.layers[0])
            raise PruningError(
                f"No layer of this network can be pruned by {self.granularity.label} with "
                f"{self.criterion.label}: {self.refusals[first.name]}"
            )
        return supported

    @cached_property
    def base_model(self) -> nn.Module:
        """The base model, without what the start removes. Never change it."""
        model = self.space.model
        masked = removed_places(model, self.start, self.space.layers)
        if not any(parameter[removed].any() for parameter, removed in masked):
            return model
        return apply_masks(model, self.start, self.space.layers)

    def check_by_hand(self) -> None:
        """Raises PruningError for a ratio or edit of a layer that the plan cannot prune."""
        known = {x.name: 0.0 for x in self.space.layers if x.name not in self.refusals}
        with_overrides(known, self.overrides)
        for edit in self.edits:
            find(known, edit.layer, "prunable layer called")

    def calibration_batches(self) -> Batches:
        """The training images that criteria and repairs read."""
        return calibration(self.space, self.calibration)

    def scores(self, model: nn.Module | None = None) -> GroupScores:
        """The group scores of the layers, on the base model or on another one."""
        parts = scores_by_part(
            self.criterion,
            criterion_model(self.criterion, self.space, model or self.base_model),
            self.layers,
            criterion_inputs(self.criterion, self.space, self.calibration),
        )
        scores = mean_group_scores(parts, self.layers, self.granularity, self.criterion.pool)
        return self.tied_scores(removed_first(scores, self.start, self.layers, self.granularity))

    @cached_property
    def couplings(self) -> tuple[Coupling, ...]:
        """The couplings whose layers lose the same channels; none where the plan ties no layers.

        Raises PruningError where the plan ties layers and the couplings are not known.
        """
        ties = self.tied and self.granularity.ties_layers
        return same_channels(couplings_for(lambda: self.space.tied, ties, tied=self.tied))

    def tied_scores(self, groups: GroupScores) -> GroupScores:
        """The group scores, with the means of tied layers in each of them."""
        return tied_scores(groups, self.couplings)

    def ratios(self, groups: GroupScores, fraction: float = 1.0) -> Ratios:
        """The ratio of each layer that has scores, at a share of the target.

        N:M sets its own ratio: an override of 0 keeps a layer dense, any other means N:M.
        Overrides take the place of the allocation's ratios; layers that are pruned together get
        one ratio. No ratio is below what the start has removed.
        """
        groups = self._from_start(groups)
        layers = tuple(x for x in self.layers if x.name in groups)
        if (fixed := self.granularity.fixed_ratio) is not None:
            own = {name: fixed if ratio else 0.0 for name, ratio in self.overrides.items()}
            return with_overrides({x.name: fixed for x in layers}, own)
        ratios = self._allocated(layers, groups, self.sparsity * fraction)
        by_hand = extend_ratios(self.overrides, layers, self.granularity, self.couplings)
        scaled = {name: min(1.0, ratio * fraction) for name, ratio in by_hand.items()}
        averaged = average_ratios(ratios, layers, self.granularity, self.couplings)
        ratios = with_overrides(averaged, scaled)
        ratios = at_least_removed(ratios, groups) if self.start else ratios
        return self._in_whole_channels(ratios)

    def _in_whole_channels(self, ratios: Ratios) -> Ratios:
        """The ratios, of whole channels where a layer holds each in several outputs."""
        whole = dict(ratios)
        for coupling in filter(has_several_outputs, self.couplings):
            for name in ratios.keys() & set(coupling.layers):
                count = n_removed(
                    self.granularity,
                    ratios[name],
                    coupling.channels,
                    allow_collapse=self.allow_collapse,
                )
                whole[name] = count / coupling.channels
        return whole

    def _allocated(self, layers: tuple[Layer, ...], groups: GroupScores, sparsity: float) -> Ratios:
        """The allocation's ratios; with a sparse start, those that give the target with it.

        A layer that starts above its ratio leaves less to remove in the others.
        """
        ratios = self.allocation(layers, groups, sparsity)
        if not self.start:
            return ratios

        def raised(request: float) -> Ratios:
            return at_least_removed(self.allocation(layers, groups, request), groups)

        low = 0.0
        high = sparsity
        ratios = raised(high)
        if total_ratio(layers, ratios) > sparsity + 1e-6:
            for _ in range(20):
                middle = (low + high) / 2
                if total_ratio(layers, raised(middle)) < sparsity:
                    low = middle
                else:
                    high = middle
            ratios = raised(high)
        return ratios

    def masks(self, groups: GroupScores, ratios: Ratios, last: LastResults | None = None) -> Masks:
        """The masks that remove these ratios, with the hand edits on top. True = keep.

        They also remove what the start removes, in every layer of the network.
        last: as in `select`.
        """
        masks = select(
            self._from_start(groups),
            self.layers,
            self.granularity,
            ratios,
            allow_collapse=self.allow_collapse,
            last=None if self.start else last,  # a start makes new scores at each call
        )
        return self.with_hand_edits(groups, masks)

    def with_hand_edits(self, groups: GroupScores, masks: Masks) -> Masks:
        """The masks with the groups that the user keeps or prunes by hand, from the start.

        Raises PruningError for a layer that the plan cannot prune, and for an unknown group.
        """
        known = {x.name: x for x in self.layers if x.name in groups}
        changed = dict(masks)
        for edit in self.edits:
            asked = find(known, edit.layer, "prunable layer called")
            for layer in self._pruned_with(asked, known):
                kept = to_groups(changed[layer.name], self.granularity, layer).any(-1)
                own = edits_of_channels(edit.groups, asked.name, layer.name, self.couplings)
                edited = apply_hand_edits(
                    kept, groups[layer.name], own, allow_collapse=self.allow_collapse
                )
                changed[layer.name] = from_groups(edited, self.granularity, layer)
        return intersect(changed, self.start)

    def _from_start(self, groups: GroupScores) -> GroupScores:
        """The scores, with what the start removes at -inf."""
        return exclude_removed(groups, self.start, self.layers, self.granularity)

    def _pruned_with(self, asked: Layer, known: Mapping[str, Layer]) -> tuple[Layer, ...]:
        """The layers that lose the same groups as the one asked for, itself included."""
        parts = tied_parts(list(known.values()), self.granularity, self.couplings)
        return next(part for part in parts if asked in part)

    def choose(self, groups: GroupScores, fraction: float) -> tuple[Ratios, Masks]:
        """Ratios and masks at a share of the target.

        Layers without scores stay dense; their overrides and edits are left out.
        """
        spared = {layer.name for layer in self.layers} - groups.keys()
        scored = replace(
            self,
            overrides={n: ratio for n, ratio in self.overrides.items() if n not in spared},
            edits=tuple(edit for edit in self.edits if edit.layer not in spared),
        )
        ratios = scored.ratios(groups, fraction)
        return ratios, scored.masks(groups, ratios)

    def dependent_masks(self, masks: GivenMasks) -> dict[str, Bool[Tensor, "..."]]:
        """What must be zero besides the masked weights, by parameter name. True = keep.

        A removed output takes its bias and the scale and shift of its norm with it. Nothing where
        the granularity removes less than whole outputs. Parameters behind a join of several
        layers are included where `Workspace.tied` has the join.
        """
        if not masks or not self.granularity.removes_outputs:
            return {}
        space = self.space
        return dependent_masks(space.model, space.layers, masks, space.tied[0])

    def counts(self, masks: GivenMasks, model: nn.Module | None = None) -> Report:
        """`metrics.measure` of the masks on the base model or on a trained one.

        The report has thinned counts where whole outputs are removed, all of known couplings.
        """
        space = self.space
        checked = checked_masks(masks, space.layers)
        model = model or space.model
        dead = None
        outputs: dict[str, int] = {}
        g = self.granularity
        if checked and g.removes_outputs:
            tied, unknown = space.tied
            if not unknown and is_exact(space.layers, checked, tied, heads=g.spans_attention):
                removed = removed_rows(checked)
                dead = dead_without_rows(model, space.layers, removed, tied)
                outputs = kept_outputs(space.layers, removed, tied)
        report = measure(model, space.layers, checked, self.dependent_masks(checked), dead)
        return replace(report, thinned_outputs=outputs)

    def masked_copy(self, masks: GivenMasks, model: nn.Module | None = None) -> nn.Module:
        """A copy of the base model, or of a trained one, with the masks applied."""
        return apply_masks(
            model or self.space.model, masks, self.space.layers, self.dependent_masks(masks)
        )

    @cached_property
    def repairing(self) -> BoundRepair | None:
        """The plan's repair with its images; None where it leaves the network as it is."""
        if self.repair.no_effect(self.space.model) is not None:
            return None
        space = self.space
        batches = self.calibration_batches()
        return BoundRepair(self.repair, space.layers, batches, space.model, self.start)

    def pruned_copy(self, masks: Masks, model: nn.Module | None = None) -> nn.Module:
        """As `masked_copy`, then repaired as the plan says."""
        work = self.masked_copy(masks, model)
        return self.repairing(work, masks) if self.repairing else work

    def pruned_tensors(self, masks: Masks, last: LastResults | None = None) -> dict[str, Tensor]:
        """The tensors of `pruned_copy(masks)` by name; without a repair only the masked ones.

        last: gives the tensors of layers whose masks are the same objects as before, where no whole
        outputs are removed. Large ones are computed again.
        """
        if self.repairing:
            return tensors_of(self.pruned_copy(masks))
        dependent = self.dependent_masks(masks)
        if last is None or dependent:
            return masked_tensors(self.space.model, masks, self.space.layers, dependent)
        tensors: dict[str, Tensor] = {}
        for name, mask in masks.items():
            masked = partial(masked_tensors, self.space.model, {name: mask}, self.space.layers)
            tensors |= last.get(("tensors", name), (mask,), masked, mask.numel())
        return tensors

    def repaired_copy(self, masks: Masks, model: nn.Module) -> nn.Module:
        """A masked network after the repair: a copy, or the network where nothing changes."""
        return self.repairing(copy_model(model), masks) if self.repairing else model

    def fresh_model(self, seed: int) -> nn.Module:
        """The network with new random weights from a seed. Frozen parameters keep their values."""
        space = self.space
        fresh = reinitialise(space.model, self.model, space.dataset, seed)
        fresh = with_kept_norms(fresh, space.one) if space.norms == KEPT else fresh
        parameters = dict(fresh.named_parameters())
        with torch.no_grad():
            for name, base in space.model.named_parameters():
                parameters[name].requires_grad_(base.requires_grad)
                if not base.requires_grad:
                    parameters[name].copy_(base)
        return fresh


def prunable(
    layers: tuple[Layer, ...], granularity: Granularity, criterion: Criterion
) -> tuple[tuple[Layer, ...], dict[str, str]]:
    """The layers that both support, and for each other layer the sentence why not."""
    reasons = {
        layer.name: supports(granularity, layer) or refusal(criterion, granularity, layer)
        for layer in layers
    }
    supported = tuple(layer for layer in layers if reasons[layer.name] is None)
    return supported, {name: why for name, why in reasons.items() if why is not None}


def criterion_model(
    criterion: Criterion, space: Workspace, model: nn.Module | None = None
) -> nn.Module:
    """The base model, or another one, as the criterion reads it.

    A criterion that reads labels sees the logits of the data's classes alone.
    """
    outputs = space.dataset.outputs if criterion.needs_data else None
    return with_selected_logits(model or space.model, outputs)


def criterion_inputs(criterion: Criterion, space: Workspace, images: int) -> Batches:
    """`images` calibration images, or one blank input for a criterion that needs no data."""
    if criterion.needs_data:
        return calibration(space, images)
    return TaskBatches(((space.one, torch.zeros(1, dtype=torch.long)),), space.dataset.task)
