"""A criterion of the user's own, by its module path. For the library and the command line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pruning_core.criteria.pooling import POOLS
from pruning_core.criteria.protocol import Criterion, FunctionCriterion, Reads
from pruning_core.errors import kind_text
from pruning_core.model.model_io import copy_model
from pruning_core.types import Batches, Layer, PruningError, Scores
from pruning_core.user_code import import_object, user_code

PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class CustomCriterion(FunctionCriterion):
    """A function of the user's own. It works on a copy of the model; its scores are checked.

    function(model, layers, batches) -> {layer name: scores O x I x H x W}, high = keep. Scores are
    tensors or NumPy arrays of any real type. The function's attribute `pool` says how groups pool;
    without it, by mean_abs. Raises PruningError for an error of the function, and for scores that
    are missing, of another shape, or not finite.
    """

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        return checked_scores(self.function, self.label, model, layers, batches)


@dataclass(frozen=True)
class CustomObject:
    """A criterion object of the user's own, checked as a function is (`CustomCriterion`)."""

    criterion: Criterion

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "criterion"), name)

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        return checked_scores(self.criterion, self.criterion.label, model, layers, batches)


def checked_scores(
    function: Any, label: str, model: nn.Module, layers: tuple[Layer, ...], batches: Batches
) -> Scores:
    """The scores that a user's function gives for a copy of the model, as new float32 tensors.

    label: its name in the errors. Raises PruningError as `CustomCriterion`.
    """
    with user_code(f"The criterion {label}"):
        given = function(copy_model(model), layers, batches)
    if not isinstance(given, Mapping):
        raise PruningError(
            f"The criterion {label} gives {kind_text(type(given))}: it must give a dict with the "
            "scores of every layer."
        )
    return {layer.name: _scores_of(layer, given.get(layer.name), label) for layer in layers}


def _scores_of(layer: Layer, given: Any, label: str) -> Tensor:
    """The scores of one layer as a new tensor."""
    scores = torch.from_numpy(np.array(given)) if isinstance(given, np.ndarray) else given
    if not isinstance(scores, Tensor) or tuple(scores.shape) != layer.shape or scores.is_complex():
        what = "nothing" if given is None else type(given).__name__
        if isinstance(scores, Tensor):
            what = f"{tuple(scores.shape)} {str(scores.dtype).removeprefix('torch.')}"
        raise PruningError(
            f"The criterion {label} gives {what} for {layer.name}: it must give a tensor of shape "
            f"{layer.shape}."
        )
    # The function may return the copy's own tensors; scores never alias them.
    copied = scores.detach().to("cpu", torch.float32, copy=True).contiguous()
    if bad := int((~copied.isfinite()).sum()):
        raise PruningError(
            f"The criterion {label} gives {bad} scores of {layer.name} that are NaN, infinite or "
            "too large for float32."
        )
    return copied


def is_custom(name: str) -> bool:
    """Is the name a module path, package.module:function?"""
    return PATH.fullmatch(name) is not None


def custom(name: str) -> Criterion:
    """The criterion at that path: a criterion object, or a function that becomes one.

    The module is imported, which runs it. Raises PruningError if there is no such module, nothing
    callable in it, or an unknown `pool`.
    """
    target = import_object(name, "criterion")
    if isinstance(target, Criterion) and not isinstance(target, type):
        return CustomObject(target)
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
