"""The subjects of this process: those in the files that an environment variable names."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pruning_core.subjects.files import read_file
from pruning_core.subjects.subject import Subject
from pruning_core.types import PruningError

VARIABLE = "PRUNING_EXPLORER_SUBJECTS"
"""Environment variable with the subject files, separated as in PATH. Worker processes read it."""


def read_subjects(files: Sequence[Path] | None = None) -> tuple[dict[str, Subject], list[str]]:
    """Name -> subject, and a sentence for each file that cannot be used; the others are read.

    files: by default those in PRUNING_EXPLORER_SUBJECTS. The user's code is not imported.
    """
    subjects: dict[str, Subject] = {}
    problems = []
    for path in named_files() if files is None else files:
        try:
            new = {entry.name: entry.subject() for entry in read_file(path)}
            if twice := sorted(new.keys() & subjects.keys()):
                raise PruningError(
                    f"The file {path} names '{twice[0]}' again; "
                    f"{subjects[twice[0]].source} has it already."
                )
        except PruningError as problem:
            problems.append(str(problem))
        else:
            subjects |= new
    return subjects, problems


def subjects() -> dict[str, Subject]:
    """Name -> subject, of all files that can be read."""
    return read_subjects()[0]


def named_files() -> tuple[Path, ...]:
    """The files in PRUNING_EXPLORER_SUBJECTS, each once."""
    texts = filter(None, os.environ.get(VARIABLE, "").split(os.pathsep))
    return tuple(dict.fromkeys(Path(text).expanduser().resolve() for text in texts))


def name_subjects(files: Sequence[Path]) -> None:
    """Adds files to PRUNING_EXPLORER_SUBJECTS, for this process and its workers.

    Raises PruningError where a file that is named there cannot be used.
    """
    added = (Path(file).expanduser().resolve() for file in files)
    every = tuple(dict.fromkeys((*named_files(), *added)))
    if problems := read_subjects(every)[1]:
        raise PruningError(problems[0])
    if every:
        os.environ[VARIABLE] = os.pathsep.join(map(str, every))


@contextmanager
def subject_files(files: Sequence[Path]) -> Iterator[None]:
    """`name_subjects` for the length of a block. Without files it does nothing."""
    before = os.environ.get(VARIABLE)
    try:
        if files:
            name_subjects(files)
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before
