"""A network as a torch.export program and as an ONNX file, each checked by running it."""

import io
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from pruning_core.compress.runtimes import exported, onnx_bytes, quiet, run_onnx
from pruning_core.compress.thin_network import outputs, relative_error
from pruning_core.export.measure_lines import listed
from pruning_core.model.model_io import arguments, as_read_by, output_tensors
from pruning_core.types import Inputs, PruningError
from pruning_core.user_code import user_code

TOLERANCE = 1e-4
"""Kernels of other runtimes add in another order: outputs differ at most by this, relatively."""
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def program_file(model: nn.Module, x: Inputs) -> bytes:
    """A file for `torch.export.load`. It takes batches of any size where the network's code does.

    model: in eval mode; x: a batch of two samples or more. The program's outputs are compared with
    the network's. Raises PruningError where torch.export cannot read the code, and for other
    outputs.
    """
    with user_code("torch.export with this network"), quiet():
        program = _exported(model, x)
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        args, kwargs = arguments(as_read_by(model, x))
        with torch.no_grad():
            actual = list(output_tensors(program.module()(*args, **kwargs)))
    _check("torch.export program", actual, model, x)
    return buffer.getvalue()


def onnx_file(model: nn.Module, x: Inputs) -> bytes:
    """An ONNX file with its weights inside, compared with the network in ONNX Runtime.

    Raises PruningError where a package is missing, where the network cannot be written, and for
    other outputs.
    """
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        run = "Run pip install 'pruning-explorer[onnx]'."
        if len(missing) > 1:
            raise PruningError(f"There is no ONNX file: {listed(missing)} are missing. {run}")
        raise PruningError(f"There is no ONNX file: {missing[0]} is missing. {run}")
    with user_code("Writing the network as ONNX"), quiet():
        content = onnx_bytes(_exported(model, x))
        actual = [torch.as_tensor(array) for array in run_onnx(content, model, x)()]
    _check("ONNX file", actual, model, x)
    return content


def _exported(model: nn.Module, x: Inputs) -> torch.export.ExportedProgram:
    """The program for batches of any size; where that is refused, for batches as large as `x`."""
    args, kwargs = arguments(as_read_by(model, x))
    free: Any = [{0: torch.export.Dim.AUTO} for _ in args]
    named = {name: {0: torch.export.Dim.AUTO} for name in kwargs}
    shapes: Any = named if kwargs else tuple(free)
    try:
        with torch.no_grad():
            return torch.export.export(model, args, kwargs, dynamic_shapes=shapes)
    except (RuntimeError, ValueError, TypeError):
        return exported(model, x)


def _check(what: str, actual: list[torch.Tensor], model: nn.Module, x: Inputs) -> None:
    error = relative_error(actual, outputs(model, x))
    if error > TOLERANCE:
        raise PruningError(
            f"The {what} is not written: its outputs differ from the network's by {error:.1e} "
            "of the largest."
        )
