"""A [name] table of a subject file whose model is a folder of Hugging Face's form."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pruning_core.registry import find
from pruning_core.subjects.entry import Entry, folder_splits
from pruning_core.subjects.from_objects import workspace
from pruning_core.subjects.hugging_face import (
    LENGTH,
    PREFIX,
    ModelFolder,
    hugging_face,
    model_folder,
    text_parts,
)
from pruning_core.subjects.hugging_face_script import image_lines, sequence_lines, text_lines
from pruning_core.subjects.subject import Subject
from pruning_core.subjects.text_files import ENDINGS
from pruning_core.types import PruningError
from pruning_core.workspaces.space import Workspace

ARGUMENTS = {"text": str, "label": str, "second": str, "length": int}
"""Keys of the table `arguments` -> type."""


@dataclass(frozen=True, eq=False)
class HuggingFaceEntry(Entry):
    """model: hf: and the folder; data: a file of texts, or a folder; arguments: its columns."""

    def subject(self) -> Subject:
        """The entry in the form that pages and commands use."""
        folder = self.model.removeprefix(PREFIX)
        return replace(
            super().subject(),
            help=self.help or f"A network of Hugging Face's form, in {folder}.",
            data_help=f"The data is in {self.data}.",
        )

    def open(self) -> Workspace:
        """Loads the network and reads the data. Raises PruningError where that is not possible."""
        where = f"[{self.name}] in {self.file}"
        for key in ("weights", "transform", "classes", "outputs"):
            if getattr(self, key):
                raise PruningError(
                    f"{where} has {key}, which the folder of the model gives: remove it."
                )
        for key, value in self.arguments.items():
            if not isinstance(value, find(ARGUMENTS, key, f"argument in {where} called")):
                raise PruningError(f"The argument {key} of {where} is {value!r}.")
        network, given = hugging_face(
            self.model.removeprefix(PREFIX), Path(self.data), **self.arguments
        )
        if self.task == "token_agreement" and given.get("task") == "language_model":
            given["task"] = self.task
        if self.task and self.task != given.setdefault("task", self.task):
            raise PruningError(
                f"{where} has the task {self.task}, and its texts have no labels for it: "
                f"the task is {given['task']}."
            )
        if self.samples is not None:
            given["samples"] = self.samples
        space = workspace(network, **given, name=self.name, data=f"{self.name}_data")
        return self._with_lines(space, model_folder(self.model.removeprefix(PREFIX)))

    def _with_lines(self, space: Workspace, model: ModelFolder) -> Workspace:
        """With the lines of a script that needs transformers only."""
        assert space.lines is not None
        own = self._script(model)
        if model.reads_images:
            splits = {part: repr(path) for part, path in folder_splits(Path(self.data)).items()}
            own = (*space.lines.imports, *own)
        else:
            files = text_parts(Path(self.data), (".txt", *ENDINGS))
            splits = {part: f"samples({str(path)!r})" for part, path in files.items()}
        known = replace(
            space.lines,
            imports=own,
            model="build_network()",
            splits=splits,
        )
        return replace(space, lines=known)

    def _script(self, model: ModelFolder) -> tuple[str, ...]:
        arguments: dict[str, Any] = {"text": "text", "label": "label", "second": ""}
        arguments |= self.arguments
        length = int(arguments.get("length", LENGTH))
        if model.reads_images:
            return (image_lines(model.path, model.architecture),)
        if model.gives_tokens:
            length = model.length(length)
            return (sequence_lines(model.path, model.architecture, arguments["text"], length),)
        columns = tuple(filter(None, (arguments["text"], arguments["second"])))
        label = arguments["label"]
        return (text_lines(model.path, model.architecture, columns, label, model.classes, length),)
