"""The ratios of two layers as a space to search: two parts, and a budget of their MACs."""

from collections.abc import Mapping
from dataclasses import dataclass

from pruning_core.evaluation.accuracy import Judge
from pruning_core.flows.protocol import least_met
from pruning_core.pipeline import choose_masks, masked_copy
from pruning_core.plan import Plan
from pruning_core.search import Judged, Part, PartFeatures, of_parts
from pruning_core.types import Layer, Ratios
from pruning_core.workspaces import Workspace

NAMES = ("layer2.0.conv2.weight", "layer3.0.conv2.weight")
"""Both have equally many multiply-adds, so the budget is the sum of their ratios."""
MOST = 0.98
KEEP = 0.2
"""The share of both layers' multiply-adds that may remain."""
STEPS = 30
"""Halvings of the shift that meets the budget."""


@dataclass(frozen=True)
class TwoLayers:
    """Two layers, each with a ratio of its own (`RatioSpace`). All others stay dense."""

    layers: tuple[Layer, ...]
    keep: float = KEEP
    budget: str = "macs"

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(Part(layer.name, (layer.name,), 0.0, MOST, 0) for layer in self.layers)

    def cost(self, ratios: Ratios) -> float:
        kept = sum(layer.macs * (1 - ratios[layer.name]) for layer in self.layers)
        return kept / sum(layer.macs for layer in self.layers)

    def costs(self, ratios: Ratios) -> Mapping[str, float]:
        return {"macs": self.cost(ratios)}

    def fitted(self, ratios: Ratios) -> Ratios:
        def met(shift: float) -> bool:
            return self.cost(self._shifted(ratios, shift)) <= self.keep

        return self._shifted(ratios, least_met(met, -1.0, 1.0, STEPS))

    def features(self) -> tuple[PartFeatures, ...]:
        return ()

    def _shifted(self, ratios: Ratios, shift: float) -> Ratios:
        return of_parts(self.parts, {name: ratio + shift for name, ratio in ratios.items()})


def two_layers(space: Workspace) -> TwoLayers:
    """The two layers of the default network."""
    return TwoLayers(tuple(layer for layer in space.layers if layer.name in NAMES))


def judge(space: Workspace, ratios: Ratios) -> Judged:
    """The accuracy on the validation images with these kernels removed; nothing is trained."""
    plan = Plan(granularity="kernel", allocation="manual", overrides=tuple(ratios.items()))
    masks = choose_masks(plan, space)[1]
    measured = Judge.of(space.dataset).evaluate(masked_copy(plan, space, masks), space.dataset.val)
    return Judged(measured.value, measured.value, measured.loss, measured)
