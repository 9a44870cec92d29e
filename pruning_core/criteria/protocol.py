"""What every criterion offers."""

from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import nn

from pruning_core.types import Batches, Layer, Scores


@runtime_checkable
class Criterion(Protocol):
    """A frozen dataclass: label, help, formula and source for people; needs_data and pool for the pipeline."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    help: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    needs_data: ClassVar[bool]

    @property
    def label(self) -> str: ...

    @property
    def pool(self) -> str: ...

    def supports(self, layer: Layer) -> str | None: ...

    def __call__(self, model: nn.Module, layers: tuple[Layer, ...], batches: Batches) -> Scores: ...
