"""Maps of a layer against torch's own layers, the attention formula and values by hand."""

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from pruning_core.masks import apply_masks
from pruning_core.model.activations import attention_maps, feature_maps, relative_change
from pruning_core.model.inventory import inventory
from pruning_core.types import Layer
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.toy import Toy, refusal, same_state, state


def images(n: int = 3, side: int = 8) -> Tensor:
    return torch.randn(n, 1, side, side, generator=torch.Generator().manual_seed(3))


def named(model: nn.Module, name: str, shape: tuple[int, ...] = (1, 8, 8)) -> Layer:
    (found,) = [layer for layer in inventory(model, shape) if layer.name == name]
    return found


def by_formula(module: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) from the packed weights, N L E -> N heads L L."""
    q, k, _ = (x @ module.in_proj_weight.T + module.in_proj_bias).chunk(3, dim=-1)
    q, k = (rearrange(each, "n l (h d) -> n h l d", h=module.num_heads) for each in (q, k))
    return ((q @ k.transpose(-1, -2)) / module.head_dim**0.5).softmax(-1)


def test_maps_by_hand() -> None:
    """An image of ones: the first filter holds 0 to 3, the second 4 to 7; the linear layer then
    reads (6, 22).
    """
    model = Toy()
    ones = torch.ones(1, 1, 2, 2)
    assert feature_maps(model, named(model, "0.weight", (1, 2, 2)), ones).flatten().tolist() == [
        6,
        22,
    ]
    logits = feature_maps(model, named(model, "3.weight", (1, 2, 2)), ones)
    assert (logits.shape, logits.flatten().tolist()) == ((1, 3, 1, 1), [22, 78, 134])


@pytest.mark.parametrize("place", [0, 2, -2])
def test_a_convolution_gives_its_own_output(place: int) -> None:
    model = ARCHITECTURES["resnet20"].build((1, 8, 8), 10).eval()
    layer = inventory(model, (1, 8, 8))[place]
    seen = list[Tensor]()
    hook = model.get_submodule(layer.module).register_forward_hook(
        lambda _m, _a, out: seen.append(out)
    )
    model(images())
    hook.remove()
    assert torch.equal(feature_maps(model, layer, images()), seen[0].detach())


def test_tokens_lines_and_grids_become_maps() -> None:
    vit = ARCHITECTURES["vit"].build((1, 8, 8), 10).eval()
    fc = next(layer for layer in inventory(vit, (1, 8, 8)) if layer.name.endswith("fc1.weight"))
    assert feature_maps(vit, fc, images()).shape == (3, fc.shape[0], 1, 16)
    line = nn.Sequential(nn.Flatten(1, 2), nn.Conv1d(8, 5, 3))
    assert feature_maps(line, named(line, "1.weight"), images()).shape == (3, 5, 1, 6)
    grid = nn.Linear(8, 4)
    assert torch.equal(
        feature_maps(grid, named(grid, "weight"), images()), grid(images()).permute(0, 3, 1, 2)
    )


def test_an_activation_in_place_does_not_reach_the_map() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True))
    assert feature_maps(model, named(model, "0.weight"), images()).min() < 0


@pytest.mark.parametrize("part", ["in_proj_weight", "out_proj.weight"])
def test_attention_is_the_formulas(part: str) -> None:
    vit = ARCHITECTURES["vit"].build((1, 8, 8), 10).eval()
    layer = next(each for each in inventory(vit, (1, 8, 8)) if each.name.endswith(part))
    inputs = list[Tensor]()
    module = vit.get_submodule(layer.module)
    assert isinstance(module, nn.MultiheadAttention)
    hook = module.register_forward_pre_hook(lambda _m, args: inputs.append(args[0]))
    vit(images())
    hook.remove()
    found = attention_maps(vit, layer, images())
    torch.testing.assert_close(found, by_formula(module, inputs[0]).detach())
    torch.testing.assert_close(found.sum(-1), torch.ones(found.shape[:-1]))


class Reader(nn.Module):
    """Masked attention with keys of another width, tokens first, which the zoo does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, kdim=4, vdim=4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, 2).transpose(0, 1)
        mask = torch.ones(8, 8, dtype=torch.bool).triu(1)
        return self.attention(
            tokens, tokens[..., :4], tokens[..., 4:], None, False, attn_mask=mask
        )[0].transpose(0, 1)


def test_attention_is_that_of_torch_with_masks_and_separate_projections() -> None:
    model = Reader().eval()
    tokens = images().flatten(1, 2).transpose(0, 1)
    mask = torch.ones(8, 8, dtype=torch.bool).triu(1)
    _, wanted = model.attention(
        tokens, tokens[..., :4], tokens[..., 4:], attn_mask=mask, average_attn_weights=False
    )
    found = attention_maps(model, named(model, "attention.q_proj_weight"), images())
    assert torch.equal(found, wanted.detach())
    assert found.shape == (3, 2, 8, 8)
    assert not found[..., mask].any()


def test_torchvisions_vision_transformer_shows_its_attention() -> None:
    model = VisionTransformer(
        image_size=16, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16
    ).eval()
    layer = named(
        model, "encoder.layers.encoder_layer_1.self_attention.in_proj_weight", (3, 16, 16)
    )
    found = attention_maps(model, layer, torch.rand(2, 3, 16, 16))
    assert found.shape == (2, 2, 5, 5)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 2, 5))


def test_the_model_is_not_changed_and_training_mode_makes_no_difference() -> None:
    model = ARCHITECTURES["resnet20"].build((1, 8, 8), 10).train()
    layer = inventory(model, (1, 8, 8))[3]
    before = state(model)
    first = feature_maps(model, layer, images())
    assert model.training
    assert same_state(model, before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(first, feature_maps(model.eval(), layer, images()))


def test_a_removed_filter_leaves_its_bias_and_changes_only_its_channel() -> None:
    model = ARCHITECTURES["lenet5"].build((1, 8, 8), 10).eval()
    layer = inventory(model, (1, 8, 8))[0]
    mask = torch.ones(layer.shape, dtype=torch.bool)
    mask[2] = False
    dense = feature_maps(model, layer, images())
    pruned = feature_maps(apply_masks(model, {layer.name: mask}, (layer,)), layer, images())
    bias = model.get_parameter(f"{layer.module}.bias")
    assert torch.equal(pruned[:, 2], bias[2].detach().expand_as(pruned[:, 2]))
    change = relative_change(dense, pruned)
    assert change[2] > 0
    assert change[[0, 1, 3, 4, 5]].sum() == 0


def test_relative_change_by_hand() -> None:
    dense = torch.tensor([3.0, 4.0, 0.0, 0.0, 0.0, 0.0]).reshape(1, 3, 1, 2)
    pruned = torch.tensor([0.0, 4.0, 0.0, 0.0, 0.0, 2.0]).reshape(1, 3, 1, 2)
    assert relative_change(dense, pruned).tolist() == [pytest.approx(3 / 5), 0.0, float("inf")]


class Reads(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.inner.weight


def test_layers_without_maps_are_refused_in_a_sentence() -> None:
    vit = ARCHITECTURES["vit"].build((1, 8, 8), 10)
    reads = Reads()
    layers = inventory(vit, (1, 8, 8))
    attention = next(layer for layer in layers if layer.heads)
    assert "attention maps" in refusal(lambda: feature_maps(vit, attention, images()))
    assert "no attention maps" in refusal(lambda: attention_maps(vit, layers[0], images()))
    assert "without calling" in refusal(
        lambda: feature_maps(reads, named(reads, "inner.weight"), images())
    )
