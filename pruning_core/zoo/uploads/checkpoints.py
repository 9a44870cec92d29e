"""Fits an uploaded checkpoint to an architecture, and says what was mended and what is missing."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pruning_core.model.mask_files import beginnings, with_masks_applied
from pruning_core.model.tensor_files import plain_tensor
from pruning_core.types import PruningError
from pruning_core.zoo.uploads.architectures import AUXILIARY, MAX_PARAMETERS, Built

WRAPPERS = frozenset(("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
"""Parts of names that torch.compile, FSDP and activation checkpointing add."""
LEFT_OUT = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
"""Counters, whose absence or presence changes no result."""
AVERAGED = re.compile(r"(^|[._ ])(ema|swa|averaged?)([._ ]|$)|_ema\b|\bema_", re.IGNORECASE)
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
"""Names in DenseNet files from before torchvision 0.3."""
DEPTH = 3
MAX_DICTS = 200
MAX_NAME = 300
"""The longest name of a tensor."""
SHOWN = 200


@dataclass(frozen=True)
class Difference:
    """A tensor that the file and the network do not share.

    problem: missing, unexpected, other shape or other type; file, network: the shapes, or the
    types, "" for none.
    """

    name: str
    problem: str
    file: str
    network: str


@dataclass(frozen=True, eq=False)
class Fit:
    """What a checkpoint gives an architecture.

    classes: outputs of its head, 0 where the head was not found; state: name -> tensor, for all
    that fits; masks: of torch.nn.utils.prune, by parameter name, True = keep; expected: number of
    the network's tensors; notes: sentences on what was mended; choices: the sets of weights that
    fit, of which `chosen` was taken.
    """

    form: Built
    classes: int
    state: dict[str, Tensor]
    expected: int
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    chosen: str = ""
    masks: dict[str, Tensor] = field(default_factory=dict)

    def check(self) -> None:
        """Raises PruningError where the checkpoint does not fill the network."""
        if self.differences:
            first = self.differences[0]
            raise PruningError(
                f"The checkpoint does not fit {self.form.architecture}: {len(self.differences)} "
                f"of its tensors differ, such as {first.name[:80]} ({first.problem}). Choose the "
                "architecture and the input size that it was trained with."
            )
        for name, value in self.state.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise PruningError(f"The checkpoint has numbers in {name} that are not finite.")


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A dict of tensors in the file: where it is, and how its names start."""

    place: str
    prefix: str
    tensors: Mapping[str, Tensor]
    fitting: int

    @property
    def label(self) -> str:
        return " ".join(filter(None, (self.place, self.prefix))) or "the whole file"

    @property
    def averaged(self) -> bool:
        return AVERAGED.search(self.label) is not None


def fit(
    content: Mapping[str, Any], architecture: str, shape: tuple[int, int, int], chosen: str = ""
) -> Fit:
    """Finds the network's weights in the content of a file (`read_tensors`).

    architecture: checked with `check_architecture`; shape: of an image; chosen: which set of
    weights to take where the file has several, "" for the trained ones. Raises PruningError for a
    file without weights of the architecture.
    """
    names = _names(content)
    auxiliary = AUXILIARY.get(architecture)
    form = Built(architecture, shape, any(auxiliary and auxiliary in name for name in names))
    two = form.shapes(2)
    if sum(map(math.prod, two.values())) > MAX_PARAMETERS:
        raise PruningError(
            f"{architecture} has more than {MAX_PARAMETERS // 1_000_000} million weights: prune it "
            "with the command line."
        )
    candidates = _candidates(content, two)
    best = _choose(candidates, chosen, architecture, len(two))
    return _fit_one(form, best, candidates)


def _names(content: Mapping[str, Any]) -> list[str]:
    return [name for _, tensors in _dicts(content) for name in tensors]


