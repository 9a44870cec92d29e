"""Commands that continue where a killed one of the same arguments ended."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pruning_core.cli.output import note
from pruning_core.history.records import content_id
from pruning_core.history.unfinished import Carried, Jobs, jobs_root
from pruning_core.types import PruningError


@contextmanager
def carried(
    description: Mapping[str, Any], command: str, *arguments: str
) -> Iterator[Carried | None]:
    """The job of a command with these arguments: an interrupted one continues, or a new one begins.

    None where nothing can be kept for that, or where another process carries the same out.
    """
    from pruning_core import __version__

    root = jobs_root()
    job = None
    try:
        if root is not None:
            job = Jobs(root).begin(content_id(__version__, command, *arguments), description)
            if job is None:
                note(f"another process carries out the same {command} now; this one keeps nothing")
    except PruningError as error:
        note(str(error))
    if job is None:
        yield None
        return
    with job:
        if job.before is not None:
            note(f"the same {command} was interrupted: it continues from what is kept of it")
        yield job
        for sentence in job.journal.sentences:
            note(sentence)
