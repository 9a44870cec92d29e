"""How the elements of a group pool into the group's score."""

from collections.abc import Callable

from torch import Tensor

POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_abs": lambda elements: elements.abs().mean(-1),
    "l2": lambda elements: elements.square().mean(-1).sqrt(),
    "abs_sum": lambda elements: elements.abs().sum(-1),
}
"""mean_abs: mean |s|; l2: root mean square, the L2 norm over sqrt(E), so that groups of all sizes compare; abs_sum: sum |s|."""
