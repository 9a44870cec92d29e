"""Logits with one layer masked against full forward passes of a masked copy, bit for bit."""

import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.resnet import BasicBlock
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.model.graph import program
from pruning_core.model.graph.replay import Replay
from pruning_core.model.inventory import inventory
from pruning_core.model.mask_forms import removed_places
from pruning_core.model.model_io import copy_model
from pruning_core.types import Layer
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.events import stop
from tests.core.toy import MemorySplit, refusal, same_state, state

CPU = torch.device("cpu")
BATCH = 8
Shape = tuple[int, int, int]


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """The model in eval mode, with batch norms that are not the identity."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build().eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.get_buffer("running_mean").normal_(std=0.2)
                module.get_buffer("running_var").uniform_(0.5, 2)
    return model


def one_of_each(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The first layer of each kind and shape, in the network's order."""
    found: dict[tuple[str, tuple[int, ...]], Layer] = {}
    for layer in layers:
        found.setdefault((layer.kind, layer.shape), layer)
    return tuple(found.values())


def split(shape: Shape, n: int = 2 * BATCH + 3) -> MemorySplit:
    rng = torch.Generator().manual_seed(1)
    return MemorySplit(torch.randn(n, *shape, generator=rng), torch.zeros(n, dtype=torch.long))


def masks(layer: Layer) -> list[Tensor]:
    rng = torch.Generator().manual_seed(layer.numel)
    return [torch.rand(layer.shape, generator=rng) < keep for keep in (0.5, 0.1)]


@torch.inference_mode()
def full(model: nn.Module, images: MemorySplit) -> Tensor:
    return torch.cat([model(x.clone()) for x, _ in images.batches(BATCH)]).clone()


@contextmanager
def masked(
    model: nn.Module, layer: Layer, layers: tuple[Layer, ...], keep: Tensor
) -> Iterator[None]:
    """Inside, the model's removed weights are zero, as in a copy by `apply_masks`."""
    dense = model.get_parameter(layer.name).detach().clone()
    for parameter, removed in removed_places(model, {layer.name: keep}, layers):
        parameter.data.masked_fill_(removed, 0)
    yield
    model.get_parameter(layer.name).data.copy_(dense)


def agree(
    model: nn.Module,
    shape: Shape,
    traced: bool = True,
    backwards: bool = False,
    every: bool = True,
    **more: Any,
) -> PartialForward:
    """Compares each mask's logits with a full forward pass of a masked copy.

    All layers with two masks each, or on fewer images `one_of_each` with one.
    """
    images = split(shape, (2 if every else 1) * BATCH + 3)
    layers = inventory(model, shape)
    before = state(model)
    replay = PartialForward(model, images, device=CPU, batch_size=BATCH, **({"workers": 2} | more))
    assert replay.traced is traced, replay.reason
    asked = (layers if every else one_of_each(layers))[:: -1 if backwards else 1]
    places = (0, 1) if every else (0,)
    work = copy_model(model)
    seen = []
    for layer, place, logits in replay.run(asked, lambda x: masks(x)[: len(places)]):
        with masked(work, layer, layers, masks(layer)[place]):
            assert torch.equal(logits, full(work, images)), layer.name
        seen.append((layer.name, place))
    assert seen == [(layer.name, place) for layer in asked for place in places]
    assert same_state(model, before)
    return replay


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_kind_and_shape_of_layer_of_every_network_of_the_zoo(name: str) -> None:
    agree(seeded(lambda: ARCHITECTURES[name].build((1, 8, 8), 10)), (1, 8, 8), every=False)


@pytest.mark.parametrize("name", ["vgg", "resnet20", "vit"])
def test_colour_images_with_a_strided_stem(name: str) -> None:
    agree(seeded(lambda: ARCHITECTURES[name].build((3, 28, 28), 10)), (3, 28, 28), every=False)


