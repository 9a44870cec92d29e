"""A plan in the page's address and back, exactly: one parameter per field that differs from the
default. Knows no Streamlit.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any
from urllib.parse import quote, unquote

from pruning_core.criteria import is_custom
from pruning_core.hand_edits import HandEdits
from pruning_core.plan import Plan
from pruning_core.registry import find
from pruning_core.training.fine_tune import TrainConfig
from pruning_core.types import PruningError

PARAMS = (*(field.name for field in fields(Plan)), "layer")
"""The address's parameters: the plan's fields and the layer that is looked at."""
LIMIT = 30_000
"""Longest text of one parameter."""

KINDS: dict[type, tuple[Callable[[str], Any], str]] = {
    int: (int, "a whole number"),
    float: (float, "a number"),
    bool: (lambda text: {"1": True, "0": False}[text], "1 or 0"),
    str: (str, "a text"),
}


def write(plan: Plan) -> dict[str, str]:
    """The parameters of a plan; a field with its default value is left out."""
    default = Plan()
    return {
        field.name: _text(getattr(plan, field.name))
        for field in fields(Plan)
        if getattr(plan, field.name) != getattr(default, field.name)
    }


def read(
    address: Mapping[str, str], known: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[Plan, tuple[str, ...]]:
    """The plan of those parameters, and a sentence for each that cannot be used: that field keeps
    its default.

    known: the names that a field may have, such as the zoo's models.
    """
    raw: dict[str, Any] = {}
    sentences = []
    for field in fields(Plan):
        if field.name not in address:
            continue
        try:
            value = _value(field.name, field.type, address[field.name])
            if known and field.name in known:
                find(dict.fromkeys(known[field.name]), value, field.name)
            refuse_custom(Plan.from_json(json.dumps({field.name: value})))
        except PruningError as problem:
            sentences.append(f"{problem} The address's '{field.name}' was ignored.")
        else:
            raw[field.name] = value
    return Plan.from_json(json.dumps(raw)), tuple(sentences)


def refuse_custom(plan: Plan) -> None:
    """Raises PruningError for a plan whose criterion would import code: nothing that comes by a
    browser may do that.
    """
    if is_custom(plan.criterion):
        raise PruningError(
            f"The criterion '{plan.criterion[:80]}' is Python code of your own, which the pages never run: "
            "use python -m pruning_core run for it."
        )


def pairs(items: Mapping[str, object]) -> str:
    """name~value~name~value, each quoted so that any name comes back; needs no escaping in an
    address.
    """
    return _joined(part for item in items.items() for part in item)


def unpaired(text: str) -> dict[str, str]:
    """The inverse of `pairs`. Raises PruningError for a text that is no list of pairs."""
    return {pair[0]: pair[1] for pair in _parted(text, "name~value pairs", 2)}


def _joined(parts: Iterable[object]) -> str:
    return "~".join(quote(str(part), safe="").replace("~", "%7E") for part in parts)


def _parted(text: str, what: str, size: int) -> list[tuple[str, ...]]:
    """The inverse of `_joined`, so many parts at a time."""
    parts = [unquote(part) for part in text.split("~")] if text else []
    if len(parts) % size:
        raise PruningError(f"'{text[:80]}' is not a list of {what}.")
    return [tuple(parts[start : start + size]) for start in range(0, len(parts), size)]


def _text(value: Any) -> str:
    if isinstance(value, TrainConfig):
        default = TrainConfig()
        changed = {
            f.name: getattr(value, f.name)
            for f in fields(TrainConfig)
            if getattr(value, f.name) != getattr(default, f.name)
        }
        return pairs({name: _text(setting) for name, setting in changed.items()})
    if isinstance(value, tuple):
        if value and isinstance(value[0], HandEdits):
            return _joined(
                part for each in value for part in (each.layer, each.granularity, each.text)
            )
        return pairs(dict(value))
    return str(int(value)) if isinstance(value, bool) else str(value)


def _value(name: str, kind: Any, text: str) -> Any:
    """The JSON value of a parameter's text. Raises PruningError."""
    if len(text) > LIMIT:
        raise PruningError(f"The address's '{name}' is longer than {LIMIT} characters.")
    if name == "overrides":
        return {
            layer: _plain(f"ratio of {layer}", float, ratio)
            for layer, ratio in unpaired(text).items()
        }
    if name == "edits":
        return _edits(text)
    if name == "fine_tune":
        settings = unpaired(text)
        kinds = {field.name: field.type for field in fields(TrainConfig)}
        return {
            key: _plain(key, find(kinds, key, "fine-tuning setting"), value)
            for key, value in settings.items()
        }
    return _plain(name, kind, text)


def _edits(text: str) -> dict[str, dict[str, str]]:
    """layer~granularity~edits~... -> the edits as JSON has them."""
    raw: dict[str, dict[str, str]] = {}
    for layer, granularity, groups in _parted(text, "layer~granularity~edits", 3):
        raw.setdefault(layer, {})[granularity] = groups
    return raw


def _plain(name: str, kind: Any, text: str) -> Any:
    convert, wanted = KINDS[kind]
    try:
        return convert(text)
    except (ValueError, KeyError) as error:
        raise PruningError(
            f"The {name} in the address must be {wanted}, not '{text[:80]}'."
        ) from error
