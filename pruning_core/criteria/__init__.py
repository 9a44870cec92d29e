"""Which weights matter? Every criterion: (model, layers, batches) -> Scores; higher = keep."""

from dataclasses import fields, replace

from pruning_core.criteria.activation import Apoz, MeanActivation, Wanda
from pruning_core.criteria.curvature import Grasp, Obd
from pruning_core.criteria.custom import custom, is_custom
from pruning_core.criteria.dataflow import SynFlow
from pruning_core.criteria.gradient import Gradient, Snip, Taylor, TaylorGroup
from pruning_core.criteria.pooling import POOLS
from pruning_core.criteria.protocol import Criterion, refusal
from pruning_core.criteria.seven import Seven
from pruning_core.criteria.weight import BnScale, Fpgm, Magnitude, Random
from pruning_core.registry import find

__all__ = ["CRITERIA", "POOLS", "Criterion", "check_criterion", "criterion", "is_custom", "refusal"]

CRITERIA: dict[str, Criterion] = {
    "magnitude_l1": Magnitude(),
    "magnitude_l2": Magnitude(label="Magnitude (L2)", pool="l2"),
    "magnitude_linf": Magnitude(label="Magnitude (L∞)", pool="max_abs"),
    "bn_scale": BnScale(),
    "fpgm": Fpgm(),
    "gradient": Gradient(),
    "taylor": Taylor(),
    "taylor_group": TaylorGroup(),
    "snip": Snip(),
    "grasp": Grasp(),
    "obd": Obd(),
    "seven": Seven(),
    "synflow": SynFlow(),
    "wanda": Wanda(),
    "apoz": Apoz(),
    "mean_activation": MeanActivation(),
    "random": Random(),
}


def criterion(name: str, seed: int = 0) -> Criterion:
    """The criterion of that name; a random one draws from `seed`. "module.path:function" imports
    one of the user's own.

    Raises PruningError for an unknown name.
    """
    if is_custom(name):
        return custom(name)
    found = find(CRITERIA, name, "criterion")
    return replace(found, seed=seed) if "seed" in {f.name for f in fields(found)} else found


def check_criterion(name: str) -> None:
    """Raises PruningError unless the name is in `CRITERIA` or could be a module path; imports
    nothing.
    """
    if not is_custom(name):
        find(CRITERIA, name, "criterion")
