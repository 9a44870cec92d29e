"""One [name] table of a subject file: where the network and its data are, and how to open them."""

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from pruning_core.errors import kind_text
from pruning_core.registry import find
from pruning_core.subjects.from_objects import workspace
from pruning_core.subjects.image_folder import SCRIPT
from pruning_core.subjects.networks import WRAPPERS
from pruning_core.subjects.subject import Subject
from pruning_core.subjects.weights import load_weights
from pruning_core.types import PruningError
from pruning_core.user_code import OBJECT_PATH, import_object, user_code
from pruning_core.workspaces.space import Workspace
from pruning_core.workspaces.user_lines import UserLines
from pruning_core.zoo.folders import split_folders

SPLITS = ("train", "val", "test")
SETTINGS = ("task", "classes", "outputs", "example", "batch", "embeddings", "samples", "memory")
"""What the data function may give besides the splits: arguments of `workspace`."""


@dataclass(frozen=True, eq=False)
class Entry:
    """The settings of one subject. Paths are absolute.

    model: package.module:function that builds the network, or the network itself; arguments: of
    that function; weights: a safetensors file, or a file of torch.save; data: a function that gives
    the splits, or a folder of images; data_arguments: of that function; transform: of images,
    package.module:name; classes, outputs, samples, task, embeddings: as in `workspace`; path:
    folders that Python imports from.
    """

    name: str
    file: Path
    model: str
    data: str
    weights: Path | None = None
    transform: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    data_arguments: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] | int | None = None
    outputs: tuple[int, ...] | None = None
    task: str = ""
    samples: int | None = None
    embeddings: bool = False
    label: str = ""
    help: str = ""
    path: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path | None:
        """The folder of images; None where a function gives the data."""
        return None if OBJECT_PATH.fullmatch(self.data) else Path(self.data)

    def subject(self) -> Subject:
        """The entry in the form that pages and commands use."""
        data = f"the images in {self.folder}" if self.folder else f"what {self.data} gives"
        return Subject(
            name=self.name,
            dataset=f"{self.name}_data",
            open=self.open,
            label=self.label or self.name,
            help=self.help or f"A network of your own, built by {self.model}.",
            source=f"[{self.name}] in {self.file}",
            data_label=f"Data of {self.label or self.name}",
            data_help=f"The data is {data}.",
        )

    def open(self) -> Workspace:
        """Builds the network, loads its weights, reads its data.

        Raises PruningError, with file and line, for every error in the user's code.
        """
        add_to_path(self.path, self.model, "" if self.folder else self.data, self.transform)
        network = self._network()
        loaded = None if self.weights is None else load_weights(network, self.weights)
        given, expressions = self.splits()
        own: dict[str, Any] = {
            "task": self.task or None,
            "classes": self.classes,
            "outputs": self.outputs,
            "samples": self.samples,
            "embeddings": self.embeddings or None,
        }
        if self.transform:
            own["transform"] = import_object(self.transform, "transform")
        settings = given | {key: value for key, value in own.items() if value is not None}
        space = workspace(network, **settings, name=self.name, data=f"{self.name}_data")
        assert space.lines is not None
        lines = self.lines(space.lines, network, expressions)
        if loaded is None:
            return replace(space, lines=lines)
        lines = replace(lines, imports=lines.imports + loaded.imports, weights=loaded.expression)
        return replace(space, lines=lines, read=space.read + loaded.notes)

    def _network(self) -> nn.Module:
        build = import_object(self.model, "model")
        if isinstance(build, nn.Module):
            if self.arguments:
                raise PruningError(f"{self.model} is a network, so it takes no arguments.")
            return build
        if not callable(build):
            raise PruningError(
                f"{self.model} is {kind_text(type(build))}; it must be a function that builds an "
                "nn.Module."
            )
        with user_code(f"Building the network by {self.model}"):
            network = build(**self.arguments)
        if not isinstance(network, nn.Module):
            raise PruningError(
                f"{self.model} gave {kind_text(type(network))}, which is no nn.Module."
            )
        return network

    def splits(self) -> tuple[dict[str, Any], dict[str, str]]:
        """train, val and test, with settings that the data function gives; and for each of them
        the expression that gives it.
        """
        if self.folder is not None:
            if self.data_arguments:
                raise PruningError(
                    f"'data_arguments' of [{self.name}] in {self.file} are for a function, but "
                    "data names a folder."
                )
            folders = folder_splits(self.folder)
            return dict(folders), {part: repr(path) for part, path in folders.items()}
        load = import_object(self.data, "data")
        with user_code(f"Reading the data by {self.data}"):
            given = load(**self.data_arguments)
        named = named_splits(given, self.data)
        keys = {key: key if isinstance(given, Mapping) else at for at, key in enumerate(named)}
        call = f"{_import_line(self.data, 'load_data')[0]}({_stated(self.data_arguments)})"
        return named, {key: f"{call}[{at!r}]" for key, at in keys.items()}

    def lines(self, known: UserLines, network: nn.Module, splits: Mapping[str, str]) -> UserLines:
        """The lines of a program that builds the same network and reads the same data.

        known: how the data is read; splits: split, or "batch" -> expression that gives it.
        """
        expression, line = _import_line(self.model, "build_network")
        imports = [line]
        if self.folder is None:
            imports.append(_import_line(self.data, "load_data")[1])
        if any("Images(" in reading for reading in known.reading.values()):
            imports.append(SCRIPT)
        if self.transform:
            imports.append(_import_line(self.transform, "transform")[1])
        is_network = isinstance(import_object(self.model, "model"), nn.Module)
        return replace(
            known,
            path=tuple(map(str, self.path)),
            imports=tuple(imports),
            model=expression if is_network else f"{expression}({_stated(self.arguments)})",
            unwrap=WRAPPERS.get(type(network).__name__, ""),
            splits={name: text for name, text in splits.items() if name in SPLITS},
            batch=splits.get("batch", ""),
        )


