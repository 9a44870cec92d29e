"""A copy of the user's network, as the package needs it: in eval mode, on the CPU, in float32."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from pruning_core.errors import kind_text
from pruning_core.model.inventory import make_prune_permanent
from pruning_core.model.model_io import call, leaf_copy, tensors_of
from pruning_core.types import Inputs, PruningError
from pruning_core.user_code import user_code

HALF = (torch.float16, torch.bfloat16)
"""Types that kernels of the CPU lack or round coarsely; float32 holds their values exactly."""
WRAPPERS = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",
}
"""Type of a wrapper (the last is torch.compile's) -> its attribute that holds the network."""


def own_copy(model: Any) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy of the model and a note for each change. The user's object stays as it is.

    Wrappers (DataParallel, torch.compile) are taken off. Raises PruningError for what is no
    network or cannot be copied.
    """
    network, notes = unwrapped(model)
    _check_tensors(network)
    with user_code("Copying the network (copy.deepcopy)"):
        own: nn.Module = leaf_copy(network, _kept_tensors(network)).cpu().eval()
    if pruned := make_prune_permanent(own):
        shown = ", ".join(pruned[:3])
        notes += (
            f"torch.nn.utils.prune has pruned {shown} and others: its masks are zeros of the "
            "weights here; the start `zeros` keeps them removed."
            if len(pruned) > 3
            else f"torch.nn.utils.prune has pruned {shown}: its masks are zeros of the weights "
            "here; the start `zeros` keeps them removed.",
        )
    half = {t.dtype for t in own.parameters() if t.dtype in HALF}
    if half:
        names = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in half))
        own = own.float()
        notes += (f"The network is in {names}; here it computes in float32.",)
    for name, parameter in own.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise PruningError(f"The weights of the network are not finite in '{name}'.")
    return own, notes


def _check_tensors(network: nn.Module) -> None:
    """Raises PruningError for tensors that are not there yet, and that no file can hold."""
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
            raise PruningError(
                f"The network's '{name}' has no shape yet (a lazy module): give the network one "
                "batch first."
            )
        if tensor.device.type == "meta":
            raise PruningError(f"The network's '{name}' has no values (device meta): load weights.")
    for name, tensor in tensors_of(network).items():
        if tensor.layout != torch.strided:
            raise PruningError(
                f"The network's '{name}' is a sparse tensor, and files of weights hold dense ones "
                "only: register it with persistent=False."
            )


def unwrapped(model: Any) -> tuple[nn.Module, tuple[str, ...]]:
    """The network without DataParallel and torch.compile, and a note where one was there.

    Raises PruningError for what is no nn.Module, and for a TorchScript module.
    """
    notes: tuple[str, ...] = ()
    while type(model).__name__ in WRAPPERS and isinstance(model, nn.Module):
        notes += (f"{type(model).__name__} is left out: the network inside it is pruned.",)
        model = getattr(model, WRAPPERS[type(model).__name__])
    if isinstance(model, torch.jit.ScriptModule):
        raise PruningError(
            "The network is a TorchScript module, which cannot be pruned: give the nn.Module that "
            "it was made from."
        )
    if not isinstance(model, nn.Module):
        raise PruningError(f"The network is {kind_text(type(model))}, not an nn.Module.")
    return model, notes


def _kept_tensors(model: nn.Module) -> dict[int, Any]:
    """Copies of the results that modules keep, which deepcopy would refuse, by their id."""
    kept: dict[int, Any] = {}

    def visit(value: Any, depth: int) -> None:
        if isinstance(value, Tensor):
            if not value.is_leaf:
                kept[id(value)] = value.detach().clone()
        elif depth and isinstance(value, list | tuple):
            for part in value:
                visit(part, depth - 1)
        elif depth and isinstance(value, dict):
            for part in value.values():
                visit(part, depth - 1)

    for module in model.modules():
        visit({k: v for k, v in vars(module).items() if not k.startswith("_")}, 3)
    return kept


def model_dtype(model: nn.Module) -> torch.dtype | None:
    """The type of the network's first weight of floating point."""
    return next((t.dtype for t in model.parameters() if t.is_floating_point()), None)


def trial(
    model: nn.Module, example: Inputs, given: str = "the first samples", origin: Any = None
) -> Any:
    """The network's output for an example. Raises PruningError, with file and line, if it fails.

    given: what the example is, for the error message. origin: what the network is a copy of; the
    message then says where float32 weights may be the cause.
    """
    try:
        with user_code(f"The network on {given}"), torch.inference_mode():
            return call(model, example)
    except PruningError as error:
        own = () if origin is None else unwrapped(origin)[0].parameters()
        half = {p.dtype for p in own} & set(HALF)
        if not half:
            raise
        names = " or ".join(sorted(str(dtype).removeprefix("torch.") for dtype in half))
        raise PruningError(
            f"{error} Its weights are float32 here: where its code casts to {names}, cast to the "
            "type of the weights instead."
        ) from error
