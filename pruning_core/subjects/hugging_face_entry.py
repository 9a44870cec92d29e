"""A [name] table of a subject file whose model is a folder of Hugging Face's form."""

from dataclasses import dataclass, replace
from pathlib import Path

from pruning_core.registry import find
from pruning_core.subjects.entry import Entry
from pruning_core.subjects.from_objects import workspace
from pruning_core.subjects.hugging_face import (
    LENGTH,
    PREFIX,
    ModelFolder,
    hugging_face,
    model_folder,
    text_parts,
)
from pruning_core.subjects.subject import Subject
from pruning_core.subjects.text_files import ENDINGS
from pruning_core.subjects.token_sequences import script_lines
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
        model = model_folder(self.model.removeprefix(PREFIX))
        return self._with_lines(space, model) if model.gives_tokens else space

    def _with_lines(self, space: Workspace, model: ModelFolder) -> Workspace:
        """With the lines of a script that needs transformers only."""
        assert space.lines is not None
        text = str(self.arguments.get("text", "text"))
        length = model.length(int(self.arguments.get("length", LENGTH)))
        files = text_parts(Path(self.data), (".txt", *ENDINGS))
        known = replace(
            space.lines,
            imports=(script_lines(model.path, model.architecture, text, length),),
            model="build_network()",
            splits={part: f"sequences({str(path)!r})" for part, path in files.items()},
        )
        return replace(space, lines=known)
