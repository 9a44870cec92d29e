"""The state of a training as bytes: nested values with tensors. Nothing is pickled."""

import json
import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pruning_core.tasks.task import Evaluation, Task
from pruning_core.types import PruningError

State = dict[str, Any]
"""Names -> tensors, numbers, texts, None, and lists and dicts of these."""
TEXT = "text"
"""The tensor that holds the JSON text: in it, {"#": 3} is the tensor "3"."""


@runtime_checkable
class Stateful(Protocol):
    """What can continue from a state, as PyTorch's modules and optimizers do."""

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


class KeptTensors:
    """Tensors by name as a `Stateful`: their numbers are set in place."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def state_dict(self) -> State:
        return dict(self._tensors)

    def load_state_dict(self, state: State) -> None:
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                tensor.copy_(state[name])


class KeptGenerator:
    """A generator of random numbers as a `Stateful`."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def state_dict(self) -> State:
        return {"state": self._generator.get_state()}

    def load_state_dict(self, state: State) -> None:
        self._generator.set_state(state["state"])


class KeptOptimizer:
    """What an optimizer keeps of each parameter, as a `Stateful`; its rates are not kept."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def state_dict(self) -> State:
        kept = self._optimizer.state
        return {str(k): dict(kept[p]) for k, p in enumerate(self._parameters) if p in kept}

    def load_state_dict(self, state: State) -> None:
        for number, own in state.items():
            parameter = self._parameters[int(number)]
            self._optimizer.state[parameter] = {
                name: placed_like(value, parameter) for name, value in own.items()
            }


def placed_like(value: Any, parameter: Tensor) -> Any:
    """A tensor of the parameter's shape, on its device and in its memory format; else the value."""
    if not isinstance(value, Tensor) or value.shape != parameter.shape or not value.ndim:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def packed_evaluation(evaluation: Evaluation) -> State:
    """The evaluation without its samples and its task."""
    own = {name: getattr(evaluation, name) for name in ("n", "value", "loss", "interval")}
    return {**own, "extras": dict(evaluation.extras)}


def unpacked_evaluation(state: State, task: Task) -> Evaluation:
    """The evaluation; without the value of each sample."""
    return Evaluation(
        **(state | {"interval": tuple(state["interval"])}), values=torch.zeros(0), task=task
    )


def pack_state(state: State) -> bytes | None:
    """The state as one safetensors file; None where it holds a value of another kind."""
    tensors: dict[str, Tensor] = {}
    try:
        text = json.dumps(_without_tensors(state, tensors))
        tensors[TEXT] = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
        return save(tensors)
    except (TypeError, KeyError):  # KeyError: a number type that the format does not have
        return None


def unpack_state(content: bytes) -> State:
    """The state. Raises PruningError for bytes that are none."""
    try:
        tensors = load(content)
        state = _with_tensors(json.loads(tensors.pop(TEXT).numpy().tobytes()), tensors)
    except (
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        RecursionError,
    ) as error:
        raise PruningError("The state of a training is damaged.") from error
    if not isinstance(state, dict):
        raise PruningError("The state of a training is damaged.")
    return state


def frozen(state: State) -> Tensor | None:
    """The state's bytes as one tensor, which later changes of its tensors do not reach: masks take
    a bit per weight.
    """
    content = pack_state(state)
    return None if content is None else torch.frombuffer(bytearray(content), dtype=torch.uint8)


def thawed(tensor: Tensor) -> State:
    """The state of a `frozen` tensor."""
    return unpack_state(tensor.numpy().tobytes())


def _without_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The value with a number in place of each tensor, which is added to `tensors`."""
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError(value)
        return {name: _without_tensors(part, tensors) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_tensors(part, tensors) for part in value]
    if not isinstance(value, Tensor):
        return value
    number = str(len(tensors))
    whole = value.detach().cpu().contiguous()
    if whole.dtype != torch.bool:
        tensors[number] = whole.clone() if whole.data_ptr() == value.data_ptr() else whole
        return {"#": number}
    tensors[number] = torch.from_numpy(np.packbits(whole.flatten().numpy()))
    return {"#": number, "bits": list(whole.shape)}


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_with_tensors(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    if "#" not in value:
        return {name: _with_tensors(part, tensors) for name, part in value.items()}
    tensor = tensors[value["#"]]
    if "bits" not in value:
        return tensor
    shape = [int(size) for size in value["bits"]]
    bits = np.unpackbits(tensor.numpy(), count=math.prod(shape))
    return torch.from_numpy(bits.astype(bool)).view(shape)
