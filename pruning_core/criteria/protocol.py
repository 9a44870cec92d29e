"""What every criterion offers, its defaults, and where it cannot be used."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, runtime_checkable

from torch import nn

from pruning_core.granularity import Granularity, compares_outputs
from pruning_core.model.model_io import sample_count, sample_range
from pruning_core.model.precision import in_float32
from pruning_core.registry import Described, Entry
from pruning_core.types import Batches, Layer, Scores, TaskBatches, task_of

ScoreFunction = Callable[[nn.Module, tuple[Layer, ...], Batches], Scores]


@runtime_checkable
class Criterion(Entry, Protocol):
    """(model, layers, batches) -> Scores: which weights matter. A high score means: keep.

    A criterion returns one finite float32 tensor per layer, on the CPU, in the OIHW view.
    Contract: scores must never alias the model's tensors. Return new tensors or copies, because
    callers write into scores. The call changes nothing else either: no weight, buffer, gradient,
    mode, hook, or random state.

    pool: how the scores of a group's elements become the group's score (a name in `POOLS`).
    needs, passes: what it reads and what it costs, in words.
    runs_network: it costs forward passes.
    needs_data: it reads the calibration images. Any other criterion gets one blank input, of which
    it may read only the shape.
    per_filter: all weights of a filter (one output) get the same score.
    supports: None if it can score the layer, else one sentence that says why not.
    """

    @property
    def pool(self) -> str: ...

    @property
    def needs(self) -> str: ...

    @property
    def passes(self) -> str: ...

    @property
    def runs_network(self) -> bool: ...

    @property
    def needs_data(self) -> bool: ...

    @property
    def per_filter(self) -> bool: ...

    def supports(self, layer: Layer) -> str | None: ...

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores: ...


class Reads(Enum):
    """What a criterion reads besides the weights. The value is the text in tables."""

    WEIGHTS = "nothing"
    SHAPE = "the shape of an input"
    IMAGES = "images, no labels"
    LABELS = "labelled images"


USUAL_PASSES = {
    Reads.WEIGHTS: "none",
    Reads.SHAPE: "1 forward",
    Reads.IMAGES: "1 forward",
    Reads.LABELS: "1 forward, 1 backward",
}


@dataclass(frozen=True, kw_only=True)
class CriterionBase(Described):
    """The defaults of a criterion: it reads weights alone, pools by mean |s|, scores every layer.

    A criterion with settings is a frozen dataclass on this base: its fields are the settings, and
    it defines `__call__`.

    mini_batch: a group's score is the mean of its scores on mini-batches of this many calibration
    images (`scores_by_part`); 0: its score on all of them as one batch.
    """

    pool: str = "mean_abs"
    mini_batch: int = field(default=0, repr=False)
    reads: Reads = field(default=Reads.WEIGHTS, repr=False)
    passes: str = field(default="", repr=False)
    per_filter: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.passes:
            object.__setattr__(self, "passes", USUAL_PASSES[self.reads])

    @property
    def needs(self) -> str:
        """What it reads, in words."""
        return self.reads.value

    @property
    def needs_data(self) -> bool:
        """Does it read the calibration images?"""
        return self.reads in (Reads.IMAGES, Reads.LABELS)

    @property
    def runs_network(self) -> bool:
        """Does it cost forward passes?"""
        return self.reads is not Reads.WEIGHTS

    def supports(self, layer: Layer) -> str | None:
        """None if it can score the layer, else one sentence that says why not."""
        return None


@dataclass(frozen=True)
class FunctionCriterion(CriterionBase):
    """A criterion made of one function (model, layers, batches) -> Scores.

    refuses: layer -> the reason why the function cannot score it, or None.

    >>> from pruning_core.criteria.weight import magnitude
    >>> FunctionCriterion(magnitude, label="Magnitude", formula="s = |w|", source="Han 2015").help
    'Weights of small magnitude are removed first.'
    """

    function: ScoreFunction = field(repr=False)
    refuses: Callable[[Layer], str | None] = field(default=lambda layer: None, repr=False)

    def supports(self, layer: Layer) -> str | None:
        """None if it can score the layer, else one sentence that says why not."""
        return self.refuses(layer)

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores:
        return self.function(in_float32(model), layers, batches)


def scores_by_part(
    criterion: Criterion, model: nn.Module, layers: tuple[Layer, ...], batches: Batches
) -> Iterator[Scores]:
    """The scores on each part of the images that the criterion pools alone (`mini_batch`).

    `masks.mean_group_scores` gives the scores of groups.
    """
    size = getattr(criterion, "mini_batch", 0)  # criterion objects of users need not have it
    parts = list(_parts(batches, size)) if size else []
    for part in parts or [batches]:
        yield criterion(model, layers, part)


def _parts(batches: Batches, size: int) -> Iterator[Batches]:
    """One batch after another, each of at most `size` images."""
    for x, y in batches:
        for start in range(0, sample_count(x), size):
            one = (sample_range(x, start, start + size), y[start : start + size])
            yield TaskBatches((one,), task_of(batches))


def refusal(criterion: Criterion, g: Granularity, layer: Layer) -> str | None:
    """None if the criterion can rank the layer's groups by g, else one sentence with the reason."""
    if (reason := criterion.supports(layer)) is not None:
        return reason
    if criterion.per_filter and not compares_outputs(g, layer):
        return (
            f"{criterion.label} gives all weights of a filter one score, so it cannot rank the "
            f"groups of {g.label} in {layer.name}: use filter, kernel or fine-grained."
        )
    return None