TORCHVISION: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: models.ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10),
    "mobilenet_v2": lambda: models.MobileNetV2(
        10, 0.25, [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 1, 1]]
    ),
    "mobilenet_v3": lambda: models.MobileNetV3(
        [
            InvertedResidualConfig(16, 3, 16, 16, True, "RE", 2, 1, 1.0),
            InvertedResidualConfig(16, 5, 40, 24, True, "HS", 1, 1, 1.0),
            InvertedResidualConfig(24, 3, 48, 24, False, "HS", 1, 1, 1.0),
        ],
        32,
        num_classes=10,
    ),
    "densenet": lambda: models.DenseNet(
        growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=10
    ),
    "vit": lambda: models.VisionTransformer(32, 16, 2, 2, 32, 64, num_classes=10),
    "swin": lambda: models.SwinTransformer(
        [4, 4], 8, [1, 2], [1, 2], [4, 4], 2.0, stochastic_depth_prob=0.0, num_classes=10
    ),
    "swin_v2": lambda: models.SwinTransformer(
        [4, 4],
        8,
        [1, 2],
        [1, 2],
        [4, 4],
        2.0,
        stochastic_depth_prob=0.0,
        num_classes=10,
        block=SwinTransformerBlockV2,
        downsample_layer=PatchMergingV2,
    ),
    "regnet": lambda: models.RegNet(
        BlockParams.from_init_params(depth=3, w_0=8, w_a=8.0, w_m=2.0, group_width=4), 10
    ),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_networks_that_write_in_place(name: str) -> None:
    """In-place ReLU, addition, ReLU6 and Hardswish, concatenations, attention's fast path, and
    weights that are read without a call of their module (Swin).
    """
    model = seeded(TORCHVISION[name])
    flags = [getattr(module, "inplace", None) for module in model.modules()]
    agree(model, (3, 32, 32), every=False)
    assert flags == [getattr(module, "inplace", None) for module in model.modules()]


class Attention(nn.Module):
    def __init__(self, kdim: int | None = None) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True, kdim=kdim, vdim=kdim)
        self.narrow = nn.Linear(64, kdim or 64)
        self.head = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        other = self.narrow(tokens)
        return self.head(self.attention(tokens, other, other)[0].mean(1))


@pytest.mark.parametrize("kdim", [None, 32])
def test_packed_and_separate_attention_weights(kdim: int | None) -> None:
    model = seeded(lambda: Attention(kdim))
    kinds = {layer.kind for layer in inventory(model, (64, 4, 4))}
    assert kinds == {
        "attention_in" if kdim is None else "attention_proj",
        "attention_out",
        "linear",
    }
    agree(model, (64, 4, 4))


class Shared(nn.Module):
    """A convolution called twice, a tied weight, a weight read as a tensor, an unused matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.one = nn.Linear(3, 3)
        self.two = nn.Linear(3, 3)
        self.bare = nn.Linear(3, 3)
        self.idle = nn.Linear(3, 3)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.conv(x)).mean((2, 3))
        self.idle(y)
        return nn.functional.linear(self.two(self.one(y)), self.bare.weight) + y.size(0)


def test_shared_tied_bare_and_unused_weights() -> None:
    agree(seeded(Shared), (3, 6, 6))


class Overwriting(nn.Module):
    """Every way to write over a tensor that is read later."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(x)  # over the input, which is read again
        z = self.second(self.first(y).add_(x))
        z = operator.iadd(z, y)
        flat = z.flatten(1)
        z = nn.functional.relu(self.third(z), inplace=True) + x
        return torch.cat([flat, z.flatten(1).relu_()], 1)


def test_in_place_operations_change_what_later_nodes_read() -> None:
    agree(seeded(Overwriting), (3, 4, 4))


# --- models that torch.fx cannot trace, or traces wrongly


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(64, 3)


class Branching(Small):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.fc((y.relu() if y.sum() > 0 else y).flatten(1))


