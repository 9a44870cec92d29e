"""Models without a trace, run from a module on: the bits of full passes, or a reason."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.evaluation.partial_forward import PartialForward
from pruning_core.masks import apply_masks
from pruning_core.model.graph import program
from pruning_core.model.graph.replay import Replay
from pruning_core.model.inventory import inventory
from pruning_core.model.model_io import logits
from pruning_core.types import Inputs, Layer
from tests.core.model.graph.untraceable import (
    WIDTH,
    Blocks,
    Decoder,
    Early,
    Experts,
    Flat,
    Grouped,
    Padded,
    Views,
    Weighted,
    looked_at,
)
from tests.core.tiny_bert import Tokens, sentences
from tests.core.toy import MemorySplit, refusal, same_state, state

CPU = torch.device("cpu")
BATCH = 4


REPLAYED: dict[str, Callable[[], nn.Module]] = {
    "blocks": Blocks,
    "written over": lambda: Blocks(inplace=True),
    "sums outside": Flat,
    "weights read early": Early,
    "views": Views,
    "experts": Experts,
    "experts in a module": Grouped,
    "decoder": Decoder,
    "nested tensors": Padded,
    "computed weights": Weighted,
}


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build().eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
    return model


def data(model: nn.Module) -> Any:
    n = BATCH + 3
    if isinstance(model, Decoder):
        return Tokens(sentences(n), torch.zeros(n, dtype=torch.long))
    x = torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(1))
    return MemorySplit(x, torch.zeros(n, dtype=torch.long))


def batches(split: Any) -> list[Inputs]:
    return [x for x, _ in split.batches(BATCH)]


def mask(layer: Layer) -> Tensor:
    return torch.rand(layer.shape, generator=torch.Generator().manual_seed(layer.numel)) < 0.5


@torch.inference_mode()
def full(model: nn.Module, split: Any) -> Tensor:
    return torch.cat([logits(model, x) for x in batches(split)]).clone()


def wrong_layers(model: nn.Module, split: Any, **more: Any) -> list[str]:
    """The layers whose masked logits are not those of a full pass of a masked copy."""
    layers = inventory(model, batches(split)[0])
    passes = PartialForward(model, split, device=CPU, batch_size=BATCH, **more)
    assert passes.reason is None
    return [
        layer.name
        for layer, _, found in passes.run(layers, lambda layer: [mask(layer)])
        if not torch.equal(
            found, full(apply_masks(model, {layer.name: mask(layer)}, layers), split)
        )
    ]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_every_layer_of_every_kind_of_model_gives_the_bits_of_a_full_pass() -> None:
    """Every second model with two workers and too little memory for all batches."""
    wrong: dict[str, list[str]] = {}
    for number, (name, build) in enumerate(REPLAYED.items()):
        model = seeded(build)
        before = state(model)
        more = {"workers": 2, "budget": 700} if number % 2 else {"workers": 1}
        wrong[name] = wrong_layers(model, data(model), **more)
        assert same_state(model, before)
        assert all("forward" not in vars(module) for module in model.modules())
    assert wrong == {name: [] for name in REPLAYED}


def test_a_slider_gives_the_bits_of_full_passes() -> None:
    for name in ("written over", "experts", "decoder"):
        model = seeded(REPLAYED[name])
        split = data(model)
        live = IncrementalForward(model, split, device=CPU, batch_size=BATCH)
        assert live.traced
        layers = inventory(model, batches(split)[0])
        for layer in (*layers[::2], *reversed(layers)):
            keep = mask(layer).view(layer.param_shape)
            changed = apply_masks(model, {layer.name: mask(layer)}, layers)
            found = live.logits({layer.name: model.get_parameter(layer.name).detach() * keep})
            assert torch.equal(found, full(changed, split)), (name, layer.name)


def replayed(model: nn.Module) -> Replay:
    made = program(model, batches(data(model))[0])
    assert isinstance(made, Replay)
    return made


def test_a_cut_is_before_every_module_with_a_matrix() -> None:
    order = replayed(seeded(Blocks)).order
    inner = [f"blocks.{n}.{name}" for n in range(3) for name in ("up", "down")]
    assert [order.calls[cut.call].path for cut in order.cuts] == ["stem", *inner, "head"]


def calls_of_linears(model: nn.Module, names: Sequence[str]) -> int:
    """Number of matrix products of a pass with one layer masked, without the dense pass."""
    split = data(model)
    passes = PartialForward(model, split, device=CPU, batch_size=16, workers=1)
    layers = [layer for layer in inventory(model, batches(split)[0]) if layer.name in names]
    products = list[str]()
    matrix = functional.linear

    def counted(*args: Any, **kwargs: Any) -> Tensor:
        products.append("one")
        return matrix(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional, "linear", counted)
        list(passes.run(layers, lambda layer: [mask(layer)]))
    return len(products)


def test_modules_before_the_change_do_not_run_again() -> None:
    """Eight Linears: one dense pass up to the layer, and once more from the layer on."""
    model = seeded(Blocks)
    assert calls_of_linears(model, ["head.weight"]) == 7 + 1
    assert calls_of_linears(model, ["blocks.1.up.weight"]) == 3 + 5
    assert calls_of_linears(model, ["blocks.0.down.weight", "head.weight"]) == 7 + 6 + 1


def test_only_values_that_are_read_again_are_kept() -> None:
    """The model's input, which it looks at, and the module's input; in a block also the block's."""
    for build, name, floats in (
        (Blocks, "head.weight", 2 * WIDTH),
        (Blocks, "blocks.2.down.weight", 2 * WIDTH + 2 * WIDTH),
        (Flat, "blocks.1.up.weight", 4 * WIDTH),
    ):
        model = seeded(build)
        split = data(model)
        passes = PartialForward(model, split, device=CPU, batch_size=BATCH, workers=1)
        layers = [x for x in inventory(model, batches(split)[0]) if x.name == name]
        list(passes.run(layers, lambda layer: [mask(layer)]))
        assert passes.most_held == len(split) * floats * 4, (build.__name__, name)


