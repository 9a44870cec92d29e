"""A tensor that replaces a model's tensor is of the same kind, so that the same kernels run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.evaluation.partial_forward import PartialForward, Zeroed
from pruning_core.masks import apply_masks
from pruning_core.model.graph import Program, Values, fitting
from pruning_core.model.graph.program import Stage
from pruning_core.model.inventory import inventory
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.evaluation.test_partial_forward import (
    BATCH,
    CPU,
    Attention,
    Shared,
    chain,
    full,
    masks,
    one_of_each,
    seeded,
    split,
)

Shape = tuple[int, int, int]
Kinds = dict[str, dict[str, object]]
Run = tuple[Kinds, frozenset[int]]


class Scaled(nn.Parameter):
    """A parameter class with an attribute that the model reads."""

    scale: float


def subclassed() -> nn.Module:
    model = chain()
    weight = Scaled(model.get_parameter("4.weight").data)
    weight.scale = 2.0
    model.get_submodule("4").register_parameter("weight", weight)
    return model


def frozen() -> nn.Module:
    """Some weights do not require a gradient."""
    model = seeded(Attention)
    model.get_parameter("attention.in_proj_weight").requires_grad_(False)
    return model


@torch.inference_mode()
def inferred() -> nn.Module:
    """Its parameters are inference tensors."""
    model = chain()
    for module in model.children():
        for key, old in list(module.named_parameters(recurse=False)):
            module.register_parameter(key, nn.Parameter(old.detach().clone()))
    return model


def channels_last() -> nn.Module:
    return seeded(lambda: ARCHITECTURES["resnet20"].build((1, 8, 8), 10)).to(
        memory_format=torch.channels_last
    )


def sliced() -> nn.Module:
    """The last weight is a part of a larger tensor, transposed."""
    model = chain()
    big = torch.randn(40, 3, generator=torch.Generator().manual_seed(3))
    model.get_submodule("4").register_parameter("weight", nn.Parameter(big[:32].T))
    return model


MODELS: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "attention": (lambda: seeded(Attention), (64, 4, 4)),
    "separate": (lambda: seeded(lambda: Attention(32)), (64, 4, 4)),
    "vit": (lambda: seeded(lambda: ARCHITECTURES["vit"].build((1, 8, 8), 10)), (1, 8, 8)),
    "frozen": (frozen, (64, 4, 4)),
    "shared": (lambda: seeded(Shared), (3, 6, 6)),
    "channels_last": (channels_last, (1, 8, 8)),
    "sliced": (sliced, (2, 6, 6)),
    "subclassed": (subclassed, (2, 6, 6)),
    "inferred": (inferred, (2, 6, 6)),
}


def kind(tensor: Tensor) -> dict[str, object]:
    """All properties by which torch chooses a kernel, without the values and their address."""
    asked = ("requires_grad", "dtype", "device", "layout", "shape")
    own: dict[str, object] = {name: getattr(tensor, name) for name in asked}
    flags = {"inference": tensor.is_inference(), "leaf": tensor.is_leaf, "view": tensor._is_view()}
    return (
        own | flags | {"class": type(tensor), "stride": tensor.stride(), "attributes": vars(tensor)}
    )


def kinds(root: nn.Module) -> Kinds:
    named = (
        *root.named_parameters(remove_duplicate=False),
        *root.named_buffers(remove_duplicate=False),
    )
    return {name: kind(tensor) for name, tensor in named}


@contextmanager
def watched() -> Iterator[list[Run]]:
    """The kinds and ids of all tensors that each run of a program computes with."""
    runs: list[Run] = []
    run = Program.run

    def watching(program: Program, stages: Sequence[Stage], values: Values) -> Values:
        held = frozenset(
            id(tensor) for tensor in (*program.root.parameters(), *program.root.buffers())
        )
        runs.append((kinds(program.root), held))
        return run(program, stages, values)

    with patch.object(Program, "run", watching):
        yield runs


def check(model: nn.Module, runs: list[Run]) -> None:
    """Every run computed with tensors of the model's kinds, and some with replaced ones."""
    own = frozenset(id(tensor) for tensor in (*model.parameters(), *model.buffers()))
    assert any(held != own for _, held in runs), "no tensor was replaced"
    for found, _ in runs:
        assert found == kinds(model)


@pytest.mark.parametrize("name", MODELS)
def test_a_scan_computes_with_tensors_of_the_models_kind(name: str) -> None:
    build, shape = MODELS[name]
    model = build()
    images = split(shape)
    replay = PartialForward(model, images, device=CPU, batch_size=BATCH, workers=1)
    with torch.inference_mode(
        next(model.parameters()).is_inference()
    ):  # then its copies are of its kind too
        layers = one_of_each(inventory(model, shape))
        masked = {
            (layer.name, place): apply_masks(model, {layer.name: mask}, layers)
            for layer in layers
            for place, mask in enumerate(masks(layer))
        }
    with watched() as runs:
        for layer, place, logits in replay.run(layers, masks):
            assert torch.equal(logits, full(masked[layer.name, place], images)), layer.name
    check(model, runs)


REPLACEMENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda tensor: tensor * 0.5,
    "permuted": lambda tensor: (
        (tensor * 0.5).T.contiguous().T if tensor.ndim == 2 else tensor * 0.5
    ),
    "parameter": lambda tensor: nn.Parameter(tensor * 0.5),
    "with a history": lambda tensor: nn.Parameter(tensor.clone()) * 0.5,
}


@pytest.mark.parametrize("name", MODELS)
def test_the_pages_accuracy_is_computed_with_tensors_of_the_models_kind(name: str) -> None:
    """For every way to make the replacement, in inference mode and not."""
    build, shape = MODELS[name]
    model = build()
    images = split(shape)
    live = IncrementalForward(model, images, device=CPU, batch_size=BATCH, workers=1, budget=0)
    for replacement, inference in product(REPLACEMENTS, (False, True)):
        with torch.inference_mode(inference):
            change = {
                key: REPLACEMENTS[replacement](old.detach())
                for key, old in model.state_dict().items()
                if old.ndim > 1
            }
        with watched() as runs:
            live.logits(change)
        check(model, runs)


@pytest.mark.parametrize("inference", [False, True])
def test_a_masked_weight_is_swapped_in_without_another_copy(inference: bool) -> None:
    """Masks are applied outside inference mode, into memory with the weight's strides."""
    for build in (chain, channels_last, sliced, subclassed, inferred):
        model = build()
        tensors = dict(model.named_parameters())
        for name, old in tensors.items():
            keep = torch.rand(old.shape, generator=torch.Generator().manual_seed(0)) < 0.5
            with torch.inference_mode(inference):
                replacement = Zeroed(tensors.__getitem__, {name: keep})[name]
                fit = fitting(replacement, old, name)
            assert fit.data_ptr() == replacement.data_ptr(), name
            assert kind(fit) == kind(old)
            assert torch.equal(fit, torch.where(keep, old, 0.0))


def test_strides_that_share_memory_are_not_kept() -> None:
    old = torch.zeros(1).expand(2, 3)
    fit = fitting(torch.arange(6.0).view(2, 3), old, "w")
    assert fit.tolist() == [[0, 1, 2], [3, 4, 5]]
