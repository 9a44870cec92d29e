"""What may the weights that stay do, without training? Each choice repairs a pruned network."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from pruning_core.masks import intersect
from pruning_core.registry import Described
from pruning_core.repairs.batch_norm import no_batch_norm, reestimate
from pruning_core.repairs.refit import (
    correct_biases,
    no_biases,
    no_products,
    refit_column_by_column,
    refit_least_squares,
)
from pruning_core.types import Batches, Layer, Masks

Change = Callable[[nn.Module, Masks, tuple[Layer, ...], Batches, nn.Module], None]
"""(masked network, masks, layers, calibration batches, dense network): changes the state of the
masked network in place."""


@dataclass(frozen=True)
class Repair(Described):
    """A choice of the axis. Called, it changes a masked network that the caller owns.

    no_effect: a sentence where this network would stay as it is, else None.
    quick: does it cost one forward pass? Then pages show it beside the network as pruned.
    """

    function: Change = field(repr=False)
    no_effect: Callable[[nn.Module], str | None] = field(repr=False)
    quick: bool = field(default=False, repr=False)

    def __call__(
        self,
        model: nn.Module,
        masks: Masks,
        layers: tuple[Layer, ...],
        batches: Batches,
        dense: nn.Module,
    ) -> None:
        self.function(model, masks, layers, batches, dense)


@dataclass(frozen=True, eq=False)
class BoundRepair:
    """A repair with what it reads of one plan.

    dense: the network without masks, which never changes; start: what is removed before pruning.
    """

    repair: Repair
    layers: tuple[Layer, ...]
    batches: Batches
    dense: nn.Module
    start: Masks = field(default_factory=Masks)

    def __call__(self, model: nn.Module, masks: Masks) -> nn.Module:
        """Repairs a masked network that the caller owns, and returns it."""
        removed = intersect(masks, self.start)
        self.repair(model, removed, self.layers, self.batches, self.dense)
        return model


def nothing(
    model: nn.Module, masks: Masks, layers: tuple[Layer, ...], batches: Batches, dense: nn.Module
) -> None:
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
        quick=True,
    ),
    BN: Repair(
        function=reestimate,
        no_effect=no_batch_norm,
        label="Batch-norm statistics",
        formula="mean, var = averages over the batches of x m; gamma, beta, w stay",
        source="Li et al. 2020 (EagleEye), arXiv:2007.02491",
        quick=True,
    ),
    "bias": Repair(
        function=correct_biases,
        no_effect=no_biases,
        label="Biases",
        help="Gives each output the dense network's mean on the calibration images, through its "
        "bias, layer by layer in order of execution. Without a bias: through the running mean of "
        "the batch norm that follows; where there is none, the layer stays as it is.",
        formula="b += E[w_dense x_dense] - E[w m x], x = inputs in the pruned network, repaired up "
        "to this layer",
        source="Nagel et al. 2019, arXiv:1906.04721, on pruned weights",
    ),
    "least_squares": Repair(
        function=refit_least_squares,
        no_effect=no_products,
        label="Least squares",
        help="Refits the kept weights and biases of each layer to what the layer gave in the dense "
        "network, layer by layer in order of execution. Batch-norm statistics are measured again. "
        "Transposed convolutions and layers that run several times stay as they are.",
        formula="w = argmin E||y_dense - w m x||^2 + d h ||w - w_dense||^2, x = inputs in the "
        "pruned network, repaired up to this layer; h = mean of E[x^2], d = 0.01",
        source="He et al. 2017, arXiv:1707.06168; Luo et al. 2017 (ThiNet), arXiv:1707.06342",
    ),
    "obs": Repair(
        function=refit_column_by_column,
        no_effect=no_products,
        label="Optimal brain surgeon",
        help="As least squares, but the masked weights are removed one column after the other, and "
        "each removal changes only the weights of later columns (SparseGPT). Faster where every "
        "row has its own mask. With the criterion OBS it chooses and updates.",
        formula="from w without masks: w -= w_q [A^-1]_q / [A^-1]_qq for each masked column q, "
        "A = E[x x^T] + d h I of the columns from q on",
        source="Frantar and Alistarh 2022 (OBC), arXiv:2208.11580; 2023 (SparseGPT), "
        "arXiv:2301.00774",
    ),
}
