"""A workspace of the user's own network and data, given as Python objects."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from pruning_core.model.held_buffers import hold_changed
from pruning_core.model.inventory import (
    inventory,
    unprunable_parameters,
)
from pruning_core.model.model_io import input_tensors
from pruning_core.subjects.image_folder import SCRIPT, ImageFiles, image_folder
from pruning_core.subjects.network_notes import (
    notes_on_buffers,
    notes_on_chance,
    notes_on_frozen,
    notes_on_outputs,
    notes_on_task,
)
from pruning_core.subjects.networks import HALF, model_dtype, own_copy, trial, unwrapped
from pruning_core.subjects.options import Options, check_options
from pruning_core.subjects.reading import MEMORY, Reader, with_dtype
from pruning_core.subjects.samples import ItemSplit, Pair, Samples
from pruning_core.subjects.script_lines import logits_expression, reading_lines
from pruning_core.subjects.sources import class_names
from pruning_core.tasks import CLASSIFICATION, Classification, LanguageModel, Task, as_task
from pruning_core.types import Dataset, Inputs, PruningError
from pruning_core.user_code import OBJECT_PATH, user_code
from pruning_core.workspaces.space import Workspace
from pruning_core.workspaces.user_lines import UserLines
from pruning_core.zoo.folders import split_folders
from pruning_core.zoo.image_files import loose_images
from pruning_core.zoo.splits import stratified

Part = Samples | ItemSplit
SAMPLES_SHOWN = 2
"""Samples that the network computes when it is opened."""
TASK_OF_OUTPUTS = {1: "binary", 3: "language_model", 4: "segmentation"}
"""Number of axes of a network's outputs -> the task that such outputs are usually for."""


def workspace(
    model: Any, train: Any, val: Any = None, test: Any = None, **options: Unpack[Options]
) -> Workspace:
    """Opens a network and data of your own. Neither is changed.

    model: a copy of it is used, in eval mode on the CPU, float16 and bfloat16 as float32.
    train, val, test: each a DataLoader, a data set, a folder of images with one sub-folder per
    class, or tensors (inputs, targets). A loader's samples are read in the order of its data set,
    whatever its sampler. Without val or test, parts of train take their place; `Workspace.notes`
    says which, and everything else that you may not expect. options: see `Options`.

    Raises PruningError, in one sentence, for what cannot be opened.

    >>> import torch
    >>> from torch import nn
    >>> from pruning_core import workspace
    >>> x, y = torch.rand(40, 4), torch.arange(40) % 2
    >>> space = workspace(nn.Linear(4, 2), train=(x, y), test=(x, y))
    >>> len(space.layers), len(space.dataset.test), space.dataset.classes
    (1, 40, ('0', '1'))
    """
    check_options(options)
    return _Opening(model, {"train": train, "val": val, "test": test}, options).workspace()


