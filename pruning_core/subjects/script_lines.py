"""Lines for exported scripts that read the user's data in the order that this package reads it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils import data as torch_data

from pruning_core.errors import kind_text
from pruning_core.subjects.image_folder import ImageFiles
from pruning_core.subjects.sources import Items, Source, Stream, Tensors, Transformed
from pruning_core.tasks.model_output import LOGITS_KEYS
from pruning_core.types import PruningError

_EACH = "dataset = [(x[i], y[i]) for x, y in {batches} for i in range(len(y))]"
_EACH_KEYED = """\
dataset = [
    {{name: part[i] for name, part in batch.items()}}
    for batch in {batches}
    for i in range(len(next(iter(batch.values()))))
]"""


def reading_lines(given: Any, source: Source, count: int, *, keyed: bool) -> str:
    """Lines that make `dataset` (samples by position) and `collate` of the variable `given`.

    given: what the user gave; source: how it was read; count: the samples that a stream gave;
    keyed: its batches are dicts.
    """
    loader = isinstance(given, torch_data.DataLoader)
    if isinstance(given, ImageFiles):
        return "dataset = Images(given)\ncollate = default_collate"
    if isinstance(source, Tensors):
        if isinstance(given, torch_data.DataLoader | torch_data.TensorDataset):
            return f"dataset = {'given.dataset' if loader else 'given'}\ncollate = default_collate"
        return "dataset = TensorDataset(*map(torch.as_tensor, given))\ncollate = default_collate"
    if isinstance(source, Stream) and source.batches:
        each = _EACH_KEYED if keyed else _EACH
        return f"{each.format(batches=_batches(given))}\ncollate = default_collate"
    data = "given.dataset" if loader else "given"
    collate = "given.collate_fn" if loader else "default_collate"
    if isinstance(source, Stream):
        return f"dataset = list(islice({data}, {count}))\ncollate = {collate}"
    transformed = isinstance(source, Items) and isinstance(source.items, Transformed)
    first = f"{data}.transform = transform\n" if transformed else ""
    return f"{first}dataset = {data}\ncollate = {collate}"


def _batches(given: Any) -> str:
    """The expression for all batches of the user's, in a fixed order."""
    if not isinstance(given, torch_data.DataLoader):
        return "given"
    if isinstance(given.dataset, torch_data.IterableDataset):
        return "map(given.collate_fn, given.dataset)"
    return "[given.collate_fn(given.dataset[i]) for i in range(len(given.dataset))]"


def logits_expression(out: Any) -> str:
    """Where the logits are in a network's output `out`, as `model_io.find_logits` finds them.

    Raises PruningError where there are none.
    """
    if isinstance(out, Tensor):
        return "out"
    place = ""
    keys = LOGITS_KEYS if isinstance(out, Mapping) else ()
    if key := next((key for key in keys if key in out), ""):
        out = out[key]
        place = f'["{key}"]'
    elif hasattr(out, "logits"):
        out = out.logits
        place = ".logits"
    if isinstance(out, tuple | list):
        out = out[0]
        place = f"{place}[0]"
    if not isinstance(out, Tensor):
        raise PruningError(f"The network gives {kind_text(type(out))} without logits.")
    return f"out{place}"