# --- what cannot be run from a module on


class Counter(Blocks):
    """Changes its own buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        self.get_buffer("count").add_(1)
        return super().forward(x)


class Noted(nn.Linear):
    """Keeps its input for another module."""

    last: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        return super().forward(x)


class Hidden(Blocks):
    """The head reads a value that the stem keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem: Noted = Noted(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) + self.stem.last.mean()


class Filling(nn.Linear):
    def forward(self, x: Tensor, seen: list[Tensor] | None = None) -> Tensor:
        if seen is not None:
            seen.append(x)
        return super().forward(x)


class Filled(Blocks):
    """The stem puts its input into a list that the model reads at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Filling(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Any:
        seen: list[Tensor] = []
        x = self.blocks[0](self.stem(looked_at(x), seen))
        return self.head(x + seen[0])


class Noisy(Blocks):
    """Draws random numbers in evaluation. Two draws of dropout could be equal; these never are."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x + torch.rand_like(x))


class Bare(Blocks):
    """Calls no module."""

    def forward(self, x: Tensor) -> Any:
        return functional.linear(looked_at(x), self.stem.weight)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "buffer": (Counter, "it writes over its own parameters or buffers"),
    "kept value": (Hidden, "it gives other"),
    "filled list": (Filled, "it cannot be computed from the middle on"),
    "noise": (Noisy, "it gives other logits for the same input"),
    "no module": (Bare, "no module with weights is called"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_needs_its_full_pass_gets_it_with_the_reason(name: str) -> None:
    build, why = REFUSED[name]
    model = seeded(build)
    split = data(model)
    passes = PartialForward(model, split, device=CPU, batch_size=BATCH)
    assert why in str(passes.reason)
    if name == "noise":
        return
    layers = inventory(model, batches(split)[0])
    for layer, _, found in passes.run(layers, lambda layer: [mask(layer)]):
        changed = apply_masks(model, {layer.name: mask(layer)}, layers)
        assert torch.equal(found, full(changed, split)), layer.name


def test_a_torchscript_part_is_kept_as_it_is() -> None:
    model = seeded(Blocks)
    with pytest.warns(FutureWarning, match="deprecated"):
        scripted = torch.jit.script(nn.Linear(WIDTH, WIDTH))
    model.register_module("stem", scripted)
    split = data(model)
    passes = PartialForward(model.eval(), split, device=CPU, batch_size=BATCH)
    half = {"head.weight": model.get_parameter("head.weight").detach() / 2}
    ((_, _, found),) = passes.logits_at([("head.weight",)], lambda _: [half])
    model.get_parameter("head.weight").data.div_(2)
    assert torch.equal(found, full(model, split))
    why = refusal(lambda: list(passes.logits_at([("stem.weight",)], lambda _: [{}])))
    assert "TorchScript" in why
