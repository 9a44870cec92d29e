"""Which weights matter? Every criterion: (model, layers, batches) -> Scores; higher = keep."""

from dataclasses import fields, replace

from pruning_core.criteria.gradient import Gradient, Taylor
from pruning_core.criteria.pooling import POOLS
from pruning_core.criteria.protocol import Criterion
from pruning_core.criteria.weight import BnScale, Magnitude, Random
from pruning_core.registry import find

__all__ = ["CRITERIA", "POOLS", "Criterion", "criterion"]

CRITERIA: dict[str, Criterion] = {
    "magnitude_l1": Magnitude(),
    "magnitude_l2": Magnitude(label="Magnitude (L2)", pool="l2"),
    "gradient": Gradient(),
    "taylor": Taylor(),
    "bn_scale": BnScale(),
    "random": Random(),
}


def criterion(name: str, seed: int = 0) -> Criterion:
    """The criterion of that name; a random one draws from `seed`. Raises PruningError for an unknown name."""
    found = find(CRITERIA, name, "criterion")
    return replace(found, seed=seed) if "seed" in {f.name for f in fields(found)} else found
