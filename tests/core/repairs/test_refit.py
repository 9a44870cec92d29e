"""Repairs of biases and weights, against formulas written here again, on tiny networks."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruning_core.granularity import granularity
from pruning_core.masks import apply_masks, group_scores, select
from pruning_core.model.coupling.dependent_masks import dependent_masks
from pruning_core.model.input_rows import DAMPING
from pruning_core.model.inventory import inventory, weights
from pruning_core.model.model_io import copy_model, tensors_of
from pruning_core.repairs import REPAIRS, BoundRepair, layer_by_layer, solvers
from pruning_core.repairs.layer_by_layer import Moments, moments
from pruning_core.repairs.solvers import column_by_column, least_squares
from pruning_core.types import Layer, Masks, PruningError

REFITS = ("bias", "least_squares", "obs")


def images(*shape: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    x = torch.randn(24, *shape, generator=torch.Generator().manual_seed(seed))
    x = x.abs() + 0.3 * x.roll(1, -1)
    return [(x[:16], torch.zeros(16).long()), (x[16:], torch.zeros(8).long())]


def network(*modules: nn.Module) -> nn.Module:
    model = nn.Sequential(*modules).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.weight.fill_(1.5)
    return model


def perceptron() -> nn.Module:
    return network(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))


def convolutions() -> nn.Module:
    return network(
        nn.Conv2d(2, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, 2, groups=3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 3, bias=False),
    )


def pruned(
    model: nn.Module, shape: tuple[int, ...], name: str, ratio: float = 0.5
) -> tuple[tuple[Layer, ...], Masks, nn.Module]:
    """Layers, masks of all layers but the last, and the masked network."""
    layers = inventory(model, shape)
    g = granularity(name)
    scores = {n: w.abs() for n, w in weights(model, layers).items()}
    groups = group_scores(scores, layers[:-1], g, "mean_abs")
    masks = select(groups, layers, g, dict.fromkeys(groups, ratio))
    dependent = dependent_masks(model, layers, masks, ()) if g.removes_outputs else None
    return layers, masks, apply_masks(model, masks, layers, dependent)


def outputs(model: nn.Module, module: int, x: Tensor) -> Tensor:
    """What a module of a sequence gives, one row per image and position."""
    with torch.no_grad():
        out = x
        for each in list(model.children())[: module + 1]:
            out = each(out)
    return out.movedim(1, -1).flatten(0, -2)


def test_biases_give_the_means_of_the_dense_network() -> None:
    cases: list[tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...]]] = [
        (perceptron, (6,), (0, 2, 4)),
        (convolutions, (2, 6, 6), (1, 3)),  # 1 is the batch norm, 6 has no bias
    ]
    for build, shape, places in cases:
        model = build()
        layers, masks, work = pruned(model, shape, "fine")
        batches = images(*shape)
        before = tensors_of(copy_model(work))
        BoundRepair(REPAIRS["bias"], layers, batches, model)(work, masks)
        x = torch.cat([x for x, _ in batches])
        for place in places:
            wanted = outputs(model, place, x).mean(0)
            assert torch.allclose(outputs(work, place, x).mean(0), wanted, atol=1e-5), place
        changed = {n for n, value in tensors_of(work).items() if not value.equal(before[n])}
        assert all(name.endswith(("bias", "running_mean")) for name in changed)


def ridge(x: np.ndarray, y: np.ndarray, dense: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """One row by numpy's least squares: the penalty as rows of its own."""
    weight = np.sqrt(DAMPING * (x**2).mean() * len(x))
    wide = np.vstack([x, weight * np.eye(x.shape[1])])
    target = np.concatenate([y, weight * dense])
    solved = np.zeros_like(dense)
    solved[kept] = np.linalg.lstsq(wide[:, kept], target, rcond=None)[0]
    return solved


def test_least_squares_is_numpys_layer_by_layer() -> None:
    """The second layer reads the first one's repaired outputs; both means are taken off."""
    model = perceptron()
    layers, masks, work = pruned(model, (6,), "fine")
    batches = images(6)
    BoundRepair(REPAIRS["least_squares"], layers, batches, model)(work, masks)
    x = torch.cat([x for x, _ in batches])
    for number, place in enumerate((0, 2, 4)):
        layer = layers[number]
        inputs = outputs(work, place - 1, x).double().numpy() if place else x.double().numpy()
        wanted = outputs(model, place, x).double().numpy()
        dense = weights(model, (layer,))[layer.name].flatten(1).double().numpy()
        kept = masks.get(layer.name, torch.ones(layer.shape, dtype=torch.bool)).flatten(1).numpy()
        inputs = inputs - inputs.mean(0)
        wanted = wanted - wanted.mean(0)
        rows = [ridge(inputs, wanted[:, o], dense[o], kept[o]) for o in range(len(dense))]
        given = weights(work, (layer,))[layer.name].flatten(1)
        assert np.allclose(given, np.stack(rows), atol=1e-4), layer.name


