"""Makes and checks the catalogues: `python -m explorer.texts.extract update`. Needs Babel.

update: reads the marked texts of `explorer/` and all sentences of `pruning_core/`, and brings the
catalogues, one `.po` file for each language and area, up to date. Texts without a translation stay
empty there. It also writes what the app reads: `messages.mo` and the templates of the core's texts.
check: says what is missing, and fails where something is.
unmarked: lists texts of `explorer/` that no mark surrounds.
"""

import ast
import io
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from explorer.texts.help import TEXTS
from explorer.texts.translate import FOLDER, LANGUAGES, PLACE, SOURCE, TEMPLATES
from pruning_core.cli.choices import AXES, OTHERS

ROOT = Path(__file__).parents[2]
MARKS = {"_": 1, "N_": 1, "n_": 2}
"""The marks of `translate`: how many of their first arguments are texts."""
NOT_SHOWN = ("pruning_core/cli/",)
"""The start of the paths of core modules whose texts no page shows."""
SQL = re.compile(r"(SELECT|INSERT|UPDATE|DELETE|ALTER|PRAGMA) |\w+(, \w+){4,}$|\w+ IS .*NULL$")
"""Commands of a data base, its lists of columns and its conditions, which no page shows."""
OPERATOR = re.compile(r" (=|==|[+]=|/|>) |\w[(\[]|return |^[*]", re.MULTILINE)
"""Code has one of these. A text that has it is code where Python can read the text."""
LABELS = {"label", "value_label", "axis_label", "short_label", "samples", "title"}
"""Fields of the core whose value is shown although it may be one word."""

HEADER: dict[str, Any] = {
    "project": "Pruning Explorer",
    "version": "1",
    "header_comment": "# Made by: python -m explorer.texts.extract update",
    "creation_date": datetime(2026, 1, 1, tzinfo=UTC),
    "revision_date": datetime(2026, 1, 1, tzinfo=UTC),
    "msgid_bugs_address": "see CONTRIBUTING.md",
    "last_translator": "Pruning Explorer contributors",
}
"""The header of each catalogue. Fixed, so that a file changes only with its texts."""


Key = str | tuple[str, ...]
"""A text, or its two forms: for one, and for other numbers."""


@dataclass(frozen=True)
class Text:
    """A text of the code, the path of its module, and what its places stand for.

    kept: it may be stored in English and be translated where it is shown, as texts of the core are.
    """

    key: Key
    path: str
    notes: tuple[str, ...] = ()
    kept: bool = False


def areas() -> dict[str, list[Text]]:
    """All texts by area, the name of a catalogue file."""
    texts: dict[str, list[Text]] = {}
    for path in sorted((ROOT / "explorer").rglob("*.py")):
        for text in marked(path.read_text("utf-8"), path.relative_to(ROOT).as_posix()):
            texts.setdefault(_area(text.path), []).append(text)
    texts["texts"] += [Text(text, "explorer/texts/help.py") for text in TEXTS.values()]
    for path in sorted((ROOT / "pruning_core").rglob("*.py")):
        for text in core_texts(path):
            texts.setdefault(_area(text.path), []).append(text)
    read = {text.key for area_texts in texts.values() for text in area_texts}
    entries = [text for text in _entries() if text.key not in read]
    return texts | {"core_entries": entries}


def _entries() -> Iterator[Text]:
    """The texts of all entries. A help text may be the first sentence of a docstring."""
    shown = (
        (getattr(entry, field.name), field.name, axis)
        for axis, registry in (AXES | OTHERS).items()
        for entry in registry.values()
        if is_dataclass(entry)
        for field in fields(entry)
    )
    for value, field, axis in shown:
        if isinstance(value, str) and _is_text(value, field):
            yield Text(value, f"pruning_core: {axis}")


def _area(path: str) -> str:
    """explorer/pages/explore/page.py -> "explore"; pruning_core/model/tied.py -> "core_model"."""
    parts = Path(path).parts
    if parts[0] == "explorer":
        inner = parts[2:] if parts[1] == "pages" else parts[1:]
        return inner[0] if len(inner) > 1 else "app"
    return f"core_{parts[1]}" if len(parts) > 2 else "core"


