"""The repair of batch norms: their statistics are measured again on the pruned network."""

from torch import nn

from pruning_core.training.batch_norm import measure_again, tracked_norms
from pruning_core.types import Batches, Layer, Masks


def reestimate(
    model: nn.Module, masks: Masks, layers: tuple[Layer, ...], batches: Batches, dense: nn.Module
) -> None:
    """Measures the means and variances of the batch norms again on the calibration images.

    No weight changes. Raises PruningError where one sample is all there is and a batch norm reads
    one value per channel.
    """
    measure_again(model, batches)


def no_batch_norm(model: nn.Module) -> str | None:
    """A sentence for a network without batch-norm statistics, else None."""
    if tracked_norms(model):
        return None
    return "This network has no batch norm, so this repair changes nothing."
