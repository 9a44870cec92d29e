"""Runtimes that compute a network: torch, a torch.export program, ONNX Runtime, OpenVINO."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.compress.paired_times import Call
from pruning_core.model.model_io import arguments, as_read_by, find_logits, input_tensors
from pruning_core.registry import find
from pruning_core.types import Inputs, PruningError
from pruning_core.user_code import user_code

Run = Callable[[], Any]
"""Computes the network once, to the end, and gives its output."""


@dataclass(frozen=True)
class Runtime:
    """One runtime. packages: what must be installed besides torch; prepare: network in eval mode
    and a batch -> `Run`, which gives tensors or arrays; cpu_only: it computes on the CPU here.
    """

    name: str
    label: str
    help: str
    packages: tuple[str, ...]
    prepare: Callable[[nn.Module, Inputs], Run]
    cpu_only: bool = True


def prepare_eager(model: nn.Module, x: Inputs) -> Run:
    """The module itself, without gradients."""
    args, kwargs = arguments(as_read_by(model, x))
    finish = _waits_for(input_tensors(x)[0].device)

    def run() -> Any:
        with torch.inference_mode():
            out = model(*args, **kwargs)
        finish()
        return out

    return run


def prepare_export(model: nn.Module, x: Inputs) -> Run:
    """The module of the network's torch.export program."""
    return prepare_eager(exported(model, x).module(), as_read_by(model, x))


def prepare_onnxruntime(model: nn.Module, x: Inputs) -> Run:
    """The network's ONNX file in ONNX Runtime."""
    return run_onnx(onnx_bytes(exported(model, x)), model, x)


def run_onnx(content: bytes, model: nn.Module, x: Inputs) -> Run:
    """An ONNX Runtime session on the CPU, with as many threads as torch's kernels.

    content: the ONNX file of the network.
    """
    import onnxruntime  # optional

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    fed = arrays_by_name(names, model, x)
    return lambda: session.run(None, fed)


def prepare_openvino(model: nn.Module, x: Inputs) -> Run:
    """The same ONNX file in OpenVINO on the CPU, in float32, with torch's number of threads."""
    import openvino  # optional

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    read = core.read_model(io.BytesIO(onnx_bytes(exported(model, x))))
    compiled = core.compile_model(read, "CPU", settings)
    fed = arrays_by_name([entry.any_name for entry in compiled.inputs], model, x)
    request = compiled.create_infer_request()
    return lambda: list(request.infer(fed, share_inputs=True).values())


RUNTIMES: dict[str, Runtime] = {
    entry.name: entry
    for entry in (
        Runtime("eager", "PyTorch", "The network as PyTorch runs it.", (), prepare_eager, False),
        Runtime(
            "export",
            "torch.export",
            "The program that torch.export makes of the network.",
            (),
            prepare_export,
            False,
        ),
        Runtime(
            "onnxruntime",
            "ONNX Runtime",
            "The network as an ONNX file, on the CPU.",
            ("onnxruntime", "onnxscript"),
            prepare_onnxruntime,
        ),
        Runtime(
            "openvino",
            "OpenVINO",
            "The same ONNX file in OpenVINO, on the CPU.",
            ("openvino", "onnxscript"),
            prepare_openvino,
        ),
    )
}
"""Every runtime, by name."""


def runtime(name: str) -> Runtime:
    """The runtime of that name. Raises PruningError for an unknown name."""
    return find(RUNTIMES, name, "runtime")


def unavailable(entry: Runtime, device: torch.device) -> str | None:
    """None where the runtime can be used, else one sentence that says why not."""
    missing = [package for package in entry.packages if find_spec(package) is None]
    if missing:
        return f"{entry.label} is not measured: install {' and '.join(missing)}."
    if entry.cpu_only and device.type != "cpu":
        return f"{entry.label} is not measured: here it computes on the CPU, not on {device.type}."
    return None


def prepared(entry: Runtime, model: nn.Module, x: Inputs) -> Run:
    """The network in a runtime. Raises PruningError, with the reason, where it does not run."""
    with user_code(f"{entry.label} with this network"), quiet():
        run = entry.prepare(model, x)
        run()
    return run


def first_output(out: Any) -> Tensor:
    """The output that holds the logits, on the CPU. out: what a `Run` gives."""
    logits = find_logits(out)
    if logits is None:
        arrays = list(out.values()) if isinstance(out, Mapping) else list(out)
        logits = torch.as_tensor(arrays[0])
    return logits.detach().cpu()


def exported(model: nn.Module, x: Inputs) -> torch.export.ExportedProgram:
    """The torch.export program of the network for exactly this batch."""
    args, kwargs = arguments(as_read_by(model, x))
    with torch.no_grad():
        return torch.export.export(model, args, kwargs)


def onnx_bytes(program: torch.export.ExportedProgram) -> bytes:
    """The program as an ONNX file, weights inside. Needs onnxscript.

    Raises PruningError where torch cannot write it.
    """
    made = torch.onnx.export(program, dynamo=True, verbose=False)
    if made is None:
        raise PruningError("The network could not be written as ONNX.")
    content: bytes = made.model_proto.SerializeToString()
    return content


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters warn about their own code. Their log messages and warnings are dropped."""
    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def arrays_by_name(names: list[str], model: nn.Module, x: Inputs) -> dict[str, Any]:
    """The batch as arrays, by the names of an ONNX file's inputs.

    Raises PruningError where their numbers differ.
    """
    args, kwargs = arguments(as_read_by(model, x))
    given = [*args, *kwargs.values()]
    if len(names) != len(given):
        raise PruningError(
            f"The ONNX file has {len(names)} inputs, the network has {len(given)}: "
            "a runtime cannot be given the batch."
        )
    arrays = [tensor.detach().cpu().contiguous().numpy() for tensor in given]
    own = dict(zip(names, arrays, strict=True))
    return own | {
        name: t for name, t in zip(kwargs, arrays[len(args) :], strict=True) if name in own
    }


def _waits_for(device: torch.device) -> Call:
    """Waits until the device has computed all that was started on it."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return torch.mps.synchronize if device.type == "mps" else lambda: None
