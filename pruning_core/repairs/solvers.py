"""The kept weights of a layer that give the dense layer's outputs best, by least squares.

Both minimise the mean of ||y - w x||^2 plus d h ||w - w_dense||^2 over the kept weights: h is the
mean of the inputs' second moments, and d = `input_rows.DAMPING` holds weights in directions without
data. With A = E[x x^T] + d h I and B = E[y x^T] + d h w_dense: w A = B in the kept places.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pruning_core.model.input_rows import damped, damping
from pruning_core.repairs.layer_by_layer import Moments

MOST_DIRECT = 5 * 10**10
"""Multiply-adds: above, conjugate gradients take the place of one factorisation per mask pattern.
"""
MOST_STEPS = 100
SMALL = 1e-5
"""Conjugate gradients end when the residual is this share of its start."""
BLOCK = 128
"""Columns whose updates of later columns are done together, as in SparseGPT."""

Matrix = Float[Tensor, "o n"]
Solver = Callable[[Moments, Float[Tensor, "g o n"], Bool[Tensor, "g o n"]], Float[Tensor, "g o n"]]
"""(moments, dense weights, masks) -> weights, zero where masked."""


def keep_weights(
    moments: Moments, dense: Float[Tensor, "g o n"], kept: Bool[Tensor, "g o n"]
) -> Float[Tensor, "g o n"]:
    """The dense weights that stay, unchanged."""
    return dense * kept


def least_squares(
    moments: Moments, dense: Float[Tensor, "g o n"], kept: Bool[Tensor, "g o n"]
) -> Float[Tensor, "g o n"]:
    """The exact minimum, one Cholesky factorisation per pattern of kept places.

    Where that takes more than `MOST_DIRECT` multiply-adds: conjugate gradients on all rows at once.
    """
    a, b = _normal_equations(moments, dense)
    solved = [_solve(*part) for part in zip(a, b, dense, kept, strict=True)]
    return torch.stack(solved)


def column_by_column(
    moments: Moments, dense: Float[Tensor, "g o n"], kept: Bool[Tensor, "g o n"]
) -> Float[Tensor, "g o n"]:
    """From the minimum without masks, removes the masked weights one column after the other.

    Each removal changes the row's later weights: w -= w_q [A^-1]_q / [A^-1]_qq, with A^-1 of the
    columns from q on, a row of the Cholesky factor of A^-1. One factorisation serves all rows.
    Frantar and Alistarh 2022 (OBC), arXiv:2208.11580; 2023 (SparseGPT), arXiv:2301.00774.
    """
    a, b = _normal_equations(moments, dense)
    factor = torch.linalg.cholesky(a)
    start = torch.cholesky_solve(b.mT, factor).mT
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True)
    parts = zip(start, inverse, kept, strict=True)
    return torch.stack([_removed(*part) for part in parts])


def _normal_equations(moments: Moments, dense: Tensor) -> tuple[Tensor, Tensor]:
    """A and B. Inputs that are always zero keep their dense weights."""
    return damped(moments.second), moments.cross + damping(moments.second) * dense


def _solve(a: Float[Tensor, "n n"], b: Matrix, dense: Matrix, kept: Bool[Tensor, "o n"]) -> Matrix:
    patterns, which = kept.unique(dim=0, return_inverse=True)
    if patterns.sum(1).double().pow(3).sum() / 3 > MOST_DIRECT:
        return _conjugate_gradients(a, b, dense, kept)
    solved = torch.zeros_like(b)
    for number, pattern in enumerate(patterns):
        rows = (which == number).nonzero()[:, 0]
        places = pattern.nonzero()[:, 0]
        if len(places):
            factor = torch.linalg.cholesky(a.index_select(0, places).index_select(1, places))
            own = torch.cholesky_solve(b[rows][:, places].mT, factor).mT
            solved[rows[:, None], places] = own
    return solved


def _conjugate_gradients(
    a: Float[Tensor, "n n"], b: Matrix, dense: Matrix, kept: Bool[Tensor, "o n"]
) -> Matrix:
    """All rows at once, each in its own kept places; scaled by the diagonal."""
    solved = dense * kept
    residual = (b - solved @ a) * kept
    scale = 1 / a.diagonal()
    end = (SMALL * residual.norm()).item()
    direction = residual * scale
    energy = (residual * direction).sum(1, keepdim=True)
    for _ in range(MOST_STEPS):
        if residual.norm().item() <= end:
            break
        changed = (direction @ a) * kept
        step = energy / (direction * changed).sum(1, keepdim=True).clamp_min(1e-300)
        solved += step * direction
        residual -= step * changed
        scaled = residual * scale
        before = energy
        energy = (residual * scaled).sum(1, keepdim=True)
        direction = scaled + energy / before.clamp_min(1e-300) * direction
    return solved


def _removed(weights: Matrix, inverse: Float[Tensor, "n n"], kept: Bool[Tensor, "o n"]) -> Matrix:
    """Removes the masked places, the first columns first. inverse: the upper factor of A^-1."""
    weights = weights.clone()
    for start in range(0, weights.shape[1], BLOCK):
        end = min(start + BLOCK, weights.shape[1])
        errors = torch.zeros_like(weights[:, start:end])
        for q in range(start, end):
            errors[:, q - start] = weights[:, q] * ~kept[:, q] / inverse[q, q]
            weights[:, q:end] -= errors[:, q - start, None] * inverse[q, q:end]
        weights[:, end:] -= errors @ inverse[start:end, end:]
    return weights * kept
