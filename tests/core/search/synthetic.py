"""A space of ratios without a network, and measurements with a known optimum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pruning_core.search import TOLERANCE, Evaluate, Judged, Part, PartFeatures, of_parts
from pruning_core.types import PruningError, Ratios


@dataclass(frozen=True)
class SyntheticSpace:
    """Parts that cost in proportion to what they keep: cost = sum of shares_l x (1 - r_l).

    shares: of each part, with the sum 1.
    """

    shares: tuple[float, ...]
    keep: float | None = 0.5
    most: float = 0.9
    budget: str = "macs"

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        return tuple(
            Part(f"part{i}", (f"part{i}",), 0.0, self.most, 0) for i in range(len(self.shares))
        )

    def cost(self, ratios: Ratios) -> float:
        kept = (1 - ratios[part.name] for part in self.parts)
        return sum(share * part for share, part in zip(self.shares, kept, strict=True))

    def costs(self, ratios: Ratios) -> Mapping[str, float]:
        kept = [1 - ratios[part.name] for part in self.parts]
        return {"macs": self.cost(ratios), "parameters": sum(kept) / len(kept)}

    def fitted(self, ratios: Ratios) -> Ratios:
        if self.keep is None:
            return ratios

        wanted = [
            (share, ratios[part.name]) for share, part in zip(self.shares, self.parts, strict=True)
        ]

        def cost(by: float) -> float:
            """The cost of the ratios shifted by it, as `of_parts` clips them."""
            kept = (share * (1 - min(self.most, max(0.0, r + by))) for share, r in wanted)
            return sum(kept)

        low = -1.0
        high = 1.0
        if cost(high) > self.keep + TOLERANCE:
            raise PruningError(f"No ratios keep only {self.keep:.1%} of the cost.")
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (low, middle) if cost(middle) <= self.keep else (middle, high)
        return of_parts(self.parts, {name: ratio + high for name, ratio in ratios.items()})

    def features(self) -> tuple[PartFeatures, ...]:
        return tuple(
            PartFeatures(part.name, "conv2d", 16, 16, 9, 1, 2304, share, 0.2)
            for part, share in zip(self.parts, self.shares, strict=True)
        )


def planted(space: SyntheticSpace, best: Sequence[float], width: float = 0.3) -> Evaluate:
    """Measurements whose only optimum is at these ratios: score = 1 - mean ((r - best) / width)^2.

    The loss is 1 minus the score.
    """

    def evaluate(ratios: Ratios) -> Judged:
        apart = [ratios[p.name] - b for p, b in zip(space.parts, best, strict=True)]
        score = 1 - sum((x / width) ** 2 for x in apart) / len(apart)
        return Judged(value=score, score=score, loss=1 - score, divergence=1 - score)

    return evaluate
