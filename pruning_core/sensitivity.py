"""How much does each layer mind? One at a time is pruned over a grid of sparsities, and accuracy is measured."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pruning_core.coupling import WHOLE_OUTPUTS, Coupling, silenced
from pruning_core.granularity import Granularity, from_groups
from pruning_core.intervals import change
from pruning_core.masks import achieved, lowest, removed
from pruning_core.replay import Replay
from pruning_core.train import evaluate, summarise
from pruning_core.types import Evaluation, GroupScores, Layer, Masks, PruningError, SensitivityPoint, Split

GRID = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
HEAD = (
    "parameter", "granularity", "sparsity", "loss", "top1", "achieved", "n", "low", "high",
    "change", "change_low", "change_high", "group", "no_op", "why",
)  # fmt: skip
"""Columns of the table."""


@dataclass(frozen=True, eq=False)
class _Unit:
    """What is cut as one: a layer, or the layers of a coupling, by name. scores: scope x group; why: it cannot be cut."""

    names: tuple[str, ...]
    scores: Float[Tensor, "s g"]
    coupling: Coupling | None = None
    why: str | None = None


@dataclass(frozen=True, eq=False)
class _Measured:
    """One cut. gone: share of each layer's weights that it removes."""

    score: Evaluation
    gone: Mapping[str, float]
    change: float = 0.0
    interval: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class _Zeroed(Mapping[str, Tensor]):
    """Parameters with what is removed at zero, each computed only when it is read: masks take a quarter of the memory."""

    tensors: Callable[[str], Tensor]
    keep: Mapping[str, Bool[Tensor, "..."]]

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.tensors(name)
        return tensor.masked_fill(~self.keep[name].to(tensor.device), 0)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keep)

    def __len__(self) -> int:
        return len(self.keep)


def scan(
    model: nn.Module,
    layers: tuple[Layer, ...],
    groups: GroupScores,
    g: Granularity,
    split: Split,
    *,
    grid: Sequence[float] = GRID,
    outputs: tuple[int, ...] | None = None,
    device: torch.device | None = None,
    couplings: Sequence[Coupling] = (),
    tied: bool = False,
) -> Iterator[SensitivityPoint]:
    """Yields one measured point per layer and sparsity, layer by layer; all others are dense (interactions are not seen).

    layers: the network's; those with group scores are scanned. tied (filters only): layers whose channels are tied in
    `couplings` are cut as one, the same channels everywhere, by the mean of their scores, and share one curve; one that cannot
    be cut is not measured and says why. Else each is cut alone, and what a residual add or a depthwise convolution brings in
    its place goes on. Removed outputs are silent (`silenced`). Every point equals, bit for bit, an evaluation of the model so
    cut; only what lies downstream is computed for it (`replay`). A sparsity that removes no whole group is measured once, as
    dense. Closing the generator stops it. Raises PruningError for a grid outside [0, 1] (after Li et al. 2016, 1608.08710).
    """
    if not grid or not all(0 <= s <= 1 for s in grid):
        raise PruningError(f"The sparsity grid {tuple(grid)} must hold values in [0, 1].")
    ratios = sorted({0.0, *((g.fixed_ratio,) if g.fixed_ratio is not None else grid)})
    units = _together(layers, groups, g, couplings) if tied else _alone(layers, groups)
    curves = [[(ratio, 0 if unit.why else removed(g, ratio, unit.scores.shape[1])) for ratio in ratios] for unit in units]
    dense = evaluate(model, split, outputs=outputs, device=device)
    found = _visits(_Cuts(model, layers, g, couplings), units, curves, Replay(model, split, device=device))
    chosen = slice(None) if outputs is None else list(outputs)
    for unit, curve in zip(units, curves, strict=True):
        known = {0: _Measured(dense, dict.fromkeys(unit.names, 0.0))}
        for count in dict.fromkeys(count for _, count in curve if count):
            logits, gone = next(found)
            score = summarise(logits[:, chosen], split.labels)
            versus = change(dense, score, split.labels)
            known[count] = _Measured(score, gone, versus.value, versus.interval)
        yield from _points(unit, g, curve, known)


def _points(
    unit: _Unit, g: Granularity, curve: Sequence[tuple[float, int]], known: Mapping[int, _Measured]
) -> Iterator[SensitivityPoint]:
    """The points of each layer of the unit."""
    group = unit.names if len(unit.names) > 1 else ()
    for name in unit.names:
        for ratio, count in curve:
            at = known[count]
            s = at.score
            yield SensitivityPoint(
                name, g.name, ratio, at.gone[name], s.loss, s.top1, s.n, s.interval, at.change, at.interval, group, unit.why
            )


