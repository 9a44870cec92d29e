"""The files of an export, made only when they are asked for. Knows no Streamlit."""

from dataclasses import dataclass

from torch import nn

from pruning_core.export.writers import MASK_FORMATS, bundle, script, stored, weights_safetensors
from pruning_core.pipeline import Workspace, dependent_masks_of, masked_copy
from pruning_core.plan import Plan
from pruning_core.types import Evaluation, Masks


@dataclass(frozen=True, eq=False)
class Files:
    """model: the fine-tuned network, None for masks on the base network; script: the text of
    load_masks.py.
    """

    plan: Plan
    space: Workspace
    masks: Masks
    model: nn.Module | None
    script: str

    def make(self, name: str) -> bytes:
        """The content of one file. Raises KeyError for a name that is not in `NAMES`."""
        if name in MASK_FILES:
            silent = dependent_masks_of(self.plan, self.space, self.masks)
            return MASK_FORMATS[MASK_FILES[name]](
                stored(self.masks, self.space.layers, silent), self.plan
            )
        return {
            "weights.safetensors": self._weights,
            "plan.json": self._plan,
            "load_masks.py": self._script,
        }[name]()

    def zip(self) -> bytes:
        """All of them."""
        return bundle({name: self.make(name) for name in NAMES})

    def _weights(self) -> bytes:
        return weights_safetensors(self.model or masked_copy(self.plan, self.space, self.masks))

    def _plan(self) -> bytes:
        return f"{self.plan.to_json()}\n".encode()

    def _script(self) -> bytes:
        return self.script.encode()


MASK_FILES = {f"masks.{ending}": ending for ending in MASK_FORMATS}
NAMES = (*MASK_FILES, "weights.safetensors", "plan.json", "load_masks.py")


def files_of(
    plan: Plan, space: Workspace, masks: Masks, model: nn.Module | None, *, whole_test: bool
) -> Files:
    """The files of a plan's masks. whole_test: are all test images the exam split?"""
    return Files(
        plan, space, masks, model, script(plan, tuned=model is not None, whole_test=whole_test)
    )


def expected_line(found: Evaluation) -> str:
    """What load_masks.py prints."""
    return f"accuracy {found.top1:.6f} ({round(found.top1 * found.n)} of {found.n} images)"
