"""The space of a plan: its prunable layers, what ratios cost in its network, and the budget."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from pruning_core.allocation import ALLOCATIONS, STARTING_ALLOCATIONS
from pruning_core.granularity import need_channels
from pruning_core.masks import n_removed
from pruning_core.plan import Plan
from pruning_core.search.measured_times import MeasuredTimes
from pruning_core.search.plan_costs import COUNTED, PlanCosts, coupling_of
from pruning_core.search.record_log import RecordLog
from pruning_core.search.space import Part, PartFeatures
from pruning_core.tied_layers import average_ratios, tied_parts, unequal_couplings
from pruning_core.types import GroupScores, Layer, PruningError, Ratios
from pruning_core.workspaces import Workspace

TIME = "time"
BUDGETS = COUNTED | {TIME: "measured time"}
"""What a budget can limit, with its words."""
NORMS_HINT = "With norms over kept channels, more layers can become narrower."
STEPS = 25
"""Bisections of the shift of all ratios."""
LOWER_HALF = 0.5
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Places in the range of every ratio where times are measured first."""


class PlanSpace:
    """What a search may choose of a plan (`RatioSpace`).

    Whole filters: layers whose channels are tied share one ratio and lose the same channels. Costs
    of filters and heads are those of the network that `thin` gives; of other granularities those of
    the masked network, whose stored bytes are those of the smallest sparse format.
    A time is measured on the thinned network, in pairs with the dense one; time_log keeps it.
    budget: a name of `BUDGETS`; keep: the share of it that may remain, None for no budget. least,
    most: the range of every ratio. round_to: the kept groups of every part are a multiple of it.
    Raises PruningError for values that are not possible, and as `Plan.resolve`.
    """

    def __init__(
        self,
        plan: Plan,
        space: Workspace,
        *,
        budget: str = "macs",
        keep: float | None = None,
        least: float = 0.0,
        most: float = 0.9,
        round_to: int = 1,
        time_log: RecordLog | None = None,
    ) -> None:
        _check(budget, keep, least, most, round_to)
        self.plan = replace(plan, overrides=())
        self.resolved = self.plan.resolve(space)
        if self.resolved.granularity.fixed_ratio is not None:
            raise PruningError(
                f"{self.resolved.granularity.label} sets the ratio of every layer: choose another "
                "granularity to search for ratios."
            )
        if budget == TIME:
            need_channels(self.resolved.granularity)
        if self.resolved.granularity.ties_layers:
            self.plan = replace(self.plan, tied=True)
            self.resolved = self.plan.resolve(space)
        self.space = space
        self.budget = budget
        self.keep = keep
        self.round_to = round_to
        self.time_log = time_log
        self.groups: GroupScores = self.resolved.scores()
        self._layers = {layer.name: layer for layer in self.resolved.layers}
        self.parts = tuple(self._part(part, least, most) for part in self._searched())
        if not self.parts:
            raise PruningError(
                "No layer can become narrower in this network: search at a finer granularity."
                + self._norms_hint
            )

    def cost(self, ratios: Ratios) -> float:
        """The share of the dense network's cost that remains, by the budget's name.

        A time is the measured one where `costs` was called before, else an estimate.
        """
        if self.budget == TIME:
            return self.times.cost(ratios)
        return self.costing.shares(self.counts(ratios), (self.budget,))[self.budget]

    def costs(self, ratios: Ratios) -> Mapping[str, float]:
        """All of `COUNTED`, and the measured time where that is the budget."""
        counted = self.costing.shares(self.counts(ratios), tuple(COUNTED))
        timed = {TIME: self.times.measured(ratios).share} if self.budget == TIME else {}
        return counted | timed

    @cached_property
    def costing(self) -> PlanCosts:
        """What numbers of removed groups cost."""
        return PlanCosts(self.plan, self.space, self.resolved, self.groups, self.parts)

    @cached_property
    def times(self) -> MeasuredTimes:
        """Times of this space's networks."""
        return MeasuredTimes(
            lambda ratios: self.costing.time(self.counts(ratios)),
            self._facts,
            lambda: self._first_ratios,
            self.time_log,
        )

    def _facts(self, ratios: Ratios) -> tuple[float, ...]:
        macs = self.costing.shares(self.counts(ratios), ("macs",))["macs"]
        of_parts = ((1 - ratios[part.name]) * share for part, share in self._mac_shares)
        return (macs, *of_parts)

    @cached_property
    def _mac_shares(self) -> tuple[tuple[Part, float], ...]:
        return tuple((part, self._features(part).cost) for part in self.parts)

    @cached_property
    def _first_ratios(self) -> tuple[Ratios, ...]:
        """Equal ratios and random ones, from small to large: what times are estimated from."""
        draw = np.random.default_rng(0)
        ratios = []
        for level in LEVELS:
            for spread in (0.0, 0.5):
                place = {
                    part.name: part.least
                    + (part.most - part.least)
                    * min(1.0, max(0.0, level + spread * draw.uniform(-1, 1)))
                    for part in self.parts
                }
                ratios.append(self._in_groups(place, 0.0))
        return tuple(ratios)

    def fitted(self, ratios: Ratios) -> Ratios:
        """The ratios, shifted all alike, in whole groups, so that their cost is the budget.

        Then groups come back one by one, while the budget allows it, from the part that lost most
        by rounding. The cost is at most the budget; nearer than `TOLERANCE` where single groups
        are smaller. Raises PruningError where the budget cannot be met.
        """
        wanted = {part.name: ratios[part.layers[0]] for part in self.parts}
        if self.keep is None:
            return self._in_groups(wanted, 0.0)
        low = min(part.least - wanted[part.name] for part in self.parts)
        high = max(part.most - wanted[part.name] for part in self.parts)
        if self.cost(self._in_groups(wanted, high)) > self.keep:
            self._refuse(self.cost(self._in_groups(wanted, high)))
        if self.cost(self._in_groups(wanted, low)) <= self.keep:
            return self._in_groups(wanted, low)
        for _ in range(STEPS):
            middle = (low + high) / 2
            if self.cost(self._in_groups(wanted, middle)) <= self.keep:
                high = middle
            else:
                low = middle
        return self._with_more_groups(self._in_groups(wanted, high), wanted, high)

    def starts(self) -> dict[str, Ratios]:
        """The ratios of usual allocations, fitted to the budget, without those that cannot be."""
        fitted = {}
        sparsity = 0.5 if self.keep is None else 1 - self.keep
        names = [name for part in self.parts for name in part.layers]
        layers = tuple(self._layers[name] for name in names)
        for name in STARTING_ALLOCATIONS:
            ratios = ALLOCATIONS[name](layers, self.groups, sparsity)
            resolved = self.resolved
            shared = average_ratios(ratios, layers, resolved.granularity, resolved.couplings)
            try:
                fitted[name] = self.fitted(shared)
            except PruningError:
                continue  # this allocation cannot meet the budget; the others can
        return fitted

    def plan_with(self, ratios: Ratios) -> Plan:
        """The plan that removes these ratios; layers that the space leaves out stay dense."""
        every = self.all_ratios(ratios)
        return replace(self.plan, overrides=tuple(every.items()))

    def all_ratios(self, ratios: Ratios) -> Ratios:
        """The ratios, with 0 for layers of the plan that no part holds."""
        return dict.fromkeys(self._layers, 0.0) | ratios

    def features(self) -> tuple[PartFeatures, ...]:
        """Facts about every part."""
        return tuple(self._features(part) for part in self.parts)

    def counts(self, ratios: Ratios) -> dict[str, int]:
        """How many groups of a scope each part loses, by the part's name."""
        return {part.name: self._n_removed(part, ratios[part.layers[0]]) for part in self.parts}

    def _searched(self) -> Iterator[tuple[Layer, ...]]:
        """The layers of every part, in the network's order."""
        resolved = self.resolved
        g = resolved.granularity
        parts = tied_parts(resolved.layers, g, resolved.couplings)
        if not g.ties_layers:
            yield from parts
            return
        alone = unequal_couplings(resolved.space.tied[0])
        fixed = {
            name
            for coupling in self.resolved.space.tied[0]
            if coupling.note is not None
            or (
                coupling not in resolved.couplings
                and (coupling.reason is not None or len(coupling.members) > 1)
            )
            or coupling in alone
            for name in coupling.layers
        }
        for part in parts:
            coupling = coupling_of(self.resolved.space.tied[0], part[0].name)
            whole = coupling is None or {layer.name for layer in part} == set(coupling.layers)
            if whole and not any(layer.name in fixed for layer in part):
                yield part

    def _part(self, part: Sequence[Layer], least: float, most: float) -> Part:
        scores = self.groups[part[0].name]
        removed = int(scores.isneginf().sum(1).min()) / scores.shape[1]
        low = max(least, removed)
        coupling = coupling_of(self.resolved.couplings, part[0].name)
        groups = scores.shape[1] if coupling is None else coupling.channels
        names = tuple(layer.name for layer in part)
        return Part(part[0].name, names, low, max(low, most), groups)

    def _features(self, part: Part) -> PartFeatures:
        layers = [self._layers[name] for name in part.layers]
        first = layers[0]
        total = sum(layer.macs for layer in self.resolved.space.layers)
        module = self.resolved.space.model.get_submodule(first.module)
        stride = getattr(module, "stride", 1)
        outputs, inputs, height, width = first.shape
        return PartFeatures(
            part.name,
            first.kind,
            outputs,
            inputs,
            height * width,
            stride[0] if isinstance(stride, tuple) else int(stride),
            sum(layer.numel for layer in layers),
            sum(layer.macs for layer in layers) / total if total else 0.0,
            self._importance(part),
        )

    def _importance(self, part: Part) -> float:
        """The share of the part's scores that is in the lower half of its groups."""
        scores = self.groups[part.name].double().flatten()
        finite = scores.masked_fill(scores.isneginf(), 0)
        positive = finite - min(0.0, float(finite.min()))
        total = float(positive.sum())
        lower = positive.sort().values[: round(LOWER_HALF * len(positive))]
        return float(lower.sum()) / total if total else LOWER_HALF

    def _n_removed(self, part: Part, ratio: float) -> int:
        """How many groups of a scope are removed: the kept ones are a multiple of `round_to`."""
        g = self.resolved.granularity
        count = n_removed(g, ratio, part.groups, allow_collapse=self.plan.allow_collapse)
        kept = round((part.groups - count) / self.round_to) * self.round_to
        if self.round_to > 1:
            kept = min(part.groups, max(self.round_to, kept))
            return part.groups - kept
        return count

    def _in_groups(self, wanted: Mapping[str, float], shift: float) -> Ratios:
        """The shifted ratios, each within its part's range and in whole groups."""
        ratios: Ratios = {}
        for part in self.parts:
            ratio = part.clipped(wanted[part.name] + shift)
            ratios |= part.ratios(self._n_removed(part, ratio) / part.groups)
        return ratios

    def _with_more_groups(
        self, ratios: Ratios, wanted: Mapping[str, float], shift: float
    ) -> Ratios:
        """Gives groups back one by one while the budget allows it."""
        best = ratios
        over = {p.name: best[p.layers[0]] - wanted[p.name] - shift for p in self.parts}
        for part in sorted(self.parts, key=lambda p: -over[p.name]):
            fewer = self._n_removed(part, best[part.layers[0]]) - self.round_to
            if fewer / part.groups < part.least:
                continue
            more = best | part.ratios(fewer / part.groups)
            if self.cost(more) <= self.keep_or_all:
                best = more
        return best

    @property
    def keep_or_all(self) -> float:
        """The budget; 1 where there is none."""
        return 1.0 if self.keep is None else self.keep

    def _refuse(self, least: float) -> None:
        words = BUDGETS[self.budget]
        raise PruningError(
            f"{self.keep_or_all:.1%} of the {words} cannot be met: with every ratio at its "
            f"largest, {least:.1%} remain; allow larger ratios or a larger budget."
            + self._norms_hint
        )

    @property
    def _norms_hint(self) -> str:
        """What makes more layers narrower, where norms over channels keep some as they are."""
        noted = any(coupling.note is not None for coupling in self.resolved.space.tied[0])
        return f" {NORMS_HINT}" if noted else ""


def _check(budget: str, keep: float | None, least: float, most: float, round_to: int) -> None:
    """Raises PruningError for a value that is not possible."""
    if budget not in BUDGETS:
        raise PruningError(f"There is no budget '{budget}': use one of {', '.join(BUDGETS)}.")
    if keep is not None and not 0 < keep < 1:
        raise PruningError(
            f"A budget of {keep:g} is outside 0 to 1: 0.5 keeps half of the {BUDGETS[budget]}."
        )
    if not 0 <= least < most <= 1:
        raise PruningError(
            f"Ratios from {least:g} to {most:g} are not possible: give 0 <= least < most <= 1."
        )
    if round_to < 1:
        raise PruningError(f"Widths cannot be multiples of {round_to}: give 1, 8 or 16.")