def _dicts(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dict of tensors in the file, with its place, such as model.ema; at most MAX_DICTS."""
    unread: list[tuple[str, Mapping[Any, Any], int]] = [("", content, 0)]
    seen = 0
    while unread and seen < MAX_DICTS:
        place, current, depth = unread.pop(0)
        seen += 1
        tensors = {
            name: tensor
            for name, value in current.items()
            if isinstance(name, str)
            and len(name) <= MAX_NAME
            and (tensor := plain_tensor(value)) is not None
        }
        if tensors:
            yield place, tensors
        if depth < DEPTH:
            unread += [
                (f"{place}.{name}".lstrip("."), value, depth + 1)
                for name, value in list(current.items())[:MAX_DICTS]
                if isinstance(name, str) and isinstance(value, Mapping)
            ]


def _candidates(
    content: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]
) -> list[_Candidate]:
    """The dicts and prefixes of names under which parts of the network were found, best first."""
    candidates = []
    for place, raw in _dicts(content):
        tensors = {_plain_name(name): tensor for name, tensor in raw.items()}
        for prefix, fitting in _prefixes(tensors, expected).most_common(4):
            candidates.append(_Candidate(place, prefix, tensors, fitting))
    return sorted(candidates, key=lambda each: (-each.fitting, each.averaged))


def _plain_name(name: str) -> str:
    kept = ".".join(part for part in name.split(".") if part not in WRAPPERS)
    return OLD_DENSENET.sub(r"\1\2.", kept)


def _prefixes(tensors: Mapping[str, Tensor], expected: Mapping[str, object]) -> Counter[str]:
    """How many of the network's names the dict has behind each prefix."""
    counts: Counter[str] = Counter()
    for name in tensors:
        own = name.removesuffix("_orig")
        counts.update(p for p in beginnings(own) if own.removeprefix(p) in expected)
    return counts


def _choose(
    candidates: list[_Candidate], chosen: str, architecture: str, expected: int
) -> _Candidate:
    if not candidates:
        raise PruningError(
            f"No tensor in the file has a name that {architecture} has: choose the architecture "
            "of the checkpoint."
        )
    if best := next((each for each in candidates if each.label == chosen), None):
        return best
    best = candidates[0]
    if best.fitting * 2 < expected:
        raise PruningError(
            f"The file has {best.fitting} of the {expected} tensors of {architecture}, so it is a "
            "checkpoint of another network: choose its architecture."
        )
    near = [each for each in _alternatives(candidates) if not each.averaged]
    return near[0] if near else best


def _alternatives(candidates: list[_Candidate]) -> list[_Candidate]:
    """The sets of weights that fit about as well as the best."""
    return [each for each in candidates if each.fitting * 10 >= 9 * candidates[0].fitting]


def _fit_one(form: Built, best: _Candidate, candidates: list[_Candidate]) -> Fit:
    inside = {
        name.removeprefix(best.prefix): tensor
        for name, tensor in best.tensors.items()
        if name.startswith(best.prefix)
    }
    tensors, masks = with_masks_applied(inside)
    sizes = [len(tensors[name]) for name in form.head() if name in tensors and tensors[name].ndim]
    classes = sizes[0] if sizes else 0
    expected = form.shapes(classes or 2)
    integers = form.integers()
    differences = tuple(_differences(tensors, expected, integers))
    different = {row.name for row in differences}
    state = {
        name: tensors[name].to(torch.long if name in integers else torch.float, copy=True)
        for name in expected
        if name in tensors and name not in different
    }
    choices = tuple(dict.fromkeys(each.label for each in _alternatives(candidates)))
    return Fit(
        form,
        classes,
        state,
        len(expected),
        differences[:SHOWN],
        (*_notes(best, len(best.tensors) - len(inside), choices, masks), *_input_note(form)),
        choices,
        best.label,
        masks,
    )


def _differences(
    tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], integers: frozenset[str]
) -> Iterator[Difference]:
    for name, shape in expected.items():
        if name not in tensors:
            if not name.endswith(LEFT_OUT):
                yield Difference(name, "missing", "", _text(shape))
        elif tuple(tensors[name].shape) != shape:
            yield Difference(name, "other shape", _text(tensors[name].shape), _text(shape))
        elif name not in integers and not tensors[name].is_floating_point():
            kind = str(tensors[name].dtype).removeprefix("torch.")
            yield Difference(name, "other type", kind, "numbers of floating point")
    for name, tensor in tensors.items():
        if name not in expected and not name.endswith(LEFT_OUT):
            yield Difference(name, "unexpected", _text(tensor.shape), "")


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _input_note(form: Built) -> tuple[str, ...]:
    """What the file does not say of a network that may change its own input."""
    if form.architecture not in AUXILIARY:
        return ()
    return (
        "transform_input, which torchvision sets for its own weights, is off here: for a network "
        "that was trained with it, state the mean 0.5 and the standard deviation 0.5.",
    )


def _notes(
    best: _Candidate, outside: int, choices: tuple[str, ...], masks: Mapping[str, Tensor]
) -> Iterator[str]:
    if best.place:
        yield f"The weights were read from '{best.place[:80]}' in the file."
    if best.prefix:
        yield f"The prefix '{best.prefix[:80]}' was removed from the names."
    if outside:
        yield f"{outside} other tensors of the file were left out."
    if best.averaged:
        yield "These weights are an average over training (EMA)."
    if len(choices) > 1:
        yield f"The file has {len(choices)} sets of weights; '{best.label[:80]}' was taken."
    if masks:
        yield (
            f"{len(masks)} tensors have masks of torch.nn.utils.prune, which were applied; they "
            "are the masks to start from."
        )
