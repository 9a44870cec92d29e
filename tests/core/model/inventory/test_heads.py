"""Heads of attention other than nn.MultiheadAttention: found by structure and checked."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from pruning_core.model.inventory import inventory, unprunable_parameters, without_classifier
from tests.core.tiny_bert import HEADS, LENGTH, sentences, tiny_bert
from tests.core.toy import refusal, same_state, state


@dataclass
class Packed:
    """Order of q, k and v in the rows of a packed Linear: by part (timm) or by head (GPT-NeoX)."""

    by_part: bool


class OneForAll(nn.Module):
    """Attention with one Linear for q, k and v."""

    def __init__(self, layout: Packed, heads: int = 2, named: bool = False) -> None:
        super().__init__()
        self.num_heads = heads
        self.layout = layout
        self.named = named
        self.qkv = nn.Linear(8, 24)
        self.proj = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        sizes = (3, self.num_heads, -1) if self.layout.by_part else (self.num_heads, 3, -1)
        found = (
            self.qkv(x)
            .unflatten(-1, sizes)
            .movedim(2 if self.layout.by_part else 3, 0)
            .transpose(2, 3)
        )
        mixed = nn.functional.scaled_dot_product_attention(*found).transpose(1, 2).flatten(2)
        return self.proj(input=mixed) if self.named else self.proj(mixed)


class Gated(nn.Module):
    """Three Linears of one shape, without attention, in a module with a number of heads."""

    def __init__(self) -> None:
        super().__init__()
        self.n_heads = 2
        self.gate, self.up, self.down, self.last = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.down(self.gate(x).sigmoid() * self.up(x)))


class Few(nn.Module):
    """Four query heads share two key and value heads."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 4
        self.q = nn.Linear(8, 8)
        self.k = nn.Linear(8, 4)
        self.v = nn.Linear(8, 4)
        self.o = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(-1, (-1, 2)).transpose(1, 2) for part in (self.q, self.k, self.v)
        )
        k = k.repeat_interleave(2, 1)
        v = v.repeat_interleave(2, 1)
        return self.o(
            nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        )


def test_every_linear_of_a_bert_is_listed_with_its_heads() -> None:
    model = tiny_bert()
    before = state(model)
    layers = inventory(model, sentences())
    assert same_state(model, before)
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert {layer.name for layer in layers} == {
        f"{name}.weight" for name, m in model.named_modules() if isinstance(m, nn.Linear)
    }
    kinds = {
        layer.name: (layer.kind, layer.heads, layer.attention) for layer in layers if layer.heads
    }
    of = "layers.0.attention"
    first = {
        f"{of}.{part}.weight": ("attention_proj", HEADS, of) for part in ("query", "key", "value")
    }
    assert {name: seen for name, seen in kinds.items() if name.startswith("layers.0")} == first | {
        "layers.0.dense.weight": ("attention_out", HEADS, of)
    }
    assert len(kinds) == 8
    assert not any(layer.fused for layer in layers)
    assert [layer.name for layer in layers if layer.is_output] == ["classifier.weight"]
    assert [layer for layer in layers if layer not in without_classifier(layers)] == [layers[-1]]
    macs = {layer.name: layer.macs for layer in layers}
    assert macs[f"{of}.query.weight"] == 16 * 16 * LENGTH
    assert macs["pooler.weight"] == 16 * 16


def test_embeddings_are_unprunable_with_a_reason() -> None:
    model = tiny_bert()
    fixed = {
        each.name: each.reason
        for each in unprunable_parameters(model, inventory(model, sentences()))
    }
    assert (
        fixed["words.weight"]
        == fixed["positions.weight"]
        == "embedding: a lookup table, pruned only on request (embeddings=True)"
    )
    assert fixed["classifier.bias"].startswith("bias")


@pytest.mark.parametrize(
    ("module", "kinds"),
    [
        (OneForAll(Packed(by_part=True)), ["attention_in", "attention_out"]),
        (OneForAll(Packed(by_part=True), named=True), ["attention_in", "attention_out"]),
        (OneForAll(Packed(by_part=False)), ["linear", "linear"]),
        (Gated(), ["linear"] * 4),
        (Few(), ["attention_proj"] * 3 + ["attention_out"]),
    ],
)
def test_only_attention_that_passes_the_check_is_marked(
    module: nn.Module, kinds: list[str]
) -> None:
    layers = inventory(
        module.eval(), torch.rand(2, 5, 8, generator=torch.Generator().manual_seed(1))
    )
    assert [layer.kind for layer in layers] == kinds
    assert {layer.heads for layer in layers} == ({0} if kinds[0] == "linear" else {2})


def test_an_input_shape_is_enough_for_the_check() -> None:
    assert [layer.heads for layer in inventory(OneForAll(Packed(by_part=True)).eval(), (5, 8))] == [
        2,
        2,
    ]


def test_torchs_own_attention_is_listed_by_its_own_parameters() -> None:
    layers = inventory(models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=10), (3, 32, 32))
    found = [
        (layer.kind, layer.heads, layer.attention == layer.module, layer.fused)
        for layer in layers
        if layer.heads
    ]
    assert found == [("attention_in", 2, True, True), ("attention_out", 2, True, True)] * 2


def test_an_input_that_does_not_fit_is_named() -> None:
    batch = sentences()
    assert "input_ids (6,)" in refusal(
        lambda: inventory(tiny_bert(), {"input_ids": batch["input_ids"]})
    )
    assert "(6,)" in refusal(lambda: inventory(tiny_bert(), batch["input_ids"]))
    assert "no tensor" in refusal(lambda: inventory(tiny_bert(), {}))
