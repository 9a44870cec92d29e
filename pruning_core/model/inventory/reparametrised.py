"""Weights that are computed before every call, or that do not exist yet: found, with a remedy."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from pruning_core.model.inventory.kinds import candidates, full_name
from pruning_core.model.inventory.views import oihw
from pruning_core.model.model_io import copy_model
from pruning_core.types import Masks, PruningError


@dataclass(frozen=True)
class Computed:
    """A weight that its module computes from other parameters.

    name: of the weight. parameters: names of what it is computed from. how, remedy: in words.
    """

    name: str
    parameters: tuple[str, ...]
    how: str
    remedy: str

    @property
    def reason(self) -> str:
        """Why these parameters cannot be pruned, and what to do."""
        return f"{self.name} is computed from it by {self.how}: call {self.remedy} first"


def computed_weights(model: nn.Module) -> tuple[Computed, ...]:
    """All weights that are computed by torch.nn.utils: prune, weight_norm, spectral_norm, and
    parametrizations.
    """
    return tuple(
        computed
        for path, module in model.named_modules()
        for computed in (*_parametrized(path, module), *_hooked(path, module))
    )


def check_lazy(model: nn.Module) -> None:
    """Raises PruningError where a lazy module has no weights yet."""
    tensors = (*model.named_parameters(), *model.named_buffers())
    lazy = (UninitializedParameter, UninitializedBuffer)
    if name := next((name for name, tensor in tensors if isinstance(tensor, lazy)), None):
        raise PruningError(
            f"{name} belongs to a lazy module and has no values yet: "
            "run one forward pass with the model first."
        )


def from_torch_prune(model: nn.Module) -> tuple[nn.Module, Masks]:
    """A plain copy of a model that torch.nn.utils.prune has pruned, and the masks to start from.

    The masks are those of the weights of known kinds (`candidates`), O x I x H x W by name, True =
    keep. In the copy these weights are parameters again, with the values of `weight_orig`, so that
    the mask alone says which are removed. Other pruned parameters, such as biases, get their zeros
    for good. The model is not changed. A model that torch has not pruned gives a copy and no masks.

    >>> network = nn.Sequential(nn.Linear(2, 1))
    >>> _ = prune.l1_unstructured(network[0], "weight", 1)
    >>> plain, masks = from_torch_prune(network)
    >>> int(masks["0.weight"].sum()), [name for name, _ in plain.named_parameters()]
    (1, ['0.bias', '0.weight'])
    """
    plain = copy_model(model)
    given = dict[str, tuple[Tensor, Tensor]]()
    for path, module in plain.named_modules():
        for name in _names(module, prune.BasePruningMethod, "_tensor_name"):
            mask = getattr(module, f"{name}_mask").bool()
            values = module._parameters[f"{name}_orig"].detach().clone()
            given[full_name(path, name)] = mask, values
            prune.remove(module, name)
    masks: Masks = {}
    for layer, parameter in candidates(plain, embeddings=True):
        if layer.name in given:
            mask, values = given[layer.name]
            parameter.data = values
            masks[layer.name] = oihw(mask.cpu(), layer)
    return plain, masks


def make_prune_permanent(model: nn.Module) -> tuple[str, ...]:
    """Turns the masks of torch.nn.utils.prune into zeros of plain weights, in place.

    Returns the names of these weights.
    """
    names = [
        (path, module, name)
        for path, module in model.named_modules()
        for name in _names(module, prune.BasePruningMethod, "_tensor_name")
    ]
    for _, module, name in names:
        prune.remove(module, name)
    return tuple(full_name(path, name) for path, _, name in names)


def _names(module: nn.Module, hook: type, attribute: str) -> list[str]:
    """Names of the parameters that such hooks of the module compute."""
    hooks = module._forward_pre_hooks.values()
    return [getattr(own, attribute) for own in hooks if isinstance(own, hook)]


def _hooked(path: str, module: nn.Module) -> Iterator[Computed]:
    for hook, attribute, endings, how, remedy in HOOKS:
        for name in _names(module, hook, attribute):
            parameters = tuple(full_name(path, name + ending) for ending in endings)
            yield Computed(full_name(path, name), parameters, how, remedy.format(name=name))


def _parametrized(path: str, module: nn.Module) -> Iterator[Computed]:
    if parametrize.is_parametrized(module):
        for name, own in module.get_submodule("parametrizations").named_children():
            inside = full_name(path, f"parametrizations.{name}")
            parameters = tuple(f"{inside}.{each}" for each, _ in own.named_parameters())
            kinds = ", ".join(type(each).__name__.lstrip("_") for each in own.children())
            remedy = f"torch.nn.utils.parametrize.remove_parametrizations(module, '{name}')"
            how = f"a parametrization ({kinds})"
            yield Computed(full_name(path, name), parameters, how, remedy)


HOOKS = (
    (
        prune.BasePruningMethod,
        "_tensor_name",
        ("_orig",),
        "torch.nn.utils.prune",
        "torch.nn.utils.prune.remove(module, '{name}') or from_torch_prune(model)",
    ),
    (
        WeightNorm,
        "name",
        ("_g", "_v"),
        "weight norm",
        "torch.nn.utils.remove_weight_norm(module, '{name}')",
    ),
    (
        SpectralNorm,
        "name",
        ("_orig",),
        "spectral norm",
        "torch.nn.utils.remove_spectral_norm(module, '{name}')",
    ),
)
"""Class of the hook, its attribute with the name, endings of its parameters, how, and remedy."""
