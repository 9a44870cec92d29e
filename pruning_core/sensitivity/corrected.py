"""Ratios that are measured together and corrected: layers interact, single curves do not show it.

Starts from the allocation with the best joint value, then moves weights between layers step by
step and keeps a move where the whole plan, measured on the probe, loses less.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pruning_core.allocation import ALLOCATIONS, STARTING_ALLOCATIONS, fit_ratios
from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.pipeline import probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.ratios import FromSensitivity
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.types import Evaluation, GroupScores, PruningError, Ratios, SensitivityPoint
from pruning_core.workspaces import Workspace

CORRECTED = "corrected"
"""The name of ratios that were moved from a start."""
BLENDS = (0.25, 0.5, 0.75)
"""Parts of the way between the two best starts."""
STEPS = (0.1, 0.05)
"""How far one layer's ratio moves at a time."""


@dataclass(frozen=True, eq=False)
class Joint:
    """Ratios with the measured value of the whole plan on the probe.

    name: an allocation, a sensitivity rule, a blend, or `CORRECTED`.
    """

    name: str
    ratios: Ratios
    evaluation: Evaluation


def corrected(plan: Plan, space: Workspace, points: Sequence[SensitivityPoint]) -> Iterator[Joint]:
    """Yields every measured start, then the best up to now after each step of the search.

    The last has the lowest loss. A step measures a blend of the two best starts, or lowers or
    raises the ratio of one layer and takes the difference, in weights, from all others. All is
    measured on the plan's probe, without training. `steps` is the number of events.
    points: of a full scan. Ratios that the plan sets by hand have no effect.
    Raises PruningError where the plan can prune no layer.
    """
    search = _Search(plan, space)
    starts = []
    for start in search.starts(points):
        starts.append(start)
        yield start
    starts.sort(key=_loss)
    best = starts[0]
    for name, blend in _blends(starts[:2]):
        best = min(best, search.measure(name, blend), key=_loss)
        yield best
    for step in STEPS:
        for layer in sorted(search.layers, key=lambda x: -x.numel):
            best = search.better(best, layer.name, step) or best
            yield best


def steps(layers: int) -> int:
    """The largest number of events of `corrected` for a number of layers."""
    return len(STARTING_ALLOCATIONS) + len(SENSITIVITY_RULES) + len(BLENDS) + len(STEPS) * layers


def start_label(name: str) -> str:
    """The name of a `Joint` for people, such as "Uniform and Global" for a blend."""
    labels = {start: ALLOCATIONS[start].label for start in STARTING_ALLOCATIONS}
    labels |= {rule: entry.label for rule, entry in SENSITIVITY_RULES.items()}
    labels[CORRECTED] = "Corrected"
    return " and ".join(labels[part] for part in parts(name))


def parts(name: str) -> list[str]:
    """The names that a `Joint` is made of: both of a blend, its own otherwise."""
    return name.split(" and ")


def _loss(joint: Joint) -> float:
    return joint.evaluation.loss


def _blends(starts: Sequence[Joint]) -> Iterator[tuple[str, Ratios]]:
    """Names and ratios between the two starts, from the first one on; nothing for one start."""
    if len(starts) < 2:
        return
    best, second = starts
    for part in BLENDS:
        yield (
            " and ".join((best.name, second.name)),
            {
                name: (1 - part) * ratio + part * second.ratios[name]
                for name, ratio in best.ratios.items()
            },
        )


class _Search:
    """Measures ratios of the whole plan on the probe."""

    def __init__(self, plan: Plan, space: Workspace) -> None:
        self.resolved = plan.resolve(space)
        self.layers = self.resolved.layers
        self._target = plan.sparsity
        self._groups: GroupScores = self.resolved.scores()
        judge = Judge.of(space.dataset)
        model = self.resolved.space.model
        self._forward = IncrementalForward(model, probe_split(plan, space), judge=judge)

    def starts(self, points: Sequence[SensitivityPoint]) -> Iterator[Joint]:
        """The allocations and the rules that meet the target."""
        allocations = {name: ALLOCATIONS[name] for name in STARTING_ALLOCATIONS} | {
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
        tensors = self.resolved.pruned_tensors(masks)
        return Joint(name, ratios, self._forward.evaluation(tensors))

    def better(self, best: Joint, name: str, step: float) -> Joint | None:
        """The first of two moves of one layer's ratio, down and up, with a lower loss."""
        for move in (-step, step):
            ratios = self._moved(best.ratios, name, move)
            if ratios is None:
                continue
            joint = self.measure(CORRECTED, ratios)
            if _loss(joint) < _loss(best):
                return joint
        return None

    def _moved(self, ratios: Ratios, name: str, move: float) -> Ratios | None:
        """One ratio moved, the others shifted so that the total stays; None where it cannot."""
        new = _clipped(ratios[name] + move)
        others = tuple(layer for layer in self.layers if layer.name != name)
        if new == ratios[name] or not others:
            return None
        weights = sum(layer.numel for layer in self.layers)
        rest = sum(layer.numel for layer in others)
        wanted = (self._target * weights - new * (weights - rest)) / rest
        if not 0 <= wanted <= 1:
            return None
        shifted = fit_ratios(
            others,
            wanted,
            lambda level: {x.name: _clipped(ratios[x.name] + 2 * level - 1) for x in others},
        )
        return shifted | {name: new}


def _clipped(ratio: float) -> float:
    return min(1.0, max(0.0, ratio))
