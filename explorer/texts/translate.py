"""Texts in the language of the visitor's page.

A page marks each of its texts: `_("{n} of {total} weights", n=3, total=8)`. The English text is the
key of the catalogue; `explorer/texts/catalogues` has one catalogue for each other language. Texts
of the core are plain English without marks: `from_core` finds the template that made such a text,
and puts its values into the translated template. A sentence of the app that is stored before it is
shown stays English in the same way: `N_("There is no network '{name}'.").format(name=name)`.

Numbers need no translation: English and Chinese write 1,234.5 and 12% in the same way.
"""

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

LANGUAGES = {"en": "English", "zh": "中文"}
"""The languages of the app: code -> the language's own name."""
SOURCE = "en"
"""The language of the texts in the code."""
FOLDER = Path(__file__).parent / "catalogues"
TEMPLATES = "core_templates.json"
"""The file with the templates of the core's texts, such as "Layer '{0}' has {1} filters."."""
MOST_SENTENCES = 12
"""Longer texts are looked up sentence by sentence, without joining sentences."""
MOST_LOOKUPS = 400
"""A foreign text of a thousand colons would take minutes: it stays English."""
MOST_LETTERS = 400
"""The longest sentence that a template may make."""
PLACE = re.compile(r"\{(\w+)\}")
NAME = re.compile(r"['`]\{(\w+)\}['`]")
"""A place for a name, such as that of a layer or of a criterion: it stays what it is."""
FULL_STOP = re.compile(r"(?<=[.!?])(\s+)(?=[A-Z])")
SENTENCE_END = re.compile(r"(?<=[.!?:;])(\s+)")
WIDE = r"\u4e00-\u9fff\u3001-\u301f\uff01-\uff1f“”"
"""Chinese characters and full-width marks, as in a pattern."""
NO_SPACE = re.compile(
    f"(?<=[{WIDE}]) (?=[{WIDE}])|(?<=[。，：；！？）、]) (?! *\n)| (?=[。，：；！？（、])"
)
"""A space next to a full-width mark or between Chinese characters: Chinese has none there.

Templates have spaces around their places, for Latin values. Two before a line's end break it.
"""
MEASURE = re.compile(r"(?<=\d )个(?=(?:验证|探测|测试|训练|校准)?图像(?!块))")
"""Chinese counts images, though not their parts, with another word than other samples."""

_current: list[Callable[[], str]] = [lambda: SOURCE]


def follow(language: Callable[[], str]) -> None:
    """Sets the function that returns the code of the language to use now."""
    _current[0] = language


def language() -> str:
    """The code of the language of the page that is drawn now, a key of `LANGUAGES`."""
    return _current[0]()


def language_of(locale: str | None) -> str:
    """The language for a browser's locale, such as "zh-CN"; English where there is none."""
    start = re.split("[-_]", locale or "")[0].lower()
    return start if start in LANGUAGES else SOURCE


@cache
def _catalogue(code: str) -> NullTranslations:
    if code == SOURCE:
        return NullTranslations()
    with (FOLDER / code / "messages.mo").open("rb") as file:
        return GNUTranslations(file)


def _(message: str, /, **values: object) -> str:
    """The text in the page's language. values: what stands in its {places}."""
    code = language()
    translated = _catalogue(code).gettext(message) if message else message
    return _with_values(code, translated, values) if values else translated


def n_(one: str, many: str, n: int, /, **values: object) -> str:
    """As `_`, in the form for that number: `n_("{n} run", "{n} runs", count)`."""
    code = language()
    text = _catalogue(code).ngettext(one, many, n)
    return _with_values(code, text, {"n": f"{n:,}"} | values)


def _with_values(code: str, text: str, values: Mapping[str, object]) -> str:
    filled = text.format(**values)
    return filled if code == SOURCE else _spaced(filled)


def _spaced(chinese: str) -> str:
    """The text with the spaces and the measure words of Chinese."""
    return MEASURE.sub("张", NO_SPACE.sub("", chinese))


