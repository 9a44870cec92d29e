"""Ratios that are measured together and corrected: layers interact, single curves do not show it.

Starts from the allocation with the best joint value, then moves weights between layers step by
step and keeps a move where the whole plan, measured on the probe, loses less.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pruning_core.allocation import ALLOCATIONS, total_ratio
from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.model.model_io import tensors_of
from pruning_core.pipeline import probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.ratios import FromSensitivity
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.types import Evaluation, GroupScores, PruningError, Ratios, SensitivityPoint
from pruning_core.workspaces import Workspace

STARTS = ("uniform", "global", "lamp", "erk")
"""Allocations that are measured first, beside the sensitivity rules."""
BLENDS = (0.25, 0.5, 0.75)
"""Parts of the way between the two best starts."""
STEPS = (0.1, 0.05)
"""How far one layer's ratio moves at a time."""


@dataclass(frozen=True, eq=False)
class Joint:
    """Ratios with the measured value of the whole plan on the probe.

    name: an allocation, a sensitivity rule, a blend, or "corrected".
    """

    name: str
    ratios: Ratios
    evaluation: Evaluation


def corrected(plan: Plan, space: Workspace, points: Sequence[SensitivityPoint]) -> Iterator[Joint]:
    """Yields every measured start, then each accepted correction; the last has the lowest loss.

    points: of a full scan. A correction lowers or raises the ratio of one layer and takes the
    difference, in weights, from all others. All is measured on the plan's probe, without training.
    Raises PruningError where the plan can prune no layer.
    """
    search = _Search(plan, space)
    starts = sorted(search.starts(points), key=lambda joint: joint.evaluation.loss)
    yield from reversed(starts)
    best = starts[0]
    if len(starts) > 1:
        for part in BLENDS:
            blend = {
                name: (1 - part) * ratio + part * starts[1].ratios[name]
                for name, ratio in starts[0].ratios.items()
            }
            joint = search.measure(f"{starts[0].name} and {starts[1].name}", blend)
            if joint.evaluation.loss < best.evaluation.loss:
                best = joint
                yield joint
    for step in STEPS:
        for layer in sorted(search.layers, key=lambda x: -x.numel):
            for move in (-step, step):
                moved = search.moved(best.ratios, layer.name, move)
                if moved is None:
                    continue
                joint = search.measure("corrected", moved)
                if joint.evaluation.loss < best.evaluation.loss:
                    best = joint
                    yield joint
                    break
    yield best


class _Search:
    """Measures ratios of the whole plan on the probe."""

    def __init__(self, plan: Plan, space: Workspace) -> None:
        self.resolved = plan.resolve(space)
        self.layers = self.resolved.layers
        self._target = plan.sparsity
        self._groups: GroupScores = self.resolved.scores()
        judge = Judge.of(space.dataset)
        self._forward = IncrementalForward(space.model, probe_split(plan, space), judge=judge)

    def starts(self, points: Sequence[SensitivityPoint]) -> Iterator[Joint]:
        """The allocations and the rules that meet the target."""
        allocations = {name: ALLOCATIONS[name] for name in STARTS} | {
            name: FromSensitivity(tuple(points), name) for name in SENSITIVITY_RULES
        }
        for name, allocation in allocations.items():
            try:
                ratios = allocation(self.layers, self._groups, self._target)
            except PruningError:
                continue  # this rule cannot meet the target; the others can
            yield self.measure(name, ratios)

    def measure(self, name: str, ratios: Ratios) -> Joint:
        """The whole plan with these ratios."""
        masks = self.resolved.masks(self._groups, ratios)
        network = self.resolved.pruned_copy(masks)
        return Joint(name, ratios, self._forward.evaluation(tensors_of(network)))

    def moved(self, ratios: Ratios, name: str, move: float) -> Ratios | None:
        """One ratio moved, the others scaled so that the total stays; None where it cannot."""
        new = min(1.0, max(0.0, ratios[name] + move))
        if new == ratios[name]:
            return None
        others = tuple(layer for layer in self.layers if layer.name != name)
        numel = {layer.name: layer.numel for layer in self.layers}
        wanted = self._target * sum(numel.values()) - new * numel[name]
        rest = sum(numel[layer.name] for layer in others)
        low = -1.0
        high = 1.0
        if not 0 <= wanted <= rest:
            return None
        for _ in range(30):
            shift = (low + high) / 2
            shifted = {x.name: min(1.0, max(0.0, ratios[x.name] + shift)) for x in others}
            if total_ratio(others, shifted) * rest < wanted:
                low = shift
            else:
                high = shift
        return shifted | {name: new}
