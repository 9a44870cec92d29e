"""Which weights are removed together? One einops pattern: weight -> (scope, group, element)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from types import MappingProxyType

import torch
from einops import rearrange
from jaxtyping import Int, Shaped
from torch import Tensor

from pruning_core.granularity_refusals import (
    Refusal,
    all_supported,
    no_blocks,
    no_channels,
    no_filters,
    no_heads,
    no_kernels,
    no_n_of_m,
    no_positions,
    no_rows,
)
from pruning_core.model.inventory.views import axes_of
from pruning_core.registry import find
from pruning_core.types import Layer, PruningError

MAO = "Mao et al. 2017, arXiv:1705.08922"
WEN = "Wen et al. 2016, arXiv:1608.03665"


@dataclass(frozen=True)
class Granularity:
    """Which weights are removed together, an `Entry`. pattern: OIHW -> scope x group x element.

    scope: the groups that compete with each other; group: weights that are removed together;
    element: one of these weights.
    sizes: fixed lengths of axes in the pattern. by_kind: other patterns, by `Layer.kind`.
    n_kept: N of N:M, the groups kept in every scope of M, whatever the ratio.
    removes_outputs: a group is all weights of one or more outputs of its layer, so whatever depends
    on those outputs becomes zero too (`dependent_masks`).
    ties_layers: layers whose outputs are added together can lose the same groups (`Coupling`).
    spans_attention: the layers of one attention lose the same groups (`tied_parts`).
    refuses: layer -> why the layer does not support this granularity, or None.

    >>> GRANULARITIES["filter"].pattern
    'o i h w -> 1 o (i h w)'
    """

    name: str
    label: str
    help: str
    pattern: str
    source: str
    sizes: tuple[tuple[str, int], ...] = ()
    by_kind: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    n_kept: int | None = None
    removes_outputs: bool = False
    ties_layers: bool = False
    spans_attention: bool = False
    refuses: Refusal = field(default=all_supported, compare=False, repr=False)

    @property
    def formula(self) -> str:
        """The pattern, as text."""
        return self.pattern

    @property
    def unstructured(self) -> bool:
        """Is every weight a group of its own, with one scope per layer?"""
        return re.search(r"-> 1 \(.*\) 1$", self.pattern) is not None

    @property
    def fixed_ratio(self) -> float | None:
        """1 - N/M where the granularity sets the ratio, else None."""
        return None if self.n_kept is None else 1 - self.n_kept / dict(self.sizes)["m"]

    @property
    def narrows(self) -> bool:
        """Does a group hold all weights of an output or of an input: can layers become narrower?"""
        groups = axes_of(self.pattern.split("->")[1])[1]
        return self.removes_outputs or groups == "i"


def need_channels(g: Granularity) -> None:
    """Raises PruningError where the granularity can save no time, because it narrows no layer."""
    if not g.narrows:
        raise PruningError(
            f"{g.label} removes no whole channels, and zeros save no time: choose filter, channel "
            "or head for a limit of the time."
        )


def to_groups(
    w: Shaped[Tensor, "o i h w"], g: Granularity, layer: Layer
) -> Shaped[Tensor, "s g e"]:
    """Rearranges a weight-shaped tensor into scope x group x element.

    Raises PruningError if the layer does not support g.
    """
    if (reason := supports(g, layer)) is not None:
        raise PruningError(reason)
    return rearrange(w, pattern(g, layer), **_lengths(g, layer))


def from_groups(
    keep: Shaped[Tensor, "s g"], g: Granularity, layer: Layer
) -> Shaped[Tensor, "o i h w"]:
    """Gives each group's value, such as keep or remove, to all its weights."""
    left, right = pattern(g, layer).split("->")
    scopes, groups = keep.shape
    full = keep[:, :, None].expand(scopes, groups, layer.numel // (scopes * groups))
    return rearrange(full, f"{right}->{left}", **_lengths(g, layer))


def group_tables(
    g: Granularity, layer: Layer
) -> tuple[Int[Tensor, "_o"], Int[Tensor, "_i"], Int[Tensor, "_h"], Int[Tensor, "_w"]]:
    """Four short tables that give the group of any weight, instead of one number per weight.

    group (o, i, h, w) = O[o] + I[i] + H[h] + W[w]. Groups are numbered scope by scope.
    Raises PruningError if the layer does not support g.
    """
    if (reason := supports(g, layer)) is not None:
        raise PruningError(reason)
    left, right = pattern(g, layer).split("->")
    lengths = _lengths(g, layer)
    strides = _strides("".join(axes_of(right)[:2]), lengths)
    o, i, h, w = (_axis_table(axis, lengths, strides) for axis in axes_of(left))
    return o, i, h, w


def _strides(axes: str, lengths: Mapping[str, int]) -> dict[str, int]:
    """What one step along each named axis adds to the group's number."""
    strides = {}
    stride = 1
    for name in reversed(re.findall(r"[a-z]", axes)):
        strides[name] = stride
        stride *= lengths[name]
    return strides


def _axis_table(
    axis: str, lengths: Mapping[str, int], strides: Mapping[str, int]
) -> Int[Tensor, "_n"]:
    """What each index of one weight axis, such as "(o p)", adds to the group's number."""
    numbers = torch.zeros(1, dtype=torch.long)
    for name in re.findall(r"[a-z]", axis):
        steps = strides.get(name, 0) * torch.arange(lengths[name])
        numbers = (numbers[:, None] + steps).flatten()
    return numbers


def supports(g: Granularity, layer: Layer) -> str | None:
    """None if the layer supports the granularity, else one sentence that says why not."""
    return g.refuses(layer)


def fixed_ratio_reason(g: Granularity) -> str | None:
    """Why no ratio can be chosen: an N:M granularity sets its own. None for all others."""
    if g.fixed_ratio is None:
        return None
    percent = f"{100 * g.fixed_ratio:.3g}%"
    return f"{g.label} itself removes {percent} of every layer: there is no ratio to choose."


def compares_outputs(g: Granularity, layer: Layer) -> bool:
    """Do competing groups hold different outputs?

    Not where they are side by side inside filters: row, channel, N:M.
    """
    left, right = pattern(g, layer).split("->")
    output = set(re.findall(r"[a-z]", axes_of(left)[0]))
    group = set(re.findall(r"[a-z]", axes_of(right)[1]))
    return not output.isdisjoint(group)


def pattern(g: Granularity, layer: Layer) -> str:
    """The einops pattern for this layer."""
    return g.by_kind.get(layer.kind, g.pattern)


def _lengths(g: Granularity, layer: Layer) -> dict[str, int]:
    """The length of every named axis, from the layer's shape and the granularity's sizes."""
    left = pattern(g, layer).split("->")[0]
    fixed = (*g.sizes, ("n", layer.heads), ("t", 3))
    known = {name: length for name, length in fixed if re.search(rf"\b{name}\b", left)}
    for axis, total in zip(axes_of(left), layer.shape, strict=True):
        names = axis.strip("()").split()
        given = prod(known[name] for name in names if name in known)
        known |= {name: total // given for name in names if name not in known}
    return known


HARDWARE = "Mishra et al. 2021, arXiv:2104.08378"
ANY_PATTERN = "Zhou et al. 2021, arXiv:2102.04010"


@lru_cache(maxsize=64)
def n_of_m(n: int, m: int) -> Granularity:
    """N:M sparsity: in every run of M weights along the input channels, N are kept.

    Raises PruningError unless 0 < N < M.
    """
    if not 0 < n < m:
        raise PruningError(
            f"'{n}:{m}' is not an N:M pattern: N must be at least 1 and below M, as in 2:4."
        )
    kernels = ": the pattern that sparse GPU kernels support" if (n, m) == (2, 4) else ""
    kept = "is kept" if n == 1 else "are kept"
    return Granularity(
        f"{n}:{m}",
        f"{n}:{m}",
        f"Of every {m} neighbours along the input channels, {n} {kept}{kernels}.",
        "o (i m) h w -> (o i h w) m 1",
        HARDWARE if (n, m) == (2, 4) else ANY_PATTERN,
        (("m", m),),
        n_kept=n,
        refuses=no_n_of_m(n, m),
    )


@lru_cache(maxsize=64)
def block(p: int, q: int) -> Granularity:
    """Blocks of p filters x q channels, with whole kernels.

    Raises PruningError unless p, q >= 1 and p q > 1.
    """
    if min(p, q) < 1 or p * q == 1:
        raise PruningError(
            f"'block:{p}x{q}' is not a block: both sides must be at least 1 and one above 1, "
            "as in block:4x4."
        )
    return Granularity(
        f"block:{p}x{q}",
        f"Block {p} x {q}",
        f"Blocks of {p} filters x {q} channels are removed as a whole: the rest is dense blocks.",
        "(o p) (i q) h w -> 1 (o i) (p q h w)",
        "Gray et al. 2017, GPU Kernels for Block-Sparse Weights",
        (("p", p), ("q", q)),
        refuses=no_blocks(p, q),
    )


_HEADS = MappingProxyType(
    {
        "attention_in": "(t n d) i h w -> 1 n (t d i h w)",
        "attention_out": "o (n d) h w -> 1 n (o d h w)",
    }
)

GRANULARITIES: dict[str, Granularity] = {
    g.name: g
    for g in (
        Granularity(
            "fine",
            "Fine-grained",
            "Single weights are removed, anywhere in the layer.",
            "o i h w -> 1 (o i h w) 1",
            MAO,
        ),
        Granularity(
            "row",
            "Row",
            "Single weights are removed, the same fraction of every output row.",
            "o i h w -> o (i h w) 1",
            "Sun et al. 2023 (Wanda), arXiv:2306.11695",
            refuses=no_rows,
        ),
        n_of_m(2, 4),
        n_of_m(1, 4),
        n_of_m(4, 8),
        Granularity(
            "vector_row",
            "Vector (row)",
            "One row of a k x k kernel is removed as a whole.",
            "o i h w -> 1 (o i h) w",
            MAO,
            refuses=no_kernels("kernel row", (3,)),
        ),
        Granularity(
            "vector_col",
            "Vector (column)",
            "One column of a k x k kernel is removed as a whole.",
            "o i h w -> 1 (o i w) h",
            MAO,
            refuses=no_kernels("kernel column", (2,)),
        ),
        Granularity(
            "kernel",
            "Kernel",
            "A whole k x k kernel is removed: one filter no longer reads one channel.",
            "o i h w -> 1 (o i) (h w)",
            MAO,
            refuses=no_kernels("kernel", (2, 3)),
        ),
        Granularity(
            "filter",
            "Filter",
            "A whole filter is removed, and with it one output channel.",
            "o i h w -> 1 o (i h w)",
            "Li et al. 2016, arXiv:1608.08710",
            removes_outputs=True,
            ties_layers=True,
            refuses=no_filters,
        ),
        Granularity(
            "channel",
            "Channel",
            "An input channel is removed from every filter.",
            "o i h w -> 1 i (o h w)",
            "He et al. 2017, arXiv:1707.06168",
            refuses=no_channels,
        ),
        Granularity(
            "shape",
            "Shape-wise",
            "The same position is removed from every filter: a column of the unfolded matrix.",
            "o i h w -> 1 (i h w) o",
            WEN,
            refuses=no_positions,
        ),
        block(4, 4),
        Granularity(
            "head",
            "Attention head",
            "A whole head is removed: its query, key and value rows, or its output columns.",
            "(n d) i h w -> 1 n (d i h w)",
            "Michel et al. 2019, arXiv:1905.10650",
            by_kind=_HEADS,
            removes_outputs=True,
            spans_attention=True,
            refuses=no_heads,
        ),
    )
}
"""The standard choices; `granularity` also reads any N:M and any block:PxQ.

A new granularity: one entry here.
"""


def granularity(name: str) -> Granularity:
    """The granularity of that name; N:M and block:PxQ with any sizes.

    Raises PruningError for an unknown name.
    """
    if match := re.fullmatch(r"(\d{1,4}):(\d{1,4})", name):
        return n_of_m(int(match[1]), int(match[2]))
    if match := re.fullmatch(r"block:(\d{1,4})x(\d{1,4})", name):
        return block(int(match[1]), int(match[2]))
    return find(GRANULARITIES, name, "granularity")
