"""What is added to the loss in every training step so that training itself makes groups of weights
small.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning_core.granularity import Granularity, granularity, supports, to_groups
from pruning_core.model.inventory import oihw
from pruning_core.registry import find
from pruning_core.tied_layers import tied_parts
from pruning_core.types import Layer, PruningError

NONE = "none"


def bn_scale_l1(model: nn.Module, layers: Sequence[Layer], g: Granularity | None) -> Tensor:
    """sum of |gamma| over all batch norms (Liu et al. 2017, arXiv:1708.06519). Raises PruningError
    where there is none.
    """
    norms = [
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.affine
    ]
    if not norms:
        raise PruningError(
            "This network has no batch norm whose scale could be made small: choose group lasso instead."
        )
    return torch.stack([norm.weight.abs().sum() for norm in norms]).sum()


def group_lasso(model: nn.Module, layers: Sequence[Layer], g: Granularity | None) -> Tensor:
    """sum of ||W_G||_2 over the groups of all layers that can be cut so (Wen et al. 2016,
    arXiv:1608.03665).

    A head is one group with all its weights. Raises PruningError where no layer can be cut so.
    """
    able = [layer for layer in layers if g is not None and supports(g, layer) is None]
    if g is None or not able:
        raise PruningError(
            f"This network has no groups of the shape {g.label if g else NONE}: choose another for group lasso."
        )
    parts = [
        torch.cat([to_groups(oihw(model.get_parameter(x.name), x), g, x) for x in part], -1)
        for part in tied_parts(able, g)
    ]
    return torch.stack([part.norm(dim=-1).sum() for part in parts]).sum()


@dataclass(frozen=True)
class Penalty:
    """A term of the loss. shaped: it is over the groups of a granularity."""

    label: str
    help: str
    formula: str
    source: str
    per_group: bool
    of: Callable[[nn.Module, Sequence[Layer], Granularity | None], Tensor]


PENALTIES: dict[str, Penalty] = {
    "bn_scale_l1": Penalty(
        "L1 on batch-norm scales",
        "Makes output channels small by the scale of the batch norm behind them: network slimming.",
        "loss + strength sum |gamma|, over all batch norms",
        "Liu et al. 2017, arXiv:1708.06519",
        False,
        bn_scale_l1,
    ),
    "group_lasso": Penalty(
        "Group lasso",
        "Makes whole groups of a shape small, so that cutting them costs little: structured sparsity learning.",
        "loss + strength sum over groups of ||W_G||_2",
        "Wen et al. 2016 (SSL), arXiv:1608.03665",
        True,
        group_lasso,
    ),
}
"""The choices besides none; one over groups names their shape, as in group_lasso:filter."""


def parse_penalty(text: str) -> tuple[Penalty, Granularity | None] | None:
    """none -> None; bn_scale_l1; group_lasso:SHAPE for any granularity. Raises PruningError for
    what is no penalty.
    """
    if text == NONE:
        return None
    name, _, shape = text.partition(":")
    found = find(PENALTIES, name, "penalty")
    if found.per_group != bool(shape):
        wanted = f"{name}:filter, or another shape" if found.per_group else name
        raise PruningError(f"'{text}' is not a penalty: write {wanted}.")
    return found, granularity(shape) if shape else None


def penalty(
    text: str, strength: float, layers: Sequence[Layer]
) -> Callable[[nn.Module], Tensor | float]:
    """Model -> strength x penalty, 0 for none. Raises PruningError as `parse_penalty`."""
    chosen = parse_penalty(text)
    if chosen is None:
        return lambda _: 0.0
    found, g = chosen
    return lambda model: strength * found.of(model, layers, g)
