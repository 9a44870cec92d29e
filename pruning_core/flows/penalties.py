"""What is added to the loss so that training itself makes groups of weights small."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from pruning_core.flows.protocol import Work
from pruning_core.granularity import to_groups
from pruning_core.inventory import oihw
from pruning_core.train import Hook, tracked_norms
from pruning_core.types import PruningError

Penalty = Callable[[nn.Module, Work], Tensor]


def bn_scale_l1(model: nn.Module, work: Work) -> Tensor:
    """sum of |gamma| over all batch norms (Liu et al. 2017, arXiv:1708.06519). Raises PruningError where there is none."""
    scales = [norm.weight for norm in tracked_norms(model) if norm.affine]
    if not scales:
        raise PruningError("This network has no batch norm whose scale could be made small: choose group lasso instead.")
    return torch.stack([scale.abs().sum() for scale in scales]).sum()


def group_lasso(model: nn.Module, work: Work) -> Tensor:
    """sum over the plan's groups of ||W_G||_2 (Wen et al. 2016, arXiv:1608.03665)."""
    parts = [to_groups(oihw(model.get_parameter(x.name), x), work.granularity, x).norm(dim=-1).sum() for x in work.able]
    return torch.stack(parts).sum()


PENALTIES: Mapping[str, Penalty] = {"bn_scale_l1": bn_scale_l1, "group_lasso": group_lasso}


class Penalised(Hook):
    """Adds strength x penalty to the loss of every step; the last epoch counts as the best, because groups shrink till then."""

    settled = False

    def __init__(self, name: str, strength: float, work: Work) -> None:
        self._penalty, self._strength, self._work = PENALTIES[name], strength, work

    def begin(self, model: nn.Module) -> None:
        self._model = model

    def penalty(self) -> Tensor:
        return self._strength * self._penalty(self._model, self._work)
