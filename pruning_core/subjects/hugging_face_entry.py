"""A [name] table of a subject file whose model is a folder of Hugging Face's form."""

from dataclasses import dataclass, replace
from pathlib import Path

from pruning_core.registry import find
from pruning_core.subjects.entry import Entry
from pruning_core.subjects.from_objects import workspace
from pruning_core.subjects.hugging_face import PREFIX, hugging_face
from pruning_core.subjects.subject import Subject
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
            help=self.help or f"A classifier of Hugging Face's form, in {folder}.",
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
        if self.task and self.task != given.setdefault("task", self.task):
            raise PruningError(
                f"{where} has the task {self.task}, and its texts have no labels: "
                f"the task is {given['task']}."
            )
        if self.samples is not None:
            given["samples"] = self.samples
        return workspace(network, **given, name=self.name, data=f"{self.name}_data")
