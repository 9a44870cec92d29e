"""What every criterion offers, and where it cannot be used."""

from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import nn

from pruning_core.granularity import Granularity, compares_outputs
from pruning_core.types import Batches, Layer, Scores


@runtime_checkable
class Criterion(Protocol):
    """A frozen dataclass: label, help, formula and source for people; needs and passes: what it
    reads and costs, for people too.

    runs_network: it costs forward passes. needs_data: it reads the calibration images; other
    criteria get one blank input, of which only the shape may be read. per_filter: all weights of a
    filter (output) score the same. pool: how a group's elements make its score.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    help: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[str]
    passes: ClassVar[str]
    runs_network: ClassVar[bool]
    needs_data: ClassVar[bool]
    per_filter: ClassVar[bool]

    @property
    def label(self) -> str: ...

    @property
    def pool(self) -> str: ...

    def supports(self, layer: Layer) -> str | None: ...

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores: ...


def refusal(how: Criterion, g: Granularity, layer: Layer) -> str | None:
    """None where the criterion can rank the layer's groups by g, else one sentence that says why
    not.
    """
    if (reason := how.supports(layer)) is not None:
        return reason
    if how.per_filter and not compares_outputs(g, layer):
        return (
            f"{how.label} gives all weights of a filter one score, so it cannot rank the groups of {g.label} in {layer.name}: "
            "use filter, kernel or fine-grained."
        )
    return None