@dataclass
class _Opening:
    """The steps from the user's objects to a workspace."""

    model: Any
    given: dict[str, Any]
    options: Options

    def workspace(self) -> Workspace:
        task = as_task(self.options.get("task", CLASSIFICATION))
        network, notes = own_copy(self.model)
        notes += notes_on_frozen(network)
        reader = self._reader(network, task)
        splits = self._splits(reader)
        x = _first_samples(splits["train"])[0]
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        out = trial(network, x, origin=self.model)
        notes += notes_on_buffers(hold_changed(network, buffers))
        dataset = self._dataset(network, task, splits, out, tuple(reader.notes))
        if (example := self.options.get("example")) is not None:
            with user_code("Reading example="):
                x = with_dtype(example, reader.dtype)
            trial(network, x, "example=")
        layers = inventory(network, x, embeddings=self.options.get("embeddings", False))
        return Workspace(
            network,
            dataset,
            layers,
            unprunable_parameters(network, layers),
            x,
            notes,
            self.options.get("name", "network"),
            self._lines(reader, task, out),
        )

    def _lines(self, reader: Reader, task: Task, out: Any) -> UserLines:
        """What an exported script needs to know of the user's objects."""
        half = {p.dtype for p in unwrapped(self.model)[0].parameters()} & set(HALF)
        reading = {
            part: reading_lines(
                self.given[part], source, reader.counts[part], keyed=part in reader.keyed
            )
            for part, source in reader.sources.items()
        }
        return UserLines(
            reading,
            frozenset(reader.seeded),
            dict(reader.keyed),
            frozenset(reader.bare),
            "task.outputs(out)" if task.own_outputs else logits_expression(out),
            bool(half),
            batch="read_batch" if reader.batch else "",
            pruned=prune.is_pruned(unwrapped(self.model)[0]),
            task=_task_path(self.options.get("task"), task),
            imports=(SCRIPT,) if isinstance(self.given["train"], ImageFiles) else (),
        )

    def _reader(self, network: nn.Module, task: Task) -> Reader:
        options = self.options
        return Reader(
            options.get("transform"),
            options.get("batch"),
            options.get("samples"),
            options.get("memory", MEMORY),
            model_dtype(network),
            _unlabelled(task),
        )

    def _splits(self, reader: Reader) -> dict[str, Part]:
        """train, val and test, read or made."""
        if self.given["train"] is None:
            raise PruningError("train= is missing: criteria read training samples.")
        self._divide_folder()
        for part, value in self.given.items():
            if isinstance(value, str | Path):
                folder = Path(value).expanduser()
                self.given[part] = image_folder(folder, part, reader.transform)
                reader.notes += loose_images(folder.parent, folder)
        # Validation and test samples are read at every change, so they are kept in memory first.
        parts = {
            part: reader.read(self.given[part], part)
            for part in ("test", "val", "train")
            if self.given[part] is not None
        }
        for part in ("val", "test"):
            if self.given[part] is self.given["train"]:
                reader.notes.append(
                    f"{part}= is the same object as train=: its value is not one of new samples."
                )
        _check_same_classes(self.given)
        return _with_missing(parts, reader.notes)

    def _divide_folder(self) -> None:
        """Takes train, val and test out of a folder that holds all of them."""
        train = self.given["train"]
        parts = {}
        if isinstance(train, str | Path) and (root := Path(train).expanduser()).is_dir():
            parts = split_folders(root)
        if parts and any(self.given[part] is not None for part in ("val", "test")):
            raise PruningError(
                f"train= is a folder with the folders {', '.join(p.name for p in parts.values())}: "
                "give it alone, or give each of them as its split."
            )
        self.given |= parts

    def _dataset(
        self,
        network: nn.Module,
        task: Task,
        splits: dict[str, Part],
        out: Any,
        notes: tuple[str, ...],
    ) -> Dataset:
        """The data set. out: what the network gives for the first samples of train."""
        outputs = self.options.get("outputs")
        classes = self.options.get("classes")
        judged = _judged(task, out, outputs)
        if isinstance(task, Classification):
            names = _class_names(classes, outputs, self.given, judged)
            for part in () if task.dense_answers else splits.values():
                _check_labels(part, len(names), task.ignore_index)
        else:
            names = _numbered(classes or ())
        again = {
            part: _check_first(network, task, split)
            for part, split in splits.items()
            if self.given[part] is not None
        }
        notes += notes_on_outputs(out, task) + notes_on_chance(judged, again["train"])
        notes += notes_on_task(network, splits["train"], task, again["train"])
        first = _first_samples(splits["train"])[0]
        return Dataset(
            self.options.get("data", "data"),
            names,
            _shape(first),
            splits["train"],
            splits["val"],
            splits["test"],
            None if outputs is None else tuple(int(output) for output in outputs),
            notes,
            _with_sample_word(task, first),
        )


def _judged(task: Task, out: Any, outputs: Sequence[int] | None) -> Tensor:
    """What the task reads of the network's output.

    Raises PruningError where outputs= would choose among outputs that the task chooses itself.
    """
    with user_code(f"Reading the network's output for the task {task.name}"):
        judged = task.outputs(out)
    if outputs is not None and task.own_outputs:
        raise PruningError(
            f"outputs= chooses among logits, and the task {task.name} reads outputs of its own: "
            "choose them in its function `outputs`."
        )
    return judged


def _numbered(classes: Sequence[str] | int) -> tuple[str, ...]:
    """Class names: those given, or numbers."""
    return tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)


def _task_path(given: Any, task: Task) -> str:
    """package.module:object of the user's task, "" where there is none that can be imported."""
    path = given if isinstance(given, str) else task.name
    return "" if path.startswith("__main__") or not OBJECT_PATH.fullmatch(path) else path


def _check_first(network: nn.Module, task: Task, part: Part) -> Tensor:
    """What the network gives for the first samples of a split, as the task reads it.

    Raises PruningError where they do not fit.
    """
    x, y = _first_samples(part)
    out = trial(network, x, f"the first samples of {part.given}=")
    with user_code(f"Comparing outputs and targets of {part.given}= by the task {task.name}"):
        judged = task.outputs(out)
        targets = task.answers(judged) if task.dense_answers else y
        task.check(judged, targets)
        task.try_functions(judged, targets)
    return judged


def _with_sample_word(task: Task, x: Inputs) -> Task:
    """The task with "sequences" or "samples" where its word "images" does not fit the inputs."""
    first = input_tensors(x)[0]
    if task.samples != "images" or first.ndim == 4:
        return task
    tokens = first.ndim == 2 and not first.is_floating_point()
    return replace(task, samples="sequences" if tokens else "samples")


def _first_samples(train: Part) -> Pair:
    return next(train.subset(range(min(SAMPLES_SHOWN, len(train)))).batches(SAMPLES_SHOWN))


def _unlabelled(task: Task) -> str:
    """What the targets of batches without targets are (`ReadBatch`)."""
    if task.dense_answers:
        return "none"
    return "inputs" if isinstance(task, LanguageModel) and task.shift else ""


