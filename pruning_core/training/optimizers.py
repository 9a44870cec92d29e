"""Torch's optimizers, for networks that are trained without torch's compiler."""

from inspect import unwrap
from typing import TypeVar, cast

import torch
from torch.optim import Optimizer

Kind = TypeVar("Kind", bound=Optimizer)
METHODS = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def _uncompiled(kind: type[Kind]) -> type[Kind]:
    """The class without the wrappers that hide its methods from torch's compiler.

    Their first call imports the compiler: 2 s in each process. `step` needs no gradients.
    """
    methods = {name: unwrap(getattr(kind, name)) for name in METHODS}
    methods["step"] = torch.no_grad()(unwrap(kind.step))
    return cast("type[Kind]", type(kind.__name__, (kind,), methods))


Adam = _uncompiled(torch.optim.Adam)
AdamW = _uncompiled(torch.optim.AdamW)
SGD = _uncompiled(torch.optim.SGD)
