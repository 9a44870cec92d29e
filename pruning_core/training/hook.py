"""What a flow does in every step of a training."""

from collections.abc import Sequence

import torch
from torch import nn

from pruning_core.training.state_files import State
from pruning_core.types import Pruned


class Hook:
    """What else happens while a network trains.

    A flow that changes masks during training derives its own hook.
    """

    settled = True
    """May the epoch that ends now be the best one? If no epoch may, the last one is."""

    def begin(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Called with the copy that is trained and its optimizer, before the first step."""

    def backward(self) -> None:
        """Called in every step after the gradients are computed, before the weights change."""

    def stepped(self, done: int, total: int) -> Sequence[Pruned]:
        """Called after step number `done` (from 0) of `total`; gives the events to yield."""
        return ()

    def state_dict(self) -> State | None:
        """What it needs to continue after an epoch. None: it cannot; the training starts again."""
        return None

    def load_state_dict(self, state: State) -> None:
        """Continues from there. Called after `begin`; the network's weights are set after it."""


class StatelessHook(Hook):
    """A hook that keeps nothing between two steps. This one does nothing."""

    def state_dict(self) -> State | None:
        return {}
