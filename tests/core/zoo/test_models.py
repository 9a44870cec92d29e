"""Every network builds for every image size, trains, can be traced, and shows all its weights."""

import pytest
import torch
from torch import fx, nn

from pruning_core.model.inventory import inventory
from pruning_core.types import PruningError
from pruning_core.zoo import ARCHITECTURES, count_macs
from pruning_core.zoo.models import architecture

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]


def build(name: str, shape: tuple[int, int, int], classes: int = 7) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return ARCHITECTURES[name].build(shape, classes).eval()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_size_gives_logits_and_gradients_in_eval_mode(
    name: str, shape: tuple[int, int, int]
) -> None:
    model = build(name, shape)
    logits = model(torch.rand(2, *shape))
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_traced_network_gives_the_same_logits(name: str) -> None:
    model = build(name, (1, 28, 28))
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(fx.symbolic_trace(model)(x), model(x))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_hooks_on_every_leaf_fire_in_inference_mode(name: str) -> None:
    """No fused kernel replaces a module: hooks observe, mask and count only what is called."""
    model = build(name, (1, 8, 8))
    called = set()
    projections = {id(m.out_proj) for m in model.modules() if isinstance(m, nn.MultiheadAttention)}
    leaves = [
        m
        for m in model.modules()
        if id(m) not in projections
        and (isinstance(m, nn.MultiheadAttention) or not [*m.children()])
    ]
    for module in leaves:
        module.register_forward_hook(lambda m, *_: called.add(m))
    with torch.inference_mode():
        model(torch.rand(1, 1, 8, 8))
    assert called == set(leaves)


@pytest.mark.parametrize("name", ["vit"])
def test_attention_is_the_same_with_and_without_gradients(name: str) -> None:
    model = build(name, (1, 8, 8))
    x = torch.rand(4, 1, 8, 8)
    with torch.inference_mode():
        without_gradients = model(x)
    assert torch.equal(without_gradients, model(x).detach())
    assert "blocks.0.attention.in_proj_weight" in model.state_dict()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_macs_are_those_of_the_layers(name: str) -> None:
    """The counter adds attention's products without weights: 2 x tokens^2 x width a block."""
    model = build(name, (1, 8, 8))
    attention = 4 * 2 * 16 * 16 * 64 if name == "vit" else 0
    assert (
        count_macs(model, (1, 8, 8))
        == sum(layer.macs for layer in inventory(model, (1, 8, 8))) + attention
    )


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(PruningError, match="did you mean 'resnet20'"):
        architecture("resnet2")