def marked(code: str, name: str) -> Iterator[Text]:
    """The texts of the code of a module of that name that a mark surrounds.

    Raises ValueError for an f-string in a mark: its text is not known before it runs.
    """
    module = ast.walk(ast.parse(code))
    calls = [node for node in module if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        mark = call.func.id if isinstance(call.func, ast.Name) else ""
        texts = call.args[: MARKS.get(mark, 0)]
        if any(isinstance(text, ast.JoinedStr) for text in texts):
            raise ValueError(f"{name}:{call.lineno}: {mark}() needs a text with named places.")
        keys = [str(text.value) for text in texts if isinstance(text, ast.Constant)]
        if keys:
            yield Text(keys[0] if len(keys) == 1 else tuple(keys), name, kept=mark == "N_")


def core_texts(path: Path) -> Iterator[Text]:
    """The sentences and labels of a module of the core. A place is numbered: "Layer '{0}'"."""
    name = path.relative_to(ROOT).as_posix()
    if name.startswith(NOT_SHOWN):
        return
    module = ast.parse(path.read_text("utf-8"))
    for node, field in _strings(module):
        key, notes = _template(node)
        if _is_text(key, field):
            yield Text(key, name, notes)


def _strings(module: ast.Module) -> Iterator[tuple[ast.Constant | ast.JoinedStr, str | None]]:
    """Each text of a module that is no docstring, with the field that it is the value of."""
    nodes = list(ast.walk(module))
    inner = {
        id(part)
        for node in nodes
        if isinstance(node, ast.JoinedStr)
        for part in node.values
        if isinstance(part, ast.Constant)
    }
    fields = dict(_fields(nodes))
    docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    hidden = {id(node) for node in _not_shown(nodes)}
    for node in nodes:
        if id(node) in docs or id(node) in inner or id(node) in hidden:
            continue
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str)
        ):
            yield node, fields.get(id(node))


def _fields(nodes: Sequence[ast.AST]) -> Iterator[tuple[int, str | None]]:
    """The values that a module gives to fields, by name or as defaults, with the fields' names."""
    for node in nodes:
        match node:
            case ast.keyword(arg=name, value=value):
                yield id(value), name
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant() as value):
                yield id(value), name


def _not_shown(nodes: Sequence[ast.AST]) -> Iterator[ast.expr]:
    """The parts of a module whose texts are types, or become bytes at once."""
    for node in nodes:
        match node:
            case ast.Attribute(attr="encode", value=text):
                yield text
            case (
                ast.arg(annotation=ast.expr() as kind) | ast.FunctionDef(returns=ast.expr() as kind)
            ):
                yield from (part for part in ast.walk(kind) if isinstance(part, ast.expr))


def _template(node: ast.Constant | ast.JoinedStr) -> tuple[str, tuple[str, ...]]:
    if isinstance(node, ast.Constant):
        return str(node.value), ()
    text = ""
    notes: list[str] = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            text += f"{{{len(notes)}}}"
            notes.append(f"{{{len(notes)}}}: {ast.unparse(part.value)}")
        elif isinstance(part, ast.Constant):
            text += str(part.value)
    return text, tuple(notes)


def _is_text(text: str, field: str | None) -> bool:
    """Is the value of a field, or a text elsewhere, for people?"""
    return _is_sentence(text) or (field in LABELS and any(map(str.isalpha, text)))


def _is_sentence(text: str) -> bool:
    """Two words or more, one of them of three letters that are not all capitals."""
    words = PLACE.sub(" ", text).split()
    long = [word for word in words if sum(map(str.isalpha, word)) >= 3 and not word.isupper()]
    return " " in text.strip() and bool(long) and not _is_code(text)


def _is_code(text: str) -> bool:
    if any(mark in text for mark in ("import ", "    ", "</", "();", "def ")) or SQL.match(text):
        return True
    if OPERATOR.search(text) is None:
        return False
    with_names = re.sub(r"\{[^{}]*\}", "x", textwrap.dedent(text)).lstrip("*")
    try:
        ast.parse(with_names)
    except SyntaxError:
        return False
    return True