def a_layer() -> tuple[Moments, Tensor, Tensor]:
    """Correlated inputs of a layer with 2 groups, its dense weights, and masks."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 200, 12, generator=generator, dtype=torch.double).cumsum(2)
    dense = torch.randn(2, 5, 12, generator=generator, dtype=torch.double)
    kept = torch.rand(2, 5, 12, generator=generator) > 0.6
    return moments([x], [x @ dense.mT]), dense, kept


def test_conjugate_gradients_agree_with_the_direct_solution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, dense, kept = a_layer()
    direct = least_squares(given, dense, kept)
    monkeypatch.setattr(solvers, "MOST_DIRECT", 0)
    assert torch.allclose(least_squares(given, dense, kept), direct, atol=1e-3)


def test_columns_are_removed_as_by_sparse_gpt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the paper's algorithm 1 with given masks, one column at a time. Where the inputs are
    the dense network's, the start is the dense weights.
    """
    monkeypatch.setattr(solvers, "BLOCK", 5)
    given, dense, kept = a_layer()
    solved = column_by_column(given, dense, kept)
    for group in range(2):
        h = given.second[group]
        h = h + DAMPING * h.diagonal().mean() * torch.eye(12)
        w = dense[group].clone()
        for q in range(12):
            inverse = torch.linalg.inv(h[q:, q:])
            error = torch.where(kept[group][:, q], 0.0, w[:, q]) / inverse[0, 0]
            w[:, q:] -= error[:, None] * inverse[0]
        assert torch.allclose(solved[group], w * kept[group], atol=1e-6)


def test_masks_stay_and_nothing_else_changes_the_inputs() -> None:
    """Masked = zero, the dense network as before, twice equal."""
    failed = []
    for name in REFITS:
        for kind in ("fine", "filter"):
            model = convolutions()
            layers, masks, work = pruned(model, (2, 6, 6), kind)
            again = copy_model(work)
            dead = {n: value == 0 for n, value in work.named_parameters() if "bias" in n}
            repair = BoundRepair(REPAIRS[name], layers, images(2, 6, 6), model)
            repair(work, masks)
            repair(again, masks)
            same = tensors_of(again)
            dense = tensors_of(convolutions())
            held = all(not weights(work, layers)[n][~mask].any() for n, mask in masks.items())
            zero = all(not p[dead[n]].any() for n, p in work.named_parameters() if n in dead)
            fixed = all(value.equal(dense[n]) for n, value in tensors_of(model).items())
            equal = all(value.equal(same[n]) for n, value in tensors_of(work).items())
            hooks = any(m._forward_pre_hooks for m in (*work.modules(), *model.modules()))
            if not (held and zero and fixed and equal) or hooks:
                failed.append((name, kind, held, zero, fixed, equal, hooks))
    assert not failed


def test_images_in_parts_give_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model = perceptron()
    layers, masks, work = pruned(model, (6,), "fine")
    parts = copy_model(work)
    repair = BoundRepair(REPAIRS["least_squares"], layers, images(6), model)
    repair(work, masks)
    monkeypatch.setattr(layer_by_layer, "MOST_ACTIVATIONS", 8 * 4 * 10)
    repair(parts, masks)
    whole = tensors_of(work)
    assert max(float((v - whole[n]).abs().max()) for n, v in tensors_of(parts).items()) < 1e-4


class Experts(nn.Module):
    """Half of the samples for each expert, by the gate; the last layer reads one constant row."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(6, 2)
        self.experts = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
        self.made = nn.Linear(4, 6)
        self.register_buffer("code", torch.rand(1, 4))
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        chosen = self.gate(x).argmax(1)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero()[:, 0]
            out[rows] = expert(x[rows])
        made: Tensor = self.out(out * self.made(self.get_buffer("code")))
        return made


def test_layers_with_other_samples_or_a_constant_input_are_no_error() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Experts().eval()
    for name in REFITS:
        layers, masks, work = pruned(model, (6,), "fine")
        BoundRepair(REPAIRS[name], layers, images(6), model)(work, masks)
        assert all(bool(value.isfinite().all()) for value in tensors_of(work).values())
        assert not torch.equal(work.get_parameter("out.bias"), model.get_parameter("out.bias"))


def test_what_cannot_be_repaired_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = nn.Sequential(nn.PReLU())
    for name in REFITS:
        assert "so this repair changes nothing" in str(REPAIRS[name].no_effect(empty))
        assert REPAIRS[name].no_effect(perceptron()) is None
    model = perceptron()
    layers, masks, work = pruned(model, (6,), "fine")
    monkeypatch.setattr(layer_by_layer, "MOST_INPUTS", 5)
    with pytest.raises(PruningError, match=r"0.weight has 6 inputs per output; .* at most 5"):
        BoundRepair(REPAIRS["obs"], layers, images(6), model)(work, masks)
