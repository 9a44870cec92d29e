"""Files that commands read and write, and the workspaces that they open."""

from pathlib import Path

from pruning_core.cli.output import note
from pruning_core.plan import Plan
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace, open_workspace


def read_plan(path: Path) -> Plan:
    """The plan in a JSON file. Raises PruningError where it cannot be read."""
    return Plan.from_json(read_text(path, "plan"))


def read_text(path: Path, content: str) -> str:
    """The text of a file. content: what it holds, for the PruningError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PruningError(f"The {content} {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PruningError(f"The {content} {path} is not a text file in UTF-8.") from error


def open_noted(plan: Plan) -> Workspace:
    """Opens the plan's network and data, and reports how data of the user's was read."""
    space = open_workspace(plan.model, plan.dataset)
    for sentence in space.notes:
        note(sentence)
    return space


def make_folder(path: Path) -> Path:
    """The folder, made where it does not exist. Raises PruningError where that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PruningError(f"The folder {path} cannot be made: {error.strerror}.") from error
    return path


def output_file(path: Path, example: str = "curves.csv") -> Path:
    """The path of a file to write; its folder is made.

    Call it before the work, so that a wrong path does not waste the work. Raises PruningError for a
    path that is a folder; example: a file name for this message.
    """
    if path.is_dir():
        raise PruningError(f"{path} is a folder. Name a file, such as {path / example}.")
    make_folder(path.parent)
    return path
