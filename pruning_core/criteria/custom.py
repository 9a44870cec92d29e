"""A criterion of the user's own, by its module path. For the library and the command line."""

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.criteria.pooling import POOLS
from pruning_core.criteria.protocol import Criterion, FunctionCriterion, Reads
from pruning_core.types import Batches, Layer, PruningError, Scores

PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class CustomCriterion(FunctionCriterion):
    """A function of the user's own. Its scores are checked and copied.

    function(model, layers, batches) -> {layer name: tensor O x I x H x W}, high = keep. It must not
    change the model. Its attribute `pool` says how groups pool; without it, by mean_abs.
    Raises PruningError for scores of another shape.
    """

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        given: Any = self.function(model, layers, batches)
        for layer in layers:
            scores = given.get(layer.name) if isinstance(given, dict) else None
            if not isinstance(scores, Tensor) or tuple(scores.shape) != layer.shape:
                raise PruningError(
                    f"{self.label} must give a dict with a tensor of shape {layer.shape} "
                    f"for {layer.name}."
                )
        # The function may return the model's own tensors; scores never alias them.
        return {
            layer.name: given[layer.name].detach().to("cpu", torch.float32, copy=True)
            for layer in layers
        }


def is_custom(name: str) -> bool:
    """Is the name a module path, package.module:function?"""
    return PATH.fullmatch(name) is not None


def custom(name: str) -> Criterion:
    """The criterion at that path: a criterion object as it is, or a function, made one.

    The module is imported, which runs it. Raises PruningError if there is no such module, nothing
    callable in it, or an unknown `pool`.
    """
    target = _imported(name)
    if isinstance(target, Criterion) and not isinstance(target, type):
        return target
    if not callable(target) or isinstance(target, type):
        raise PruningError(
            f"The criterion {name} is neither a function (model, layers, batches) nor a "
            "criterion object."
        )
    pool = getattr(target, "pool", "mean_abs")
    if pool not in POOLS:
        raise PruningError(f"The criterion {name} pools by '{pool}'; known are {', '.join(POOLS)}.")
    return CustomCriterion(
        target,
        label=name,
        pool=pool,
        help="A function of your own gives the scores.",
        formula="s = function(model, layers, batches)",
        source="your own module",
        reads=Reads.LABELS,
        passes="what the function does",
    )


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise PruningError(f"The criterion {name} cannot be loaded: {why}.") from error