def in_a_row(sentences: Iterable[str]) -> str:
    """The sentences one after the other, with the spaces that their language has between them."""
    return NO_SPACE.sub("", " ".join(filter(None, sentences)))


def N_(message: str) -> str:
    """Marks a text for the catalogue and returns it unchanged.

    `_` translates it later, or `from_core` with values in its places.
    """
    return message


def from_core(text: str) -> str:
    """A text of the core, or a stored one, in the page's language; English if not translated."""
    code = language()
    return text if code == SOURCE or not text else _bounded(code, text)


class _TooManyLookups(Exception):
    """A text is too long-winded to be one of the core's."""


class _Lookups(threading.local):
    left = 0


_lookups = _Lookups()


@lru_cache(maxsize=4096)
def _bounded(code: str, text: str) -> str:
    """The translation; the text itself where it takes more than `MOST_LOOKUPS`."""
    _lookups.left = MOST_LOOKUPS
    try:
        return _from_core(code, text)
    except _TooManyLookups:
        return text


@lru_cache(maxsize=4096)
def _from_core(code: str, text: str) -> str:
    if (own := _by_sentences(code, text)) is not None:
        return own
    if (whole := _known(code, text)) is not None:
        return whole
    if (inner := text.strip()) != text:
        before, after = text.split(inner or " ", 1)
        return before + _from_core(code, inner) + after
    parts = SENTENCE_END.split(text)
    sentences = parts[::2]
    gaps = [*parts[1::2], ""]
    if len(sentences) == 1:
        return text
    translated = ""
    start = 0
    while start < len(sentences):
        end, own = _longest(code, sentences, gaps, start)
        translated += own + gaps[end - 1]
        start = end
    return NO_SPACE.sub("", translated)


def _by_sentences(code: str, text: str) -> str | None:
    """A text of several sentences, all of them known, alone or with those that follow."""
    parts = FULL_STOP.split(text)
    if len(parts) == 1 or _catalogue(code).gettext(text) != text:
        return None
    translated = ""
    start = 0
    while start < len(parts):
        for end in range(start + 1, min(len(parts), start + 2 * MOST_SENTENCES) + 1, 2):
            if end - start == len(parts):
                return None
            if (own := _known(code, "".join(parts[start:end]))) is not None:
                translated += own + "".join(parts[end : end + 1])
                start = end + 1
                break
        else:
            return None
    return NO_SPACE.sub("", translated)


def _longest(code: str, sentences: list[str], gaps: list[str], start: int) -> tuple[int, str]:
    """The most sentences from `start` on that are known together: their end, and their text."""
    for end in range(min(len(sentences), start + MOST_SENTENCES), start, -1):
        joined = "".join(
            sentences[at] + (gaps[at] if at + 1 < end else "") for at in range(start, end)
        )
        if (own := _known(code, joined)) is not None:
            return end, own
    sentence = sentences[start]
    if sentence.endswith(":") and (own := _known(code, sentence[:-1])) is not None:
        return start + 1, own + _catalogue(code).gettext(COLON)
    return start + 1, sentence


@lru_cache(maxsize=8192)
def _known(code: str, text: str) -> str | None:
    """The translation of a text that one template makes, or None."""
    if not text:
        return ""  # the catalogue has its header there
    catalogue = _catalogue(code)
    if (direct := catalogue.gettext(text)) != text:
        return direct
    if len(text) > MOST_LETTERS:
        return None
    _lookups.left -= 1
    if _lookups.left < 0:
        raise _TooManyLookups
    for template, pieces in _templates():
        if (parts := matched(pieces, text)) is None:
            continue
        if (translated := catalogue.gettext(template)) == template:
            continue
        names = NAME.findall(template + translated)
        values = {
            place: value if place in names else _value(code, value)
            for place, value in parts.items()
        }
        if _fits(template, list(parts.values()), values):
            return _filled(translated, values)
    return None