def _stated(arguments: Mapping[str, Any]) -> str:
    """Arguments as they stand in a call."""
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _import_line(path: str, alias: str) -> tuple[str, str]:
    """The expression for the object at package.module:name, and the line that imports it."""
    module, _, names = path.partition(":")
    first, dot, rest = names.partition(".")
    return f"{alias}{dot}{rest}", f"from {module} import {first} as {alias}"


def add_to_path(folders: tuple[Path, ...], *imported: str) -> None:
    """Python also imports from these folders, after its own, until the process ends.

    imported: package.module:name of what is imported next. Raises PruningError where another
    package of that name hides the one in the folders.
    """
    for missing in (folder for folder in folders if not folder.is_dir()):
        raise PruningError(f"The folder {missing} of 'path' does not exist.")
    for folder in map(str, folders):
        if folder not in sys.path:
            sys.path.append(folder)
    for path in filter(None, imported):
        name = path.partition(":")[0].partition(".")[0]
        own = [f for f in folders if (f / name).is_dir() or (f / f"{name}.py").is_file()]
        spec = importlib.util.find_spec(name) if own else None
        places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
        if own and not any(Path(place).is_relative_to(f) for place in places for f in own):
            raise PruningError(
                f"Another package called '{name}' ({places[0] if places else 'unknown'}) hides the "
                f"one in {own[0]}: give one of them another name."
            )


def folder_splits(folder: Path) -> dict[str, str]:
    """The folders of train, val and test in a folder of images; all of it is train without them.

    Raises PruningError where the folder is missing.
    """
    if not folder.is_dir():
        raise PruningError(
            f"There is no folder of images at {folder}; a function is written "
            "my_package.my_module:my_function."
        )
    parts = split_folders(folder) or {"train": folder}
    return {part: str(path) for part, path in parts.items()}


def named_splits(given: Any, source: str) -> dict[str, Any]:
    """What a data function gave, by name: a dict, (train, test) or (train, val, test).

    Raises PruningError for another form, an unknown name, or no train.
    """
    if isinstance(given, list | tuple) and len(given) in (2, 3):
        names = SPLITS if len(given) == 3 else ("train", "test")
        return dict(zip(names, given, strict=True))
    if not isinstance(given, Mapping):
        kind = kind_text(type(given))
        if isinstance(given, list | tuple):
            kind = f"{len(given)} parts"
        raise PruningError(
            f"{source} gave {kind}; it must give (train, test), (train, val, test) or a dict with "
            "the keys train, val and test."
        )
    known = dict.fromkeys((*SPLITS, *SETTINGS))
    for key in given:
        find(known, key, f"part of what {source} gives called")
    if "train" not in given:
        raise PruningError(f"{source} gave no 'train'.")
    return dict(given)
