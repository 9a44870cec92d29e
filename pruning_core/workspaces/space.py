"""A trained network with its data: what every plan starts from."""

from dataclasses import dataclass, replace
from functools import cached_property

from torch import nn

from pruning_core.evaluation.dense_answers import with_dense_answers
from pruning_core.model.coupling.positions import Coupling
from pruning_core.model.coupling.trace import couplings
from pruning_core.model.kept_norms import ALL, KEPT, with_kept_norms
from pruning_core.model.mask_forms import checked_masks
from pruning_core.model.model_io import first_sample, sample_count
from pruning_core.start_masks import zeros_of
from pruning_core.types import (
    Batches,
    Dataset,
    GivenMasks,
    Inputs,
    Layer,
    Masks,
    PruningError,
    TaskBatches,
    Unprunable,
)
from pruning_core.workspaces.user_lines import UserLines
from pruning_core.zoo import probe

CALIBRATION_BATCH = 128
"""Images in a batch that a criterion reads."""


@dataclass(frozen=True, eq=False)
class Workspace:
    """A trained base model, its data, its prunable layers and its other parameters.

    The base model is never changed: all functions return copies.

    model: in eval mode; layers: every prunable weight; fixed: the parameters that are shown but
    not pruned; example: a batch of inputs for a network that does not read images of the data
    set's shape, such as tokens; read: sentences on how a network of the user's was read;
    name: of a network of the user's, "" for one of the zoo; lines: how a program opens it without
    this package, None where that is not known; start_masks: what a sparse network has lost, by
    layer, for plans with the start `zeros`; None: its weights that are exactly zero; norms: which
    channels the model's norms average over (`kept_norms`).

    >>> from pruning_core import open_workspace
    >>> space = open_workspace("lenet5", "digits")
    >>> len(space.layers), space.dataset.classes[:3]
    (5, ('0', '1', '2'))
    """

    model: nn.Module
    dataset: Dataset
    layers: tuple[Layer, ...]
    fixed: tuple[Unprunable, ...]
    example: Inputs | None = None
    read: tuple[str, ...] = ()
    name: str = ""
    lines: UserLines | None = None
    start_masks: GivenMasks | None = None
    norms: str = ALL

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", with_dense_answers(self.dataset, self.model))

    @property
    def notes(self) -> tuple[str, ...]:
        """How network and data were read: sentences on what one may not expect."""
        return self.read + self.dataset.notes

    @property
    def one(self) -> Inputs:
        """A single input: the first of the examples, or a blank image."""
        return first_sample(self.dataset.shape if self.example is None else self.example)

    def with_norms(self, norms: str) -> "Workspace":
        """The workspace itself, or the one whose model has norms over kept channels."""
        return self if norms in (ALL, self.norms) else self._with_kept_norms

    @cached_property
    def _with_kept_norms(self) -> "Workspace":
        return replace(self, model=with_kept_norms(self.model, self.one), norms=KEPT)

    @cached_property
    def removed_at_start(self) -> Masks:
        """What the start `zeros` removes: the start masks, else the zeros of the weights.

        Layers that are dense are left out. Raises PruningError for masks that do not fit.
        """
        if self.start_masks is None:
            return zeros_of(self.model, self.layers)
        masks = checked_masks(self.start_masks, self.layers)
        return {name: mask for name, mask in masks.items() if not mask.all()}

    @cached_property
    def tied(self) -> tuple[tuple[Coupling, ...], str | None]:
        """The couplings of the network's channels, or the reason why they are not known.

        Traced once, at the first use.
        """
        try:
            return couplings(self.model, self.layers, self.one), None
        except PruningError as error:
            return (), str(error)


def calibration(space: Workspace, images: int) -> Batches:
    """The fixed training images that criteria read, in batches of at most 128."""
    data = space.dataset
    size = min(CALIBRATION_BATCH, data.task.batch_size)
    return TaskBatches(probe(data.train, images).batches(size), data.task)


def batch_of(space: Workspace, size: int) -> Inputs:
    """Samples of the validation split, in order. Raises PruningError where it has fewer."""
    if size < 1:
        raise PruningError(f"A batch of {size} samples cannot be measured: give at least 1.")
    batch = next(iter(space.dataset.val.batches(size)))[0]
    if sample_count(batch) < size:
        raise PruningError(
            f"The validation split has {sample_count(batch)} samples: "
            f"a batch of {size} cannot be measured."
        )
    return batch
