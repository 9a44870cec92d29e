"""What a search may choose: one ratio per part of the network, within a budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pruning_core.types import Ratios

TOLERANCE = 0.005
"""A budget is met within this share of the dense network's cost."""


@dataclass(frozen=True)
class Part:
    """Layers that share one ratio: one layer, or layers whose groups are removed together.

    name: of its first layer. layers: in the network's order. least, most: the range of the ratio.
    groups: how many can be removed one by one; 0 where any ratio is possible.
    """

    name: str
    layers: tuple[str, ...]
    least: float
    most: float
    groups: int

    def ratios(self, ratio: float) -> Ratios:
        """The ratio, for every layer of the part."""
        return dict.fromkeys(self.layers, ratio)

    def clipped(self, ratio: float) -> float:
        """The nearest ratio within the part's range."""
        return min(self.most, max(self.least, ratio))

    def in_groups(self, ratio: float) -> float:
        """The ratio that whole groups reach; the same ratio where any is possible."""
        return round(ratio * self.groups) / self.groups if self.groups else ratio


@dataclass(frozen=True)
class PartFeatures:
    """Facts about a part, as a search that learns reads them.

    kind: of its first layer, such as conv2d. outputs, inputs, kernel, stride: of its first layer;
    kernel: height x width. weights: of all its layers. cost: the share of the dense network's cost
    that is in its layers. importance: the share of the part's scores that is in the lower half of
    its groups, 0.5 where all groups are alike and less where some matter little.
    """

    name: str
    kind: str
    outputs: int
    inputs: int
    kernel: int
    stride: int
    weights: int
    cost: float
    importance: float


@runtime_checkable
class RatioSpace(Protocol):
    """The parts of a network, what any ratios cost, and the budget.

    Ratios name every layer of every part. A cost is the share of the dense network's cost that
    remains: 1.0 is the dense network. budget: the name of the cost that is limited; keep: the
    largest one allowed (within `TOLERANCE`), None without a budget.
    """

    @property
    def parts(self) -> tuple[Part, ...]: ...

    @property
    def budget(self) -> str: ...

    @property
    def keep(self) -> float | None: ...

    def cost(self, ratios: Ratios) -> float:
        """The cost that the budget limits, or the first of `costs` without a budget."""
        ...

    def costs(self, ratios: Ratios) -> Mapping[str, float]:
        """All known costs, by name, such as macs and parameters."""
        ...

    def fitted(self, ratios: Ratios) -> Ratios:
        """The ratios, shifted all alike until their cost is the budget, within `TOLERANCE`.

        The same ratios without a budget. Raises PruningError where the budget cannot be met.
        """
        ...

    def features(self) -> tuple[PartFeatures, ...]:
        """Facts about every part, in the order of `parts`."""
        ...


def of_parts(parts: tuple[Part, ...], ratios: Mapping[str, float]) -> Ratios:
    """One ratio per part, by the part's name -> ratios of all layers, in range and whole groups.

    >>> of_parts((Part("a", ("a", "b"), 0.0, 0.9, 0),), {"a": 1.0})
    {'a': 0.9, 'b': 0.9}
    >>> of_parts((Part("a", ("a",), 0.0, 0.9, 4),), {"a": 0.3})
    {'a': 0.25}
    """
    return {
        name: ratio
        for part in parts
        for name, ratio in part.ratios(part.in_groups(part.clipped(ratios[part.name]))).items()
    }


def least_ratios(parts: tuple[Part, ...]) -> Ratios:
    """Every part at its least ratio."""
    return of_parts(parts, {part.name: part.least for part in parts})


def within(space: RatioSpace, cost: float) -> bool:
    """Does this cost respect the space's budget?"""
    return space.keep is None or cost <= space.keep + TOLERANCE