def update() -> None:
    """Brings the catalogues up to date and writes the files that the app reads."""
    texts = areas()
    for code in LANGUAGES.keys() - {SOURCE}:
        known = translations(code)
        folder = FOLDER / code
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.po"):
            if old.stem not in texts:
                old.unlink()
        for area, area_texts in texts.items():
            with (folder / f"{area}.po").open("wb") as file:
                write_po(
                    file,
                    _catalogue(code, area_texts, known),
                    width=100,
                    sort_by_file=True,
                    include_lineno=False,
                    ignore_obsolete=True,
                )
        (folder / "messages.mo").write_bytes(compiled(code))
    (FOLDER / TEMPLATES).write_text(templates(texts), "utf-8")


def translations(code: str) -> dict[Key, Key]:
    """Every text of a language's catalogues that is translated."""
    known: dict[Key, Key] = {}
    for path in sorted((FOLDER / code).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=code):
                if message.id and _is_translated(message.string):
                    known[_key(message.id)] = _key(message.string)
    return known


def _key(text: str | Sequence[str] | None) -> Key:
    return text if isinstance(text, str) else tuple(text or ())


def _is_translated(string: object) -> bool:
    return all(string) if isinstance(string, tuple) else bool(string)


def _catalogue(code: str, texts: Sequence[Text], known: Mapping[Key, Key]) -> Catalog:
    catalogue = Catalog(locale=code, charset="utf-8", fuzzy=False, **HEADER)
    for text in texts:
        key = text.key
        catalogue.add(
            key,
            known.get(key, ("",) if isinstance(key, tuple) else ""),
            locations=[(text.path, 0)],
            auto_comments=text.notes,
        )
    return catalogue


def compiled(code: str) -> bytes:
    """The content of `messages.mo`: all translated texts of a language."""
    whole = Catalog(locale=code, charset="utf-8", fuzzy=False, **HEADER)
    for key, string in sorted(translations(code).items(), key=str):
        whole.add(key, string)
    file = io.BytesIO()
    write_mo(file, whole)
    return file.getvalue()


def templates(texts: Mapping[str, Sequence[Text]]) -> str:
    """The content of the file of templates: all with places that `from_core` finds, sorted."""
    keys = {
        text.key
        for area, area_texts in texts.items()
        for text in area_texts
        if (text.kept or area.startswith("core"))
        and isinstance(text.key, str)
        and PLACE.search(text.key)
    }
    return json.dumps(sorted(keys), ensure_ascii=False, indent=0) + "\n"


def missing(code: str, texts: Mapping[str, Sequence[Text]]) -> list[str]:
    """The texts without a translation, each with its area."""
    known = translations(code)
    return [
        f"{area}: {text.key}"
        for area, area_texts in texts.items()
        for text in area_texts
        if text.key not in known
    ]


def unmarked(start: str) -> Iterator[str]:
    """Texts of the modules below a folder of `explorer/` that no mark surrounds."""
    for path in sorted((ROOT / start).rglob("*.py")):
        module = ast.parse(path.read_text("utf-8"))
        inside = {
            id(part)
            for node in ast.walk(module)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in MARKS
            for part in ast.walk(node)
        }
        for node, _field in _strings(module):
            text, _notes = _template(node)
            if id(node) not in inside and _is_sentence(text):
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {text!r}"


def main(arguments: Sequence[str]) -> int:
    """Runs update, check or unmarked; returns the exit code."""
    match list(arguments):
        case ["update"]:
            update()
            texts = areas()
            for code in LANGUAGES.keys() - {SOURCE}:
                print(f"{code}: {len(missing(code, texts)):,} texts without a translation")
            return 0
        case ["check"]:
            lines = [
                line for code in LANGUAGES.keys() - {SOURCE} for line in missing(code, areas())
            ]
            print("\n".join(lines))
            return int(bool(lines))
        case ["unmarked", start]:
            print("\n".join(unmarked(start)))
            return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
