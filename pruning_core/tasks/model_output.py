"""The logits in what a model gives."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pruning_core.errors import PruningError, kind_text

LOGITS_KEYS = ("logits", "out")
"""The keys of the logits in an output by names, the first that is there."""


def find_logits(out: Any) -> Tensor | None:
    """The logits in a model's output: itself, its attribute or key `logits`, or its first item.

    Also its key `out`, as torchvision's segmentation networks have it.

    None where it has none.
    """
    if isinstance(out, Mapping):
        out = next((out[key] for key in LOGITS_KEYS if key in out), out)
    named = getattr(out, "logits", out)
    first = named[0] if isinstance(named, tuple | list) and named else named
    return first if isinstance(first, Tensor) else None


def require_logits(out: Any) -> Tensor:
    """The logits in a model's output, as `find_logits`.

    Raises PruningError where there are none.
    """
    if (logits := find_logits(out)) is not None:
        return logits
    raise PruningError(
        f"The model gives {kind_text(type(out))}: "
        "it must give logits, a tuple that starts with them, or .logits."
    )
