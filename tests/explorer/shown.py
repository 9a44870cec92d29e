"""Every text that a page shows in an AppTest, and the English in a text."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from streamlit.dataframe_util import convert_arrow_bytes_to_pandas_df
from streamlit.testing.v1 import AppTest

HIDDEN = {
    "id",
    "url",
    "icon",
    "type",
    "tag",
    "format",
    "config",
    "theme",
    "language",
    "element_id",
    "form_id",
    "group_id",
    "page_script_hash",
    "page",
    "query_string",
    "component_name",
    "js_content",
    "css_content",
    "deferred_file_id",
    "query_param_key",
    "selection_state",
    "data_test_id",
    "code_text",
}
"""Fields of Streamlit's messages with no text for people. code_text: Python, and its output."""
NOT_WORDS = {
    "colorscale",
    "font",
    "color",
    "colors",
    "type",
    "mode",
    "uid",
    "family",
    "template",
    "uirevision",
    "bdata",
}
"""Keys of a figure whose values are no texts. bdata: numbers."""
WORD = r"(?<![\w@./\\=&#-])(?:[A-Za-z]{2,}|a)(?:['’-][A-Za-z]+)*(?![\w@=(/\\]|[.][\w*])"
ENGLISH = re.compile(rf"{WORD}(?:[\s,;:·]+{WORD}){{2,}}")
"""Three words or more in a row."""
MARKUP = re.compile(
    r"`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|:material/\w+:|https?://\S+|%\{[^}]*\}|&#?\w+;"
    r"|\barXiv:\S+|:\w+(?=\[)|\b(?:[a-z]\w*, ){4,}[a-z]\w*",
    re.DOTALL,
)
"""Code, formulas, addresses, places of hover texts, colours; the columns of a file."""
NAMES = re.compile(
    "|".join(
        map(
            re.escape,
            (
                "GPU Kernels for Block-Sparse Weights",  # titles of papers
                "Optimal Brain Damage",
                "What is the State of Neural Network Pruning",
                "NVIDIA TensorRT Model Optimizer",  # a program
            ),
        )
    )
)
"""Names of three words or more, which stay as they are."""
AUTHORS = re.compile(
    r"[A-Z][\w'’-]+(?:(?:,? and |, )[A-Z][\w'’-]+)*(?:(?: et al\.?| 等)(?:,? \d{4})?|,? \d{4})"
)
"""As in Han et al. 2015, or Zhu and Gupta 2017."""
TAG = re.compile(r"<(style|script)\b.*?</\1>|<[^<>]*>", re.DOTALL)
TITLES = re.compile(r"\b(?:title|alt|aria-label|placeholder)=(?:\"([^\"]*)\"|'([^']*)')")


def shown(at: AppTest) -> Iterator[tuple[str, str]]:
    """Where a text is, such as "Selectbox.help", and the text."""
    for element in at._tree:
        message = getattr(element, "proto", None)
        if message is not None:
            yield from _message(message, message.DESCRIPTOR.name)


def _message(message: Any, path: str) -> Iterator[tuple[str, str]]:
    if hasattr(message, "arrow_data") and message.arrow_data.data:
        yield from _table(message, path)
    for field, value in message.ListFields():
        where = f"{path}.{field.name}"
        if field.name in HIDDEN or (
            field.message_type and field.message_type.GetOptions().map_entry
        ):
            continue
        for part in value if field.is_repeated else [value]:
            if isinstance(part, bytes):
                yield from _bytes(part, where)
            elif isinstance(part, str):
                yield from _text(part, where)
            elif field.message_type:
                yield from _message(part, where)


def _table(message: Any, path: str) -> Iterator[tuple[str, str]]:
    """The titles and the cells of a table. A column's configuration may give its title."""
    columns = json.loads(getattr(message, "columns", "") or "{}")
    table = convert_arrow_bytes_to_pandas_df(message.arrow_data.data)
    for name in table.columns:
        own = columns.get(str(name), {})
        if not own.get("hidden"):
            yield f"{path} title", str(own.get("label") or name)
            for cell in table[name]:
                yield from ((f"{path} cell", text) for text in _values(cell))


def _bytes(data: bytes, where: str) -> Iterator[tuple[str, str]]:
    """The head of a layer for the mask lab."""
    if where.startswith("BidiComponent") and (start := data.find(b"{")) >= 0:
        head, _ = json.JSONDecoder().raw_decode(data[start:].decode("utf-8", "replace"))
        yield from ((where, text) for text in _values(head))


def _text(text: str, where: str) -> Iterator[tuple[str, str]]:
    if text.startswith(("{", "[")) and where.endswith((".spec", ".columns", ".json")):
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            yield where, text
        else:
            yield from ((where, part) for part in _values(value))
    else:
        yield where, text


def _values(value: Any) -> Iterator[str]:
    """All texts in what JSON holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if key not in NOT_WORDS:
                yield from _values(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _values(part)


@cache
def english(text: str, fewest: re.Pattern[str] = ENGLISH) -> list[str]:
    """The English in a text, without names."""
    plain = MARKUP.sub(" | ", text)
    titles = " | ".join(one or other for one, other in TITLES.findall(plain))
    plain = AUTHORS.sub(" | ", TAG.sub(" | ", plain) + " | " + titles)
    plain = NAMES.sub(" | ", plain)
    return [match[0] for match in fewest.finditer(plain)]
