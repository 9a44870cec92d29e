"""Runs code that is not of this package. Its errors become one sentence with file and line."""

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from pruning_core.errors import COLOURS, Cancelled, PruningError, first_line

OBJECT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
"""package.module:name, or package.module:Class.name."""
OWN_FOLDER = Path(__file__).resolve().parent
LONGEST_MESSAGE = 300


@contextmanager
def user_code(action: str) -> Iterator[None]:
    """Turns every error of the block into a PruningError: action, message, file and line.

    action: what failed, such as "The function my_pkg.nets:build".
    An error that is one sentence already (PruningError) is not changed.

    >>> from pruning_core.types import PruningError
    >>> try:
    ...     with user_code("Reading the number"):
    ...         int("one")
    ... except PruningError as error:
    ...     print(str(error).partition(" (")[0])
    Reading the number failed: ValueError: invalid literal for int() with base 10: 'one'
    """
    try:
        yield
    except (PruningError, Cancelled):
        raise
    except (Exception, SystemExit) as error:
        raise PruningError(f"{action} failed: {error_words(error)}.") from error


def error_words(error: BaseException) -> str:
    """Type, first line of the message, file and line of an error, without a full stop.

    The line is the last one in code outside of this package and of the installed ones; without
    such a line, it is the line that raised the error.
    """
    has_message = bool(COLOURS.sub("", str(error)).strip())
    message = f": {first_line(error)[:LONGEST_MESSAGE].rstrip('. ')}" if has_message else ""
    if isinstance(error, SyntaxError):
        message = f": {error.msg}"
    kind = type(error).__name__
    file, line = _place(error)
    return f"{kind}{message} ({file}, line {line})" if file else f"{kind}{message}"


def _place(error: BaseException) -> tuple[str, int | None]:
    """The file and the line of `error_words`; "" where there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not Path(frame.filename).resolve().is_relative_to(OWN_FOLDER)
        and not frame.filename.startswith("<frozen")
    ]
    if not frames:
        return "", None
    theirs = [frame for frame in frames if not _installed(frame.filename)]
    last = (theirs or frames)[-1]
    return last.filename, last.lineno


def _installed(filename: str) -> bool:
    """Is the file part of an installed package or of Python?"""
    parts = Path(filename).parts
    library = Path(traceback.__file__).parent
    return (
        "site-packages" in parts
        or "dist-packages" in parts
        or Path(filename).is_relative_to(library)
        or filename.startswith("<")
    )


def import_object(path: str, what: str) -> Any:
    """The object at package.module:name. The module is imported, which runs it.

    what: what it is, for the error message, such as "model". Raises PruningError where there is no
    such module or name, and where the module raises an error.
    """
    if not OBJECT_PATH.fullmatch(path):
        raise PruningError(
            f"The {what} '{path}' is not a path such as my_package.my_module:my_function."
        )
    module_name, _, names = path.partition(":")
    with user_code(f"Importing the {what} {path}"):
        target: Any = import_module(module_name)
    for name in names.split("."):
        if not hasattr(target, name):
            raise PruningError(
                f"The {what} {path} is not there: {module_name} "
                f"({getattr(sys.modules.get(module_name), '__file__', 'no file')}) has no '{name}'."
            )
        target = getattr(target, name)
    return target
