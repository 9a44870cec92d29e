"""Batch-norm statistics measured again, which pruning makes necessary."""

import threading
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from pruning_core.model.model_io import call, copy_model, sample_count, to_device
from pruning_core.types import Inputs, PruningError


def tracked_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The batch norms with running statistics, which `measure_again` measures."""
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]


def call_in_training(work: nn.Module, x: Inputs) -> None:
    """Calls a model whose batch norms are in training mode.

    Raises PruningError where there is one value per channel, which has no variance.
    """
    try:
        call(work, x)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise PruningError(
            "Batch-norm statistics need at least two samples: give more training or calibration "
            "samples."
        ) from error


def measure_again(work: nn.Module, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
    """Gives this model's batch norms new running means and variances, in place.

    They are the plain averages over the batches. Dropout is off and no weight changes. The model is
    in eval mode afterwards. A batch of one sample is left out. Raises PruningError where one sample
    is all there is and a batch norm reads one value per channel.
    Li et al. 2020 (EagleEye), arXiv:2007.02491.
    """
    work.eval()
    norms = tracked_norms(work)
    if not norms:
        return
    where = next(work.parameters()).device
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # makes torch take the cumulative average
        norm.train()
    with torch.no_grad():
        for number, (x, _) in enumerate(batches):
            # A last batch of one image has no variance.
            if sample_count(x) > 1 or number == 0:
                call_in_training(work, to_device(x, where))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    work.eval()


class BatchNorms:
    """`measure_again` on one network for one set of replaced parameters after another.

    One copy of the network serves all of them; one thread at a time uses it.
    """

    def __init__(self, model: nn.Module, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        self._dense = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._work = copy_model(model)
        self._own = dict(self._work.named_parameters())
        self._batches = list(batches)
        self._replaced: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def measured(self, replacements: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The buffers of the network with these parameters, by name. Raises as `measure_again`."""
        with self._lock, torch.no_grad():
            for name in self._replaced - replacements.keys():
                self._own[name].copy_(self._dense[name])
            for name, buffer in self._work.named_buffers():
                buffer.copy_(self._dense[name])  # a network may change its buffers when called
            for name, tensor in replacements.items():
                self._own[name].copy_(tensor)
            self._replaced = frozenset(replacements)
            measure_again(self._work, self._batches)
            return {name: buffer.clone() for name, buffer in self._work.named_buffers()}