def _alone(layers: tuple[Layer, ...], groups: GroupScores) -> list[_Unit]:
    return [_Unit((layer.name,), groups[layer.name]) for layer in layers if layer.name in groups]


def _together(layers: tuple[Layer, ...], groups: GroupScores, g: Granularity, couplings: Sequence[Coupling]) -> list[_Unit]:
    """The couplings that hold a layer with scores; a channel's score is the mean over the members that have one."""
    if g.name != "filter":
        raise PruningError(f"Tied layers are cut together by whole filters only, not by {g.label}: scan each layer alone.")
    units = []
    for coupling in couplings:
        names = tuple(layer.name for layer in layers if layer.name in coupling.layers and layer.name in groups)
        total, seen = torch.zeros(coupling.channels), torch.zeros(coupling.channels)
        for slot in (slot for slot in coupling.members if slot.name in names):
            total.index_add_(0, slot.channel, groups[slot.name][0, slot.at].float().cpu())
            seen.index_add_(0, slot.channel, torch.ones(len(slot.at)))
        if names:
            scores = (total / seen).masked_fill(seen == 0, torch.inf)
            units.append(_Unit(names, scores[None], coupling, coupling.reason))
    return units


@dataclass(frozen=True, eq=False)
class _Cuts:
    """Masks of units of one network."""

    model: nn.Module
    layers: tuple[Layer, ...]
    g: Granularity
    couplings: Sequence[Coupling]

    def masks(self, unit: _Unit, count: int) -> Masks:
        """The masks, in the OIHW view, that remove the unit's `count` lowest groups of every scope."""
        known, gone = {layer.name: layer for layer in self.layers}, lowest(unit.scores, count)
        if unit.coupling is None:
            return {name: from_groups(~gone, self.g, known[name]) for name in unit.names}
        masks = {}
        for slot in unit.coupling.members:
            keep = torch.ones(known[slot.name].shape[0], dtype=torch.bool)
            keep[slot.at[gone[0].cpu()[slot.channel]]] = False
            masks[slot.name] = keep[:, None, None, None].expand(known[slot.name].shape)
        return masks

    def keep(self, masks: Masks) -> dict[str, Tensor]:
        """What of each parameter stays, in its own shape: the masks, and what falls silent with them."""
        shapes = {layer.name: layer.param_shape for layer in self.layers}
        quiet = silenced(self.model, self.layers, masks, self.couplings) if self.g.name in WHOLE_OUTPUTS else {}
        return {name: mask.reshape(shapes[name]) for name, mask in masks.items()} | quiet


def _visits(
    cuts: _Cuts, units: Sequence[_Unit], curves: Sequence[Sequence[tuple[float, int]]], replay: Replay
) -> Iterator[tuple[Tensor, Mapping[str, float]]]:
    """Logits of every cut, unit by unit, and the share of each layer's weights that it removes."""
    counts = [list(dict.fromkeys(count for _, count in curve if count)) for curve in curves]
    cut = [(unit, wanted) for unit, wanted in zip(units, counts, strict=True) if wanted]
    gone: dict[int, list[dict[str, float]]] = {}

    def site(unit: _Unit, most: int) -> tuple[str, ...]:
        return tuple(cuts.keep(cuts.masks(unit, most))) if cuts.g.name in WHOLE_OUTPUTS else unit.names

    def changes(at: int) -> list[_Zeroed]:
        unit, wanted = cut[at]
        masks = [cuts.masks(unit, count) for count in wanted]
        gone[at] = [achieved(found) for found in masks]
        return [_Zeroed(replay.forward.program.tensor, cuts.keep(found)) for found in masks]

    sites = [site(unit, max(wanted)) for unit, wanted in cut]  # what a larger cut changes holds what a smaller one does
    for at, place, logits in replay.visits(sites, changes):
        yield logits, gone[at][place]


def to_csv(points: Sequence[SensitivityPoint]) -> str:
    """Tidy table with the columns of `HEAD`; group: names separated by spaces; no_op: 1 where nothing was removed."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(HEAD)
    for p in points:
        numbers = (p.loss, p.top1, p.achieved), p.interval, (p.change, *p.change_interval)
        loss, top1, achieved_, low, high, *change_ = (f"{value:.6f}" for part in numbers for value in part)
        row = (p.parameter, p.granularity, f"{p.sparsity:g}", loss, top1, achieved_, p.n, low, high, *change_)
        table.writerow((*row, " ".join(p.group), int(p.no_op), p.why or ""))
    return out.getvalue()
