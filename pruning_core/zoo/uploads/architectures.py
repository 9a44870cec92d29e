"""The architectures that an uploaded checkpoint can have: those of the zoo and of torchvision."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from pruning_core.errors import first_line
from pruning_core.registry import find
from pruning_core.types import PruningError
from pruning_core.zoo.models import ARCHITECTURES

# torchvision takes over a second to import, so the functions that need it import it.
Shape = tuple[int, int, int]
ALLOCATING = frozenset((torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full))
MAX_PARAMETERS = 150_000_000
AUXILIARY = {"googlenet": "aux1.", "inception_v3": "AuxLogits."}
"""Networks with auxiliary classifiers for training -> how their parameters start."""


class _WithoutMemory(TorchFunctionMode):
    """New parameters have a shape and no memory. `torch.device("meta")` would also take the values
    of small tensors that RegNet computes with.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        own = dict(kwargs or {})
        if func in ALLOCATING:
            own["device"] = "meta"
        return func(*args, **own)


@dataclass(frozen=True)
class Built:
    """One form of an architecture.

    shape: of an image, C x H x W; auxiliary: with the auxiliary classifiers.
    """

    architecture: str
    shape: Shape
    auxiliary: bool = False

    def build(self, classes: int) -> nn.Module:
        """The newly initialised network.

        Raises PruningError where the architecture cannot be built for this shape.
        """
        try:
            return self._build(classes)
        except (ValueError, AssertionError, RuntimeError, TypeError, ArithmeticError) as error:
            reason = first_line(error)[:120].rstrip(". ")
            raise PruningError(
                f"{self.architecture} cannot be built for images of "
                f"{' x '.join(map(str, self.shape))}: {reason}."
            ) from error

    def _build(self, classes: int) -> nn.Module:
        if self.architecture in ARCHITECTURES:
            return ARCHITECTURES[self.architecture].build(self.shape, classes)
        from torchvision.models import get_model

        network = get_model(
            self.architecture, weights=None, num_classes=classes, **self.arguments()
        )
        return with_channels(network, self.shape[0])

    def arguments(self) -> dict[str, Any]:
        """More arguments of torchvision's get_model, where the form depends on the input."""
        _, height, width = self.shape
        if self.architecture.startswith("vit_"):
            return {"image_size": height}
        if self.architecture == "maxvit_t":
            return {"input_size": (height, width)}
        if self.architecture in AUXILIARY:
            return {"aux_logits": self.auxiliary, "init_weights": False}
        return {}

    @lru_cache(maxsize=16)  # noqa: B019 - of frozen values
    def shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Name -> shape of everything in the network's state_dict. It takes no memory."""
        with _WithoutMemory():
            state = self.build(classes).state_dict()
        return {name: tuple(value.shape) for name, value in state.items()}

    @lru_cache(maxsize=16)  # noqa: B019 - of frozen values
    def integers(self) -> frozenset[str]:
        """The names of counters and indices in the network's state_dict."""
        with _WithoutMemory():
            state = self.build(2).state_dict()
        return frozenset(name for name, v in state.items() if not v.is_floating_point())

    def head(self) -> tuple[str, ...]:
        """The parameters whose first axis counts the classes."""
        two = self.shapes(2)
        three = self.shapes(3)
        return tuple(name for name, shape in two.items() if three[name] != shape)


def architectures() -> dict[str, str]:
    """Name -> label of every architecture: the zoo's, then torchvision's classifiers."""
    from torchvision import models

    zoo = {name: entry.label for name, entry in ARCHITECTURES.items()}
    return zoo | {name: f"{name} (torchvision)" for name in models.list_models(module=models)}


def check_architecture(name: str) -> None:
    """Raises PruningError for an unknown name."""
    find(architectures(), name, "architecture")


def with_channels(network: nn.Module, channels: int) -> nn.Module:
    """The network with a first convolution that reads images of this many channels."""
    if channels == 3:
        return network
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            path, _, last = name.rpartition(".")
            setattr(network.get_submodule(path), last, _reading(module, channels))
            return network
    return network


def _reading(conv: nn.Conv2d, channels: int) -> nn.Conv2d:
    """A convolution of the same form for another number of channels."""
    return nn.Conv2d(
        channels,
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        (conv.stride[0], conv.stride[1]),
        conv.padding if isinstance(conv.padding, str) else (conv.padding[0], conv.padding[1]),
        (conv.dilation[0], conv.dilation[1]),
        bias=conv.bias is not None,
    )


def _with_versions(network: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The values with the versions of the network's modules, which MNASNet requires."""
    values: dict[str, Any] = network.state_dict()
    values.update(state)
    return values


def loaded(form: Built, classes: int, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """The network with these values, in eval mode. The values are taken, not copied."""
    with _WithoutMemory():
        network = form.build(classes)
    network.load_state_dict(_with_versions(network, state), assign=True)
    left = [*network.parameters(), *network.buffers()]
    if any(tensor.is_meta for tensor in left):  # buffers that a state_dict leaves out
        with torch.random.fork_rng([]):
            network = form.build(classes)
        network.load_state_dict(_with_versions(network, state))
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return network.eval()