def _fits(template: str, parts: Sequence[str], values: Mapping[str, str]) -> bool:
    """Are these the values of the template? Each has both or none of a pair of brackets.

    A template of few letters matches many texts: it fits where it leaves no words unknown.
    """
    if "[" in template and any(value.count("[") != value.count("]") for value in parts):
        return False
    strong = sum(map(str.isalpha, PLACE.sub("", template))) >= FEW_LETTERS
    return strong or not any(TWO_WORDS.search(value) for value in values.values() if value in parts)


def _value(code: str, value: str) -> str:
    """A value in a sentence: a text, a sentence in lower case without its end, or a list."""
    if (items := _items(code, value, names=False)) is not None:
        return items
    if (known := _known(code, value)) is not None:
        return known
    for sentence in (f"{value}.", f"{value[:1].upper()}{value[1:]}."):
        if (known := _known(code, sentence)) is not None:
            return known.rstrip("。.")
    return _from_core(code, value) if (items := _items(code, value)) is None else items


def _items(code: str, value: str, *, names: bool = True) -> str | None:
    """A list of two or more known texts; None where it is another text. names: or of names."""
    if value.startswith(CODE):
        return None
    pieces = LIST.split(value)
    items = [_from_core(code, item) for item in pieces[::2]]
    unknown = [item for item, own in zip(pieces[::2], items, strict=True) if item == own]
    if len(items) == 1 or not all(names and ITEM.fullmatch(item) for item in unknown):
        return None
    joins = [_catalogue(code).gettext(join) for join in pieces[1::2]]
    joined = "".join(item + join for item, join in zip(items, [*joins, ""], strict=True))
    return NO_SPACE.sub("", joined)


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _spaced(PLACE.sub(lambda place: values.get(place[1], ""), template))


COLON = N_(":")
JOINS = (N_(", "), N_(" and "), N_(" or "))
LIST = re.compile(rf"({'|'.join(JOINS)})(?![^()]*\))")
"""What stands between the items of a list, outside of brackets."""
ITEM = re.compile(r"[^\s()]+|\([^()]*\)")
"""An item that needs no translation: a name or a shape."""
TWO_WORDS = re.compile("[a-z0-9] [a-zA-Z]")
FEW_LETTERS = 4
CODE = tuple("[{'\"")
"""Values that start so are code, such as [1, 2]."""


@cache
def _templates() -> tuple[tuple[str, list[str]], ...]:
    """Each template with places, and its pieces; most literal characters first."""
    templates: list[str] = json.loads((FOLDER / TEMPLATES).read_text("utf-8"))
    with_places = [template for template in templates if PLACE.search(template)]
    with_places.sort(key=lambda template: -len(PLACE.sub("", template)))
    return tuple((template, PLACE.split(template)) for template in with_places)


def matched(pieces: Sequence[str], text: str) -> dict[str, str] | None:
    """The values with which a template makes the text, each as short as possible; None if none do.

    pieces: the template's literals and the names of its places in turn, a literal first and last.
    A place that stands twice has one value. In a template with brackets, a value has both or none
    of each pair. Takes time in proportion to the text.
    """
    first, *middle = pieces
    last = middle.pop()
    at = len(first)
    end = len(text) - len(last)
    if end < at or not text.startswith(first) or not text.endswith(last):
        return None
    pairs = any("(" in literal for literal in pieces[::2])
    values: dict[str, str] = {}
    for name, literal in zip(middle[::2], [*middle[1::2], None], strict=True):
        stop = end if literal is None else text.find(literal, at, end)
        while literal is not None and pairs and stop >= 0 and not _balanced(text[at:stop]):
            stop = text.find(literal, stop + 1, end)
        value = text[at:stop]
        if stop < 0 or values.setdefault(name, value) != value:
            return None
        if pairs and not _balanced(value):
            return None
        at = stop + len(literal or "")
    return values


def _balanced(value: str) -> bool:
    depth = 0
    for letter in value:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0