def _shape(x: Inputs) -> tuple[int, int, int]:
    """C x H x W of images, 1 x 1 x length of anything else."""
    first = input_tensors(x)[0]
    if first.ndim == 4:
        return int(first.shape[1]), int(first.shape[2]), int(first.shape[3])
    return 1, 1, int(first.shape[1]) if first.ndim > 1 else 1


def _with_missing(parts: dict[str, Part], notes: list[str]) -> dict[str, Part]:
    """All three splits: what is missing is a part of train, or val as test. Notes say which."""
    train = parts["train"]
    if "val" in parts and "test" in parts:
        return parts
    if "test" in parts or "val" in parts:
        val, rest = divided(train, 0.1)
        test = parts.get("test", parts.get("val"))
        assert test is not None
        if "test" not in parts:
            notes.append("There is no test=: the samples of val= are the test split.")
        notes.append(
            f"A tenth of train=, {len(val):,} samples, is the validation split and is not trained "
            "on here. If the network was trained on it already, its validation value is too good."
        )
        return {"train": rest, "val": val, "test": test}
    test, val, rest = divided(train, 0.2, 0.2)
    notes.append(
        f"There is no val= and no test=: {len(val):,} and {len(test):,} samples of train= take "
        "their place and are not trained on here. If the network was trained on them already, its "
        "validation and test values are too good."
    )
    return {"train": rest, "val": val, "test": test}


def divided(whole: Part, *fractions: float) -> list[Part]:
    """Parts with these fractions of the samples, then the rest. Class numbers are stratified.

    Raises PruningError where a part would be empty.
    """
    order = fixed_order(whole.labels)
    parts: list[Part] = []
    for fraction in fractions:
        size = max(1, round(fraction * len(whole)))
        parts.append(whole.subset(order[:size].tolist()))
        order = order[size:]
    if not len(order):
        raise PruningError(
            f"{len(whole)} samples of train= are too few to make the missing splits of them: "
            "give val= and test=."
        )
    return [*parts, whole.subset(order.tolist())]


def fixed_order(labels: Tensor) -> Tensor:
    """All indices in a fixed order, stratified where the labels are class numbers."""
    if labels.ndim == 1 and not labels.is_floating_point():
        return stratified(labels)
    return torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))


def _check_same_classes(given: dict[str, Any]) -> None:
    """Raises PruningError where two splits number their classes differently."""
    named = {part: names for part, value in given.items() if (names := class_names(value))}
    if len(set(named.values())) > 1:
        first, *others = named
        other = next(part for part in others if named[part] != named[first])
        raise PruningError(
            f"{first}= and {other}= have different classes, so their numbers mean different "
            "things: give both the same class folders."
        )


def _class_names(
    classes: Sequence[str] | int | None,
    outputs: Sequence[int] | None,
    given: dict[str, Any],
    logits: Tensor,
) -> tuple[str, ...]:
    """One name per class: those given, those that the data states, or numbers."""
    if logits.ndim != 2:
        raise PruningError(
            f"The network gives outputs of shape {tuple(logits.shape)}; a classifier gives one "
            f"row of logits per sample. For another task give task=, such as "
            f"'{TASK_OF_OUTPUTS.get(logits.ndim, 'regression')}'."
        )
    stated = next(filter(None, (class_names(value) for value in given.values())), ())
    count = logits.shape[1] if outputs is None else len(outputs)
    names = _numbered(classes or stated or count)
    if len(names) != count:
        raise PruningError(
            f"The network gives {count} outputs per sample, and the data has {len(names)} classes: "
            "give outputs=, the number of the output of each class in order."
        )
    if outputs is not None and not all(0 <= output < logits.shape[1] for output in outputs):
        raise PruningError(
            f"outputs= names an output that is not one of the network's {logits.shape[1]}."
        )
    return names


def _task_of_targets(labels: Tensor) -> str:
    """The task that targets like these are usually for."""
    if bool(((labels == 0) | (labels == 1)).all()) and labels.ndim <= 2:
        return "multi_label" if labels.ndim == 2 and labels.shape[1] > 1 else "binary"
    return "segmentation" if labels.ndim >= 3 else "regression"


def _check_labels(part: Part, classes: int, ignored: int) -> None:
    """Raises PruningError for targets that are no class numbers."""
    labels = part.labels
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        kind = str(labels.dtype).removeprefix("torch.")
        raise PruningError(
            f"The targets of {part.given}= are {kind} of shape {tuple(labels.shape)}; "
            "classification needs one class number per sample. For another task give task=, such "
            f"as '{_task_of_targets(labels)}'."
        )
    outside = labels[((labels < 0) | (labels >= classes)) & (labels != ignored)]
    if len(outside):
        raise PruningError(
            f"{part.given}= has the class number {int(outside[0])}, and the network has "
            f"{classes} classes, numbered from 0."
        )