class AsksForShape(Small):
    """Depends on its input in a way that the trace fixes."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).flatten(1)) + (0 if isinstance(x, Tensor) else 7)


class Doubling(Small):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        torch.mul(y, 2, out=y)
        return self.fc(y.flatten(1))


class WritesInput(Small):
    """Writes over its input."""

    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > -9:
            x.mul_(2)
        return self.fc(self.conv(x).flatten(1))


@pytest.mark.parametrize("build", [Branching, AsksForShape, Doubling, WritesInput])
def test_what_cannot_be_traced_runs_from_the_changed_module_on(
    build: Callable[[], nn.Module],
) -> None:
    assert isinstance(agree(seeded(build), (1, 6, 6)).forward.program, Replay)


class NoModules(Branching):
    """Calls no module, so that no part of it can run alone."""

    def forward(self, x: Tensor) -> Tensor:
        y = nn.Conv2d.forward(self.conv, x)
        return nn.Linear.forward(self.fc, (y.relu() if y.sum() > 0 else y).flatten(1))


def test_what_has_no_parts_is_computed_in_full() -> None:
    replay = agree(seeded(NoModules), (1, 6, 6), traced=False)
    assert "cannot trace" in str(replay.reason)
    assert "no module" in str(replay.reason)


# --- memory


def chain() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(32, 3)
        )
    )


def test_a_batch_keeps_only_values_that_are_needed() -> None:
    """19 images of 6 x 6: 72 floats before the first layer, 64 before the second, 32 last."""
    replay = agree(chain(), (2, 6, 6), workers=1)
    assert replay.most_held == 19 * 2 * 36 * 4


@pytest.mark.parametrize("budget", [0, BATCH * 2 * 36 * 4, 10 * 2 * 36 * 4])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_small_budget_gives_the_same_logits(budget: int, backwards: bool, workers: int) -> None:
    for model, shape in ((chain(), (2, 6, 6)), (seeded(Shared), (3, 6, 6))):
        replay = agree(model, shape, budget=budget, backwards=backwards, workers=workers)
        assert replay.most_held <= budget


def test_every_layer_in_any_order_gives_the_same_logits() -> None:
    agree(seeded(lambda: ARCHITECTURES["resnet20"].build((1, 8, 8), 10)), (1, 8, 8), backwards=True)


def test_a_layer_without_masks_yields_nothing() -> None:
    model = chain()
    images = split((2, 6, 6))
    layers = inventory(model, (2, 6, 6))
    replay = PartialForward(model, images, device=CPU, batch_size=BATCH)
    found = list(replay.run(layers, lambda layer: masks(layer) if layer.kind == "linear" else []))
    assert [layer.name for layer, _, _ in found] == ["4.weight", "4.weight"]


# --- the model is only read


def test_a_stopped_run_changes_nothing() -> None:
    model = chain()
    images = split((2, 6, 6))
    before = state(model)
    modules = list(model.modules())
    dense = full(model, images)
    points = PartialForward(model, images, device=CPU, batch_size=BATCH).run(
        inventory(model, (2, 6, 6)), masks
    )
    next(points)
    assert torch.equal(full(model, images), dense)
    stop(points)
    assert next(points, None) is None
    assert same_state(model, before)
    assert list(model.modules()) == modules
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    assert all(
        parameter.requires_grad and parameter.grad is None for parameter in model.parameters()
    )


def test_tracing_does_not_disturb_other_threads() -> None:
    """torch.fx patches nn.Module for the whole process while it traces."""
    model = seeded(lambda: ARCHITECTURES["vit"].build((1, 8, 8), 10))
    x = torch.randn(2, 1, 8, 8)
    stop = threading.Event()
    wrong = list[str]()
    call = nn.Module.__call__
    dense = model(x).detach()

    def compute() -> None:
        while not stop.is_set() and not wrong:
            try:
                wrong.extend([] if torch.equal(model(x), dense) else ["other logits"])
            except (RuntimeError, NameError, TypeError) as error:
                wrong.append(str(error))

    def trace() -> None:
        wrong.extend(reason for reason in (program(model, x).reason for _ in range(10)) if reason)

    threads = [threading.Thread(target=target) for target in (compute, trace, trace)]
    for thread in threads:
        thread.start()
    for thread in threads[1:]:
        thread.join()
    stop.set()
    threads[0].join()
    assert wrong == []
    assert nn.Module.__call__ is call


def test_no_images_are_refused_in_a_sentence() -> None:
    assert "no images" in refusal(lambda: PartialForward(chain(), split((2, 6, 6), 0), device=CPU))
