"""A criterion of the user's own: any Python callable, by its module path. For the library and the
command line.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import ClassVar

from torch import Tensor, nn

from pruning_core.criteria.pooling import POOLS
from pruning_core.criteria.protocol import Criterion
from pruning_core.types import Batches, Layer, PruningError, Scores

PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Custom:
    """s = what the function gives: function(model, layers, batches) -> one O x I x H x W tensor per
    layer name, high = keep.

    The function must not change the model. An attribute `pool` of the function names how groups
    pool (mean_abs if it has none).
    """

    help: ClassVar[str] = (
        "A function of your own decides. Reads whatever it reads of the labelled calibration images."
    )
    formula: ClassVar[str] = "s = function(model, layers, batches)"
    source: ClassVar[str] = "your own module"
    needs: ClassVar[str] = "labelled images"
    passes: ClassVar[str] = "what the function does"
    runs_network: ClassVar[bool] = True
    needs_data: ClassVar[bool] = True
    per_filter: ClassVar[bool] = False
    label: str
    pool: str
    function: Callable[..., Scores] = field(repr=False)

    def supports(self, layer: Layer) -> str | None:
        return None

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        found = self.function(model, layers, batches)
        for layer in layers:
            scores = found.get(layer.name) if isinstance(found, dict) else None
            if not isinstance(scores, Tensor) or tuple(scores.shape) != layer.shape:
                raise PruningError(
                    f"{self.label} must give a dict with a tensor of shape {layer.shape} for {layer.name}."
                )
        return {layer.name: found[layer.name].detach().cpu().float() for layer in layers}


def is_custom(name: str) -> bool:
    """Is the name a module path, package.module:function?"""
    return PATH.fullmatch(name) is not None


def custom(name: str) -> Criterion:
    """Imports the module, which runs it, and gives the criterion of that path: a criterion object
    or a function.

    Raises PruningError where there is no such module or nothing in it that can be called.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise PruningError(f"The criterion {name} cannot be loaded: {why}.") from error
    if isinstance(found, Criterion) and not isinstance(found, type):
        return found
    if not callable(found) or isinstance(found, type):
        raise PruningError(
            f"The criterion {name} is neither a function (model, layers, batches) nor a criterion object."
        )
    pool = getattr(found, "pool", "mean_abs")
    if pool not in POOLS:
        raise PruningError(f"The criterion {name} pools by '{pool}'; known are {', '.join(POOLS)}.")
    return Custom(name, pool, found)
