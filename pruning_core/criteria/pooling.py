"""How the scores of a group's elements become the score of the group."""

from collections.abc import Callable

from torch import Tensor


def _absolute(scores: Tensor) -> Tensor:
    """|s|; the scores themselves where none is negative: the check takes a quarter of a copy."""
    return scores if scores.numel() and scores.amin() >= 0 else scores.abs()


def _mean_abs(elements: Tensor) -> Tensor:
    return elements.abs().mean(-1) if elements.shape[-1] > 1 else _absolute(elements.squeeze(-1))


def _l2(elements: Tensor) -> Tensor:
    if elements.shape[-1] == 1:
        return _absolute(elements.squeeze(-1))
    return elements.square().mean(-1).sqrt()


def _abs_sum(elements: Tensor) -> Tensor:
    return elements.abs().sum(-1) if elements.shape[-1] > 1 else _absolute(elements.squeeze(-1))


def _max_abs(elements: Tensor) -> Tensor:
    return elements.abs().amax(-1) if elements.shape[-1] > 1 else _absolute(elements.squeeze(-1))


def _sum(elements: Tensor) -> Tensor:
    return elements.sum(-1) if elements.shape[-1] > 1 else elements.squeeze(-1)


def _squared_sum(elements: Tensor) -> Tensor:
    return _sum(elements).square()


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_abs": _mean_abs,
    "l2": _l2,
    "abs_sum": _abs_sum,
    "max_abs": _max_abs,
    "sum": _sum,
    "squared_sum": _squared_sum,
}
"""Scope x group x element -> scope x group.

mean_abs: mean |s|. l2: root mean square, which is the L2 norm / sqrt(number of elements), so that
groups of different sizes compare. abs_sum: sum of |s|. max_abs: max |s|. sum: sum of s with its
sign. squared_sum: (sum of s)^2.
"""
