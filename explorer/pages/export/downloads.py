"""The files of an export. Each is made only when it is downloaded. Without Streamlit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor, nn

from pruning_core.compress.shared_storage import shared_copy
from pruning_core.compress.sparse_file import LOADER, write_sparse
from pruning_core.export import (
    DENSE,
    MASK_FORMATS,
    masks_by_parameter,
    value_line,
    weights_safetensors,
    zip_archive,
)
from pruning_core.model.model_io import tensors_of
from pruning_core.pipeline import dependent_masks_of, pruned_copy
from pruning_core.plan import Plan
from pruning_core.types import Evaluation, Masks
from pruning_core.workspaces import Workspace

MASK_FILES = {f"masks.{ending}": ending for ending in MASK_FORMATS}
NAMES = (
    *MASK_FILES,
    "weights.safetensors",
    "sparse.safetensors",
    "load_sparse.py",
    "plan.json",
    "load_masks.py",
    DENSE,
)


@dataclass(frozen=True, eq=False)
class Files:
    """What the files are made from.

    model: the fine-tuned network, None for masks on the base network; script: text of
    load_masks.py, "" where there is none; no_script: a sentence why; share_bits: bits of shared
    weights in sparse.safetensors, None for none; thinned: the files of the thinned network, which
    are in the folder thinned of the archive.
    """

    plan: Plan
    space: Workspace
    masks: Masks
    model: nn.Module | None
    script: str
    no_script: str = ""
    share_bits: int | None = None
    thinned: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The files that there are."""
        none = {"load_masks.py"} if not self.script else set()
        if DENSE not in self.script:
            none.add(DENSE)
        return tuple(name for name in NAMES if name not in none)

    def make(self, name: str) -> bytes:
        """The content of one file. Raises KeyError for a name that is not in `NAMES`."""
        if name in MASK_FILES:
            return self._mask_file(MASK_FILES[name])
        makers: dict[str, Callable[[], bytes]] = {
            "weights.safetensors": self._weights,
            "sparse.safetensors": self._sparse,
            "load_sparse.py": LOADER.encode,
            "plan.json": self._plan,
            "load_masks.py": self._script,
            DENSE: partial(weights_safetensors, self.space.model),
        }
        return makers[name]()

    def zip(self) -> bytes:
        """All files in one archive."""
        own = {name: self.make(name) for name in self.names}
        return zip_archive(own | {f"thinned/{name}": x for name, x in self.thinned.items()})

    def by_parameter(self) -> dict[str, Tensor]:
        """All masks in the parameters' own shapes."""
        dependent = dependent_masks_of(self.plan, self.space, self.masks)
        return masks_by_parameter(self.masks, self.space.layers, dependent)

    def _mask_file(self, ending: str) -> bytes:
        return MASK_FORMATS[ending](self.by_parameter(), self.plan)

    def network(self) -> nn.Module:
        """The pruned network, whose weights are not shared. Read it only."""
        return self.model or pruned_copy(self.plan, self.space, self.masks)

    def _weights(self) -> bytes:
        return weights_safetensors(self.network())

    def _sparse(self) -> bytes:
        network = self.network()
        if self.share_bits is not None:
            network = shared_copy(network, self.space.layers, self.masks, self.share_bits)
        return write_sparse(
            tensors_of(network), self.by_parameter(), metadata={"plan": self.plan.to_json()}
        )

    def _plan(self) -> bytes:
        return f"{self.plan.to_json()}\n".encode()

    def _script(self) -> bytes:
        return self.script.encode()


def expected_line(measured: Evaluation) -> str:
    """The line that load_masks.py prints."""
    return value_line(measured)
