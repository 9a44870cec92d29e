"""In what shape do we cut? One einops pattern per granularity: weight -> (scope, group, element)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType

import torch
from einops import rearrange
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from pruning_core.registry import find
from pruning_core.types import Layer, PruningError

Refusal = Callable[[Layer], str | None]
MAO = "Mao et al. 2017, arXiv:1705.08922"
WEN = "Wen et al. 2016, arXiv:1608.03665"


def _always(_layer: Layer) -> str | None:
    return None


@dataclass(frozen=True)
class Granularity:
    """Which weights are removed together. pattern: OIHW -> scope x group x element.

    scope: where groups compete; group: the weights that are removed together; element: one of them.
    sizes: fixed axis lengths of the pattern. by_kind: other patterns, by `Layer.kind`.
    n_kept: N of N:M, the groups kept in every scope of M, whatever the ratio.
    removes_outputs: a group is all weights of one or more outputs of its layer, so whatever depends
    on those outputs is zero too (`dependent_masks`).
    ties_layers: layers whose outputs are added can lose the same groups (`Coupling`).
    spans_attention: the layers of one attention lose the same groups (`tied_parts`).
    refuses: layer -> the reason why it cannot be pruned so, or None.
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
    refuses: Refusal = field(default=_always, compare=False, repr=False)

    @property
    def formula(self) -> str:
        """The pattern, as text."""
        return self.pattern

    @property
    def unstructured(self) -> bool:
        """Is every weight a group of its own, in one scope per layer?"""
        return re.search(r"-> 1 \(.*\) 1$", self.pattern) is not None

    @property
    def fixed_ratio(self) -> float | None:
        """1 - N/M where the granularity itself sets the ratio, else None."""
        return None if self.n_kept is None else 1 - self.n_kept / dict(self.sizes)["m"]


def to_groups(
    w: Shaped[Tensor, "o i h w"], g: Granularity, layer: Layer
) -> Shaped[Tensor, "s g e"]:
    """Rearranges a weight-shaped tensor into scope x group x element. Raises PruningError where the
    layer cannot take g.
    """
    if (reason := supports(g, layer)) is not None:
        raise PruningError(reason)
    return rearrange(w, pattern(g, layer), **_lengths(g, layer))


