"""The errors that the project raises on purpose, and the texts that their messages share."""

import re
from collections.abc import Sequence
from types import NoneType

COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
MAX_MESSAGE = 1500


class PruningError(ValueError):
    """Bad input. The message is one sentence: what was wrong, where, what to do.

    Of a message with more than `MAX_MESSAGE` characters, such as one that quotes a very long name,
    the middle is left out.

    >>> from pruning_core import Plan, PruningError
    >>> try:
    ...     Plan(sparsity=2.0)
    ... except PruningError as error:
    ...     print(error)
    A sparsity of 2.0 is outside [0, 1]: 0 removes nothing, 1 everything.
    """

    def __init__(self, message: object = "") -> None:
        text = str(message)
        half = MAX_MESSAGE // 2
        super().__init__(text if len(text) <= MAX_MESSAGE else f"{text[:half]} … {text[-half:]}")


class ResourceFailed(PruningError):
    """Storage or a worker process failed. What is being measured is not the cause."""


class DataMissing(PruningError):
    """Files are not on this machine and could not be downloaded."""


class Cancelled(Exception):
    """Raised inside long work when the user stopped it."""


_KINDS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    NoneType: "nothing (None)",
}


def kind_text(kind: object) -> str:
    """What a type of a value is called: int -> "a whole number", dict -> "a dict".

    >>> kind_text(int), kind_text(type(None)), kind_text(OSError)
    ('a whole number', 'nothing (None)', 'an OSError')
    """
    if kind in _KINDS:
        return _KINDS[kind]
    name = str(getattr(kind, "__name__", kind))
    article = "an" if name[0].lower() in "aeiou" else "a"
    return f"{article} {name}"


def shortened(names: Sequence[str], shown: int) -> str:
    """The first names, and how many more there are.

    >>> shortened(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = len(names) - shown
    first = ", ".join(names[:shown])
    return f"{first} and {more} more" if more > 0 else first


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has no message.

    Without the codes that colour a text in a terminal.

    >>> first_line(ValueError("\\x1b[96mNo such\\x1b[0m file\\nand more"))
    'No such file'
    """
    text = COLOURS.sub("", str(error)).strip()
    return (text or type(error).__name__).splitlines()[0]


def first_sentence(error: BaseException) -> str:
    """The first sentence of an error's first line, without its full stop."""
    return first_line(error).partition(". ")[0].removesuffix(".")
