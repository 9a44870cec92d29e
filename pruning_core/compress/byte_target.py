"""The smallest sparsity at which the stored network is within a given number of bytes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pruning_core.compress.sparse_file import write_sparse
from pruning_core.compress.storage_formats import FORMATS
from pruning_core.compress.storage_sizes import computed_sizes
from pruning_core.compress.target_search import smallest_within
from pruning_core.evaluation.accuracy import Judge
from pruning_core.export import masks_by_parameter
from pruning_core.model.model_io import tensor_bytes, tensors_of
from pruning_core.pipeline import probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.farthest import STEPS, MasksAtSparsities
from pruning_core.tasks import Change, change
from pruning_core.types import Evaluation, Masks, PruningError
from pruning_core.workspaces import Workspace

WRITTEN = "sparse"
"""The format that is really written: the file of `pruning store`."""
SIZE_FORMATS = (WRITTEN, *FORMATS)
"""The formats whose bytes a target can limit."""


@dataclass(frozen=True)
class TriedSize:
    """Bytes at one sparsity. within: at most the limit?"""

    sparsity: float
    bytes: int
    within: bool


@dataclass(frozen=True, eq=False)
class Fitted:
    """The last event: the plan at the smallest sparsity that fits.

    measured: a file was written; else the bytes are computed; dense_bytes: of all tensors;
    evaluation, change: of the pruned network on the plan's probe, against the dense one.
    """

    plan: Plan
    bytes: int
    dense_bytes: int
    limit: int
    measured: bool
    evaluation: Evaluation
    change: Change
    tried: tuple[TriedSize, ...]


def fit_bytes(
    plan: Plan, space: Workspace, limit: int, format_name: str = WRITTEN
) -> Iterator[TriedSize | Fitted]:
    """Finds the smallest sparsity, in whole percents, whose stored bytes are at most `limit`.

    By bisection: more sparsity takes fewer bytes. format_name: of `SIZE_FORMATS`; "sparse" writes
    the file at about seven sparsities, about a second each per million kept weights.
    Raises PruningError for an unknown format, where not even full sparsity fits, and as `farthest`
    for a plan whose sparsity has no effect.

    >>> from pruning_core import open_workspace
    >>> space = open_workspace("lenet5", "digits")
    >>> *_, found = fit_bytes(Plan(model="lenet5"), space, dense_bytes(space) // 10)
    >>> found.bytes <= found.dense_bytes // 10, found.plan.sparsity > 0.85
    (True, True)
    """
    if format_name not in SIZE_FORMATS:
        raise PruningError(
            f"There is no storage format '{format_name}': use one of {', '.join(SIZE_FORMATS)}."
        )
    search = _Search(plan, space, limit, format_name)
    step = yield from smallest_within(search.try_at)
    if step is None:
        raise PruningError(
            f"At most {limit:,} bytes are not possible: without all weights that this plan can "
            f"remove, the network still takes {search.tried[STEPS].bytes:,} bytes."
        )
    yield search.fitted(step)


def dense_bytes(space: Workspace) -> int:
    """Bytes of all tensors of the base network, each once."""
    return tensor_bytes(space.model)


class _Search:
    """Tries sparsities in whole percents."""

    def __init__(self, plan: Plan, space: Workspace, limit: int, format_name: str) -> None:
        self.plan = plan
        self.space = space
        self.limit = limit
        self.format_name = format_name
        self.tried: dict[int, TriedSize] = {}
        self._masks = MasksAtSparsities(plan, space)

    def try_at(self, step: int) -> TriedSize:
        """The bytes at one step."""
        size = self._bytes(self._masks.at(step))
        self.tried[step] = TriedSize(step / STEPS, size, size <= self.limit)
        return self.tried[step]

    def _bytes(self, masks: Masks) -> int:
        resolved = self._masks.resolved
        layers = self.space.layers
        if self.format_name == WRITTEN:
            named = masks_by_parameter(masks, layers, resolved.dependent_masks(masks))
            return len(write_sparse(tensors_of(resolved.pruned_copy(masks)), named))
        sizes = computed_sizes(self.space.model, layers, masks, resolved.granularity)
        known = {size.format: size.bytes for size in sizes}
        if self.format_name not in known:
            raise PruningError(
                f"{FORMATS[self.format_name].label} cannot store masks of "
                f"{resolved.granularity.label}: choose another format."
            )
        return known[self.format_name]

    def fitted(self, step: int) -> Fitted:
        """The last event, with the value of the network at that step."""
        resolved = self._masks.resolved
        masks = self._masks.at(step)
        judge = Judge.of(self.space.dataset)
        split = probe_split(self.plan, self.space)
        dense = judge.evaluate(resolved.space.model, split)
        pruned = judge.evaluate(resolved.pruned_copy(masks), split)
        return Fitted(
            plan=replace(self.plan, sparsity=step / STEPS),
            bytes=self.tried[step].bytes,
            dense_bytes=dense_bytes(self.space),
            limit=self.limit,
            measured=self.format_name == WRITTEN,
            evaluation=pruned,
            change=change(dense, pruned),
            tried=tuple(tried for _, tried in sorted(self.tried.items())),
        )
