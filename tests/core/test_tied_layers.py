"""Whole heads: scored and removed together in q, k, v and output.

A network without the removed heads computes the same as the masked one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torchvision import models

from pruning_core.evaluation.metrics import measure
from pruning_core.granularity import granularity, to_groups
from pruning_core.hand_edits import HandEdits
from pruning_core.masks import group_scores
from pruning_core.model.coupling.trace import HEAD_ROWS as ROWS
from pruning_core.model.coupling.trace import couplings
from pruning_core.model.inventory import inventory, weights
from pruning_core.model.model_io import logits
from pruning_core.pipeline import choose_masks, dependent_masks_of, masked_copy
from pruning_core.plan import Plan
from pruning_core.sensitivity.prune_units import UnitPruner, prune_units
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.tied_layers import average_ratios, extend_ratios, tied_parts
from pruning_core.types import Dataset, Layer, Masks
from pruning_core.workspaces import Workspace
from pruning_core.zoo.models import ARCHITECTURES
from tests.core.evaluation.test_partial_forward import seeded
from tests.core.tiny_bert import DIM, HEADS, dataset, sentences, tiny_bert
from tests.core.toy import MemorySplit

G = granularity("head")
WIDTH = DIM // HEADS
PLAN = Plan(granularity="head", sparsity=0.5, probe=24)
PICTURE = (1, 8, 8)


def bert() -> Workspace:
    model = tiny_bert()
    return Workspace(model, dataset(), inventory(model, sentences()), (), sentences())


def vit() -> Workspace:
    return seeing(seeded(lambda: ARCHITECTURES["vit"].build(PICTURE, 3)), PICTURE)


def torchvision_vit() -> Workspace:
    return seeing(
        seeded(lambda: models.VisionTransformer(16, 8, 2, 4, 16, 32, num_classes=3)), (3, 16, 16)
    )


def seeing(model: nn.Module, shape: tuple[int, int, int]) -> Workspace:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for (
            parameter
        ) in model.parameters():  # biases of attention begin at zero and hide what is forgotten
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        images = MemorySplit(torch.rand(12, *shape), torch.arange(12) % 3)
    return Workspace(
        model,
        Dataset("noise", ("a", "b", "c"), shape, images, images, images),
        inventory(model, shape),
        (),
    )


def kept_heads(masks: Masks, part: tuple[Layer, ...]) -> list[list[bool]]:
    """Which heads each layer keeps; each head is kept as a whole or removed as a whole."""
    found = []
    for layer in part:
        cells = to_groups(masks[layer.name], G, layer)[0]
        assert torch.equal(cells, cells[:, :1].expand_as(cells))
        found.append(cells[:, 0].tolist())
    return found


def attentions(layers: tuple[Layer, ...]) -> list[tuple[Layer, ...]]:
    return [part for part in tied_parts(layers, G) if len(part) > 1]


@pytest.mark.parametrize("make", [bert, vit, torchvision_vit])
@pytest.mark.parametrize("allocation", ["uniform", "global", "lamp", "erk"])
def test_heads_are_removed_with_their_rows_and_columns(
    make: Callable[[], Workspace], allocation: str
) -> None:
    space = make()
    _, masks = choose_masks(replace(PLAN, allocation=allocation), space)
    parts = attentions(space.layers)
    assert len(parts) == (4 if make is vit else 2)
    assert {len(part) for part in parts} == ({4} if make is bert else {2})
    for part in parts:
        heads = kept_heads(masks, part)
        assert all(kept == heads[0] for kept in heads)
    assert not all(all(kept_heads(masks, part)[0]) for part in parts)


def test_a_heads_score_is_that_of_all_its_weights() -> None:
    space = bert()
    found = group_scores(weights(space.model, space.layers), space.layers, G, "mean_abs")
    first = space.model.get_submodule("layers.0")
    parts = ("attention.query", "attention.key", "attention.value")
    rows = [first.get_parameter(f"{part}.weight").view(HEADS, -1) for part in parts]
    columns = first.get_parameter("dense.weight").view(DIM, HEADS, WIDTH).transpose(0, 1).flatten(1)
    by_hand = torch.cat([*rows, columns], 1).abs().mean(1)
    for layer in attentions(space.layers)[0]:
        torch.testing.assert_close(found[layer.name][0], by_hand.detach())


def smaller_bert(space: Workspace, masks: Masks) -> nn.Module:
    """A network with fewer heads: the kept rows and columns of every layer."""
    kept = [
        torch.tensor(kept_heads(masks, part)[0]).repeat_interleave(WIDTH)
        for part in attentions(space.layers)
    ]
    small = tiny_bert(int(kept[0].sum()) // WIDTH)
    old = space.model.state_dict()
    for at, keep in enumerate(kept):
        for name in ("query", "key", "value"):
            for kind in ("weight", "bias"):
                old[f"layers.{at}.attention.{name}.{kind}"] = old[
                    f"layers.{at}.attention.{name}.{kind}"
                ][keep]
        old[f"layers.{at}.dense.weight"] = old[f"layers.{at}.dense.weight"][:, keep]
    small.load_state_dict(old)
    return small


class Fewer(nn.Module):
    """An nn.MultiheadAttention (self-attention, batch first) without some of its heads."""

    def __init__(self, old: nn.MultiheadAttention, keep: Tensor) -> None:
        super().__init__()
        self.heads = int(keep.sum())
        width = old.head_dim
        dim = old.embed_dim
        at = keep.repeat_interleave(width).nonzero()[:, 0]
        rows = torch.cat([at, at + dim, at + 2 * dim])
        self.qkv = nn.Linear(dim, len(rows))
        self.out = nn.Linear(len(at), dim)
        self.qkv.weight.data = old.in_proj_weight.data[rows]
        self.qkv.bias.data = old.in_proj_bias.data[rows]
        self.out.weight.data = old.out_proj.weight.data[:, at]
        self.out.bias.data = old.out_proj.bias.data

    def forward(self, x: Tensor, *_same: Tensor, **_options: Any) -> tuple[Tensor, None]:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(x).chunk(3, -1)
        )
        return self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)), None


def smaller_vit(space: Workspace, masks: Masks) -> nn.Module:
    small = masked_copy(PLAN, space, {})
    for part in attentions(space.layers):
        parent, _, child = part[0].attention.rpartition(".")
        keep = torch.tensor(kept_heads(masks, part)[0])
        whole = space.model.get_submodule(part[0].attention)
        assert isinstance(whole, nn.MultiheadAttention)
        setattr(
            small.get_submodule(parent),
            child,
            Fewer(whole, keep),
        )
    return small.eval()


@pytest.mark.parametrize(
    ("make", "smaller"), [(bert, smaller_bert), (vit, smaller_vit), (torchvision_vit, smaller_vit)]
)
def test_masked_heads_are_removed_heads(
    make: Callable[[], Workspace], smaller: Callable[..., nn.Module]
) -> None:
    space = make()
    _, masks = choose_masks(PLAN, space)
    x = next(iter(space.dataset.test.batches(12)))[0]
    with torch.no_grad():
        left, small, dense = (
            logits(m, x)
            for m in (masked_copy(PLAN, space, masks), smaller(space, masks), space.model)
        )
    torch.testing.assert_close(left, small, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(left, dense, atol=1e-3)
    quiet = dependent_masks_of(PLAN, space, masks)
    assert measure(space.model, space.layers, masks, quiet).nonzeros == sum(
        p.numel() for p in smaller(space, masks).parameters()
    )


def test_ratios_and_edits_by_hand_are_for_the_whole_attention() -> None:
    space = bert()
    part = attentions(space.layers)[0]
    query = part[0].name
    out = part[3].name
    _, masks = choose_masks(
        replace(PLAN, sparsity=0.0, overrides=((query, 0.25), (out, 0.75))), space
    )
    assert [sum(heads) for heads in kept_heads(masks, part)] == [1] * 4
    _, masks = choose_masks(
        replace(PLAN, sparsity=0.0, edits=(HandEdits(out, "head", ((0, 2, False),)),)), space
    )
    assert kept_heads(masks, part) == [[True, True, False, True]] * 4


def test_one_ratio_is_the_mean_by_weights() -> None:
    layers = bert().layers
    names = [layer.name for layer in attentions(layers)[0]]
    ratios = dict(zip(names, (0.0, 0.5, 0.5, 0.6), strict=True)) | {"pooler.weight": 0.1}
    assert average_ratios(ratios, layers, G) == dict.fromkeys(names, pytest.approx(0.4)) | {
        "pooler.weight": 0.1
    }
    assert average_ratios(ratios, layers, granularity("filter")) == ratios
    assert extend_ratios({names[0]: 0.2}, layers, G) == dict.fromkeys(names, 0.2)
    assert extend_ratios({names[0]: 0.2}, layers, granularity("fine")) == {names[0]: 0.2}


def test_a_scan_prunes_the_heads_of_an_attention_together() -> None:
    space = bert()
    points = list(
        scan_plan(replace(PLAN, criterion="magnitude_l1"), space, [0.5], device=torch.device("cpu"))
    )
    part = attentions(space.layers)[0]
    groups = group_scores(weights(space.model, space.layers), space.layers, G, "mean_abs")
    unit = prune_units(space.layers, groups, G)[0]
    assert unit.names == tuple(layer.name for layer in part)
    masks = UnitPruner(space.model, space.layers, G).masks(unit, 2)
    assert len({tuple(heads) for heads in kept_heads(masks, part)}) == 1
    halves = [point for point in points if point.sparsity == 0.5]
    assert [point.group for point in halves] == [unit.names] * 4 + [
        tuple(x.name for x in attentions(space.layers)[1])
    ] * 4
    assert len({point.loss for point in halves}) == 2


def test_single_rows_of_heads_cannot_be_removed_in_a_bert() -> None:
    space = bert()
    found = {
        coupling.layers: coupling.reason
        for coupling in couplings(space.model, space.layers, sentences())
    }
    assert found["layers.0.attention.query.weight",] == ROWS
    assert found["layers.0.intermediate.weight",] is None
