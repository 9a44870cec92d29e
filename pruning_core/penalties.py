"""What is added to the loss in every training step, so that training makes groups small."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pruning_core.granularity import Granularity, granularity, supports, to_groups
from pruning_core.model.inventory import oihw
from pruning_core.registry import Described, find
from pruning_core.tied_layers import tied_parts
from pruning_core.types import Layer, PruningError

NONE = "none"


@dataclass(frozen=True)
class Penalty(Described):
    """A term of the loss, an `Entry`: function(model, layers, granularity) -> the term.

    per_group: it is a sum over the groups of a granularity; if not, it gets None in its place.
    """

    function: Callable[[nn.Module, Sequence[Layer], Granularity | None], Tensor] = field(repr=False)
    per_group: bool = field(default=False, repr=False)


def bn_scale_l1(model: nn.Module, layers: Sequence[Layer], g: Granularity | None) -> Tensor:
    """Output channels become small through the scale of their batch norm (network slimming).

    sum of |gamma| over all batch norms. Liu et al. 2017, arXiv:1708.06519.
    Raises PruningError if there is no batch norm.
    """
    norms = [
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.affine
    ]
    if not norms:
        raise PruningError(
            "This network has no batch norm whose scale could be made small: "
            "choose group lasso instead."
        )
    return torch.stack([norm.weight.abs().sum() for norm in norms]).sum()


def group_lasso(model: nn.Module, layers: Sequence[Layer], g: Granularity | None) -> Tensor:
    """Whole groups become small, so that their removal costs little (structured sparsity learning).

    sum of ||W_G||_2 over the groups of all layers that g supports. An attention head is one group
    with all its weights. Wen et al. 2016, arXiv:1608.03665.
    Raises PruningError if g supports no layer.
    """
    supported = [layer for layer in layers if g is not None and supports(g, layer) is None]
    if g is None or not supported:
        raise PruningError(
            f"No layer of this network has groups of the granularity {g.label if g else NONE}: "
            "choose another one for group lasso."
        )
    norms = []
    for part in tied_parts(supported, g):
        w = [to_groups(oihw(model.get_parameter(x.name), x), g, x) for x in part]
        norms.append(torch.cat(w, -1).norm(dim=-1).sum())
    return torch.stack(norms).sum()


PENALTIES: dict[str, Penalty] = {
    "bn_scale_l1": Penalty(
        bn_scale_l1,
        label="L1 on batch-norm scales",
        formula="loss + strength sum |gamma|, over all batch norms",
        source="Liu et al. 2017, arXiv:1708.06519",
    ),
    "group_lasso": Penalty(
        group_lasso,
        per_group=True,
        label="Group lasso",
        formula="loss + strength sum over groups of ||W_G||_2",
        source="Wen et al. 2016 (SSL), arXiv:1608.03665",
    ),
}
"""The choices besides none. A new penalty: one function, and one entry here.

A penalty per group names its granularity, as in group_lasso:filter.
"""


def parse_penalty(text: str) -> tuple[Penalty, Granularity | None] | None:
    """Reads none (as None), bn_scale_l1, or group_lasso:GRANULARITY.

    Raises PruningError for any other text.
    """
    if text == NONE:
        return None
    name, _, groups = text.partition(":")
    chosen = find(PENALTIES, name, "penalty")
    if chosen.per_group != bool(groups):
        raise PruningError(
            f"'{text}' is not a penalty: write {name}:filter, or another granularity."
            if chosen.per_group
            else f"'{text}' is not a penalty: write {name}."
        )
    return chosen, granularity(groups) if groups else None


def penalty(
    text: str, strength: float, layers: Sequence[Layer]
) -> Callable[[nn.Module], Tensor | float]:
    """Model -> strength x penalty, 0 for none. Raises PruningError as `parse_penalty`."""
    parsed = parse_penalty(text)
    if parsed is None:
        return lambda _: 0.0
    chosen, g = parsed
    return lambda model: strength * chosen.function(model, layers, g)