def from_groups(keep: Bool[Tensor, "s g"], g: Granularity, layer: Layer) -> Bool[Tensor, "o i h w"]:
    """Spreads one decision per group over the group's weights: the inverse of `to_groups`."""
    left, right = pattern(g, layer).split("->")
    scopes, groups = keep.shape
    full = keep[:, :, None].expand(scopes, groups, layer.numel // (scopes * groups))
    return rearrange(full, f"{right}->{left}", **_lengths(g, layer))


def group_tables(
    g: Granularity, layer: Layer
) -> tuple[Int[Tensor, "_o"], Int[Tensor, "_i"], Int[Tensor, "_h"], Int[Tensor, "_w"]]:
    """Which group a weight is in, without a number per weight: group (o, i, h, w) = O[o] + I[i] +
    H[h] + W[w].

    Groups are numbered scope by scope. Raises PruningError where the layer cannot take g.
    """
    if (reason := supports(g, layer)) is not None:
        raise PruningError(reason)
    left, right = pattern(g, layer).split("->")
    lengths = _lengths(g, layer)
    steps = {}
    step = 1
    outer = "".join(re.findall(r"\([^)]*\)|\w+", right)[:2])
    for name in reversed(re.findall(r"[a-z]", outer)):
        steps[name] = step
        step = step * lengths[name]
    tables = []
    for axis in re.findall(r"\([^)]*\)|\w+", left):
        numbers = torch.zeros(1, dtype=torch.long)
        for name in re.findall(r"[a-z]", axis):
            numbers = (
                numbers[:, None] + steps.get(name, 0) * torch.arange(lengths[name])
            ).flatten()
        tables.append(numbers)
    o, i, h, w = tables
    return o, i, h, w


def supports(g: Granularity, layer: Layer) -> str | None:
    """None where the layer can be cut so, else one sentence that says why not."""
    return g.refuses(layer)


def fixed_ratio_reason(g: Granularity) -> str | None:
    """Why there is no ratio to choose: an N:M shape sets its own; None for all others."""
    share = g.fixed_ratio
    return (
        None
        if share is None
        else f"{g.label} itself removes {100 * share:.3g}% of every layer: there is no ratio to choose."
    )


def compares_outputs(g: Granularity, layer: Layer) -> bool:
    """Do the groups that compete hold different outputs? Not where they lie side by side inside
    filters (row, channel, N:M).
    """
    left, right = pattern(g, layer).split("->")
    output, group = (
        re.findall(r"\([^)]*\)|\w+", part)[place] for part, place in ((left, 0), (right, 1))
    )
    return not set(re.findall(r"[a-z]", output)).isdisjoint(re.findall(r"[a-z]", group))


def pattern(g: Granularity, layer: Layer) -> str:
    """The einops pattern that cuts this layer."""
    return g.by_kind.get(layer.kind, g.pattern)


def _lengths(g: Granularity, layer: Layer) -> dict[str, int]:
    """The length of every axis named in the pattern, from the layer's shape and the granularity's
    fixed sizes.
    """
    left = pattern(g, layer).split("->")[0]
    known = {
        k: v for k, v in (*g.sizes, ("n", layer.heads), ("t", 3)) if re.search(rf"\b{k}\b", left)
    }
    for axis, total in zip(re.findall(r"\([^)]*\)|\w+", left), layer.shape, strict=True):
        names = axis.strip("()").split()
        given = prod(known[name] for name in names if name in known)
        known |= {name: total // given for name in names if name not in known}
    return known


def _no_kernel(what: str, axes: tuple[int, ...]) -> Refusal:
    def refuses(layer: Layer) -> str | None:
        if all(layer.shape[axis] == 1 for axis in axes):
            h, w = layer.shape[2:]
            return f"{layer.name} has {h} x {w} kernels, where a {what} is a single weight: use fine-grained for it."
        return None

    return refuses


def _row(layer: Layer) -> str | None:
    _, i, h, w = layer.shape
    return (
        f"{layer.name} has one weight per output, so nothing competes inside a row."
        if i * h * w == 1
        else None
    )


def _filter(layer: Layer) -> str | None:
    if layer.is_output:
        return f"{layer.name} gives the model's outputs: removing one of its filters would remove a class."
    return f"{layer.name} has a single filter." if layer.shape[0] == 1 else None


def _channel(layer: Layer) -> str | None:
    if layer.kind == "depthwise":
        return f"{layer.name} is depthwise: its filters see one channel each, so use filter to remove a channel."
    if layer.groups > 1:
        return f"{layer.name} is a grouped convolution: an input channel index means a different channel in each group."
    return f"{layer.name} has a single input channel." if layer.shape[1] == 1 else None


def _shape(layer: Layer) -> str | None:
    _, i, h, w = layer.shape
    return (
        f"{layer.name} has one weight per output, so there is a single shape position."
        if i * h * w == 1
        else None
    )


def _n_of_m(n: int, m: int) -> Refusal:
    def refuses(layer: Layer) -> str | None:
        if layer.shape[1] % m:
            return f"{layer.name} has {layer.shape[1]} input channels, which {n}:{m} cannot split into runs of {m}."
        return None

    return refuses


def _block(p: int, q: int) -> Refusal:
    def refuses(layer: Layer) -> str | None:
        o, i = layer.shape[:2]
        if o % p or i % q:
            return f"{layer.name} has {o} x {i} filters x channels, which blocks of {p} x {q} do not divide."
        return f"{layer.name} is a single block of {p} x {q}." if (o, i) == (p, q) else None

    return refuses


def _head(layer: Layer) -> str | None:
    if not layer.heads:
        return f"{layer.name} is not part of an attention layer, so it has no heads."
    return f"{layer.name} has a single head." if layer.heads == 1 else None


def n_of_m(n: int, m: int) -> Granularity:
    """N:M sparsity: in every run of M weights along the input channels, N are kept. Raises
    PruningError unless 0 < N < M.
    """
    if not 0 < n < m:
        raise PruningError(
            f"'{n}:{m}' is not an N:M pattern: N must be at least 1 and below M, as in 2:4."
        )
    runs = ": the form that sparse GPU kernels run" if (n, m) == (2, 4) else ""
    text = f"Of every {m} neighbours along the input channels, {n} stay{'s' * (n == 1)}{runs}."
    source = "Mishra et al. 2021, arXiv:2104.08378"
    name = f"{n}:{m}"
    form = "o (i m) h w -> (o i h w) m 1"
    refuses = _n_of_m(n, m)
    return Granularity(name, name, text, form, source, (("m", m),), n_kept=n, refuses=refuses)


def block(p: int, q: int) -> Granularity:
    """Blocks of p filters x q channels, whole kernels included. Raises PruningError unless p, q >=
    1 and p q > 1.
    """
    if min(p, q) < 1 or p * q == 1:
        raise PruningError(
            f"'block:{p}x{q}' is not a block: both sides must be at least 1 and one above 1, as in block:4x4."
        )
    text = f"Blocks of {p} filters x {q} channels go as one: dense work on what is left."
    source = "Gray et al. 2017, GPU Kernels for Block-Sparse Weights"
    sizes = (("p", p), ("q", q))
    form = "(o p) (i q) h w -> 1 (o i) (p q h w)"
    return Granularity(
        f"block:{p}x{q}", f"Block {p} x {q}", text, form, source, sizes, refuses=_block(p, q)
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
            "Single weights go, anywhere in the layer.",
            "o i h w -> 1 (o i h w) 1",
            MAO,
        ),
        Granularity(
            "row",
            "Row",
            "Single weights go, the same share from every output row.",
            "o i h w -> o (i h w) 1",
            "Sun et al. 2023 (Wanda), arXiv:2306.11695",
            refuses=_row,
        ),
        n_of_m(2, 4),
        n_of_m(1, 4),
        n_of_m(4, 8),
        Granularity(
            "vector_row",
            "Vector (row)",
            "One row of a k x k kernel goes as one.",
            "o i h w -> 1 (o i h) w",
            MAO,
            refuses=_no_kernel("kernel row", (3,)),
        ),
        Granularity(
            "vector_col",
            "Vector (column)",
            "One column of a k x k kernel goes as one.",
            "o i h w -> 1 (o i w) h",
            MAO,
            refuses=_no_kernel("kernel column", (2,)),
        ),
        Granularity(
            "kernel",
            "Kernel",
            "A whole k x k kernel goes: one filter stops seeing one channel.",
            "o i h w -> 1 (o i) (h w)",
            MAO,
            refuses=_no_kernel("kernel", (2, 3)),
        ),
        Granularity(
            "filter",
            "Filter",
            "A whole filter goes, and with it one output channel.",
            "o i h w -> 1 o (i h w)",
            "Li et al. 2016, arXiv:1608.08710",
            removes_outputs=True,
            ties_layers=True,
            refuses=_filter,
        ),
        Granularity(
            "channel",
            "Channel",
            "An input channel goes, in every filter.",
            "o i h w -> 1 i (o h w)",
            "He et al. 2017, arXiv:1707.06168",
            refuses=_channel,
        ),
        Granularity(
            "shape",
            "Shape-wise",
            "The same position goes in every filter: a column of the unfolded matrix.",
            "o i h w -> 1 (i h w) o",
            WEN,
            refuses=_shape,
        ),
        block(4, 4),
        Granularity(
            "head",
            "Attention head",
            "A whole head goes: its query, key and value rows or output columns.",
            "(n d) i h w -> 1 n (d i h w)",
            "Michel et al. 2019, arXiv:1905.10650",
            by_kind=_HEADS,
            removes_outputs=True,
            spans_attention=True,
            refuses=_head,
        ),
    )
}
"""The standard choices; `granularity` also reads any N:M and any block:PxQ."""


def granularity(name: str) -> Granularity:
    """The granularity of that name, N:M and block:PxQ for any sizes. Raises PruningError for an
    unknown one.
    """
    if match := re.fullmatch(r"(\d{1,4}):(\d{1,4})", name):
        return n_of_m(int(match[1]), int(match[2]))
    if match := re.fullmatch(r"block:(\d{1,4})x(\d{1,4})", name):
        return block(int(match[1]), int(match[2]))
    return find(GRANULARITIES, name, "granularity")
