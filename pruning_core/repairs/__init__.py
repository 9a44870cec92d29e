"""What may the weights that stay do, without training? Each choice repairs a pruned network."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from pruning_core.registry import Described
from pruning_core.repairs.batch_norm import no_batch_norm, reestimate
from pruning_core.types import Batches, Layer, Masks

Change = Callable[[nn.Module, Masks, tuple[Layer, ...], Batches], None]
"""(masked network, masks, layers, calibration batches): changes the network's state in place."""


@dataclass(frozen=True)
class Repair(Described):
    """A choice of the axis. Called, it changes a masked network that the caller owns.

    no_effect: a sentence where this network would stay as it is, else None.
    """

    function: Change = field(repr=False)
    no_effect: Callable[[nn.Module], str | None] = field(repr=False)

    def __call__(
        self, model: nn.Module, masks: Masks, layers: tuple[Layer, ...], batches: Batches
    ) -> None:
        self.function(model, masks, layers, batches)


@dataclass(frozen=True, eq=False)
class BoundRepair:
    """A repair with the layers and the calibration batches of one plan."""

    repair: Repair
    layers: tuple[Layer, ...]
    batches: Batches

    def __call__(self, model: nn.Module, masks: Masks) -> nn.Module:
        """Repairs a masked network that the caller owns, and returns it."""
        self.repair(model, masks, self.layers, self.batches)
        return model


def nothing(model: nn.Module, masks: Masks, layers: tuple[Layer, ...], batches: Batches) -> None:
    """Leaves the pruned network as it is."""


def _always(model: nn.Module) -> str | None:
    return "Nothing is repaired."


NONE = "none"
BN = "bn"
REPAIRS: dict[str, Repair] = {
    NONE: Repair(
        function=nothing,
        no_effect=_always,
        label="None",
        formula="w = w m",
        source="weights at zero, nothing else: Han et al. 2015, arXiv:1506.02626",
    ),
    BN: Repair(
        function=reestimate,
        no_effect=no_batch_norm,
        label="Batch-norm statistics",
        formula="mean, var = averages over the batches of x m; gamma, beta, w stay",
        source="Li et al. 2020 (EagleEye), arXiv:2007.02491",
    ),
}
