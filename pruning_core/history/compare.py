"""Two runs compared: on the same samples, and by their masks."""

from collections.abc import Mapping

from torch import Tensor

from pruning_core.history.history import History
from pruning_core.history.run import Run
from pruning_core.history.tensors import ANSWERS, MASKS, unpack_answers, unpack_masks
from pruning_core.tasks import Change, change
from pruning_core.types import Evaluation, PruningError


def final_answers(history: History, run: Run) -> Evaluation | None:
    """The answers of the run's last state; None where they were not kept."""
    content = history.file(run, ANSWERS)
    if content is None or not run.values:
        return None
    return unpack_answers(content, run.task.name).get(tuple(run.values)[-1])


def paired_change(history: History, before: Run, after: Run) -> Change | None:
    """The change between the runs' last values with its paired interval.

    None where the answers of one were not kept, or where both were measured on other samples.
    """
    first = before.final
    second = after.final
    same = before.fingerprint == after.fingerprint and before.task == after.task
    if not (same and first and second and (first.n, first.split) == (second.n, second.split)):
        return None
    answers = (final_answers(history, before), final_answers(history, after))
    if answers[0] is None or answers[1] is None:
        return None
    try:
        return change(answers[0], answers[1])
    except PruningError:
        return None


def masks_of(history: History, run: Run) -> dict[str, Tensor]:
    """The run's masks by layer, True = keep, in the order of the network; none where they were
    not kept.
    """
    content = history.file(run, MASKS)
    masks = {} if content is None else unpack_masks(content)
    places = {name: n for n, name in enumerate(run.kept)}
    last = len(places)  # a file of tensors has an order of its own
    return dict(sorted(masks.items(), key=lambda item: places.get(item[0], last)))


def overlap(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, float]:
    """Of the weights that either masks remove, the share that both remove, for each layer.

    |R1 and R2| / |R1 or R2|, Jaccard 1901. 1 where neither removes one. Layers that only one of
    them has, or of another shape, are left out.
    """
    shares = {}
    for name in one.keys() & other.keys():
        if one[name].shape == other[name].shape:
            either = int((~one[name] | ~other[name]).sum())
            both = int((~one[name] & ~other[name]).sum())
            shares[name] = both / either if either else 1.0
    return {name: shares[name] for name in one if name in shares}


def total_overlap(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float | None:
    """`overlap` over all layers that both have; None where there are none."""
    names = overlap(one, other)
    if not names:
        return None
    either = sum(int((~one[name] | ~other[name]).sum()) for name in names)
    both = sum(int((~one[name] & ~other[name]).sum()) for name in names)
    return both / either if either else 1.0
