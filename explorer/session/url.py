"""A plan as the parameters of the page's address, and back. This module does not use Streamlit.

There is one parameter per field of Plan that differs from its default.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields, replace
from typing import Any
from urllib.parse import quote, unquote

from explorer.limits import limits
from explorer.texts.translate import N_
from pruning_core.criteria import is_custom
from pruning_core.hand_edits import HandEdits
from pruning_core.plan import Plan
from pruning_core.registry import find
from pruning_core.training.config import TrainConfig
from pruning_core.types import PruningError
from pruning_core.zoo.uploads import ImagesCard, NetworkCard, has_upload, is_upload_name

OTHER_KEYS = {"tied": "same_channels"}
"""Fields whose name has long been a parameter of a page -> the parameter of the field."""
KEYS = {field.name: OTHER_KEYS.get(field.name, field.name) for field in fields(Plan)}
"""A field of Plan -> its parameter."""
PARAMS = (*KEYS.values(), "layer")
"""The parameters of an address: the plan's fields and the selected layer."""
DEFAULT = Plan()
OPENING = {"sparsity": "0.2"}
"""What an address without parameters stands for: at 20%, granularities differ clearly.

A parameter that is missing beside others has its plan's default.
"""
MAX_LENGTH = 30_000
"""The longest text of one parameter, in characters."""

KINDS: dict[type, tuple[Callable[[str], Any], str]] = {
    int: (int, N_("a whole number")),
    float: (float, N_("a number")),
    bool: (lambda text: {"1": True, "0": False}[text], N_("1 or 0")),
    str: (str, N_("a text")),
}
"""The type of a field -> how to read its text, and what the text must be."""


def write(plan: Plan) -> dict[str, str]:
    """The parameters of a plan. A field with its default value is left out."""
    return {
        KEYS[field.name]: _text(getattr(plan, field.name))
        for field in fields(Plan)
        if getattr(plan, field.name) != getattr(DEFAULT, field.name)
    }


def address_of(plan: Plan, layer: str | None) -> dict[str, str]:
    """The parameters of a plan and a selected layer; none for the plan that the app opens with."""
    wanted = write(plan) | ({"layer": layer} if layer else {})
    if wanted == OPENING:
        return {}
    return wanted or {"sparsity": _text(plan.sparsity)}


def read(
    address: Mapping[str, str], known: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[Plan, tuple[str, ...]]:
    """The plan of those parameters, and a sentence for each parameter that cannot be used.

    The field of such a parameter keeps its default.

    known: the names that a field may have, such as the zoo's models.
    """
    values: dict[str, Any] = {}
    sentences = []
    for field in fields(Plan):
        key = KEYS[field.name]
        if key not in address:
            continue
        try:
            value = _value(field.name, field.type, address[key])
            if known and field.name in known and not is_upload(field.name, value):
                find(dict.fromkeys(known[field.name]), value, field.name)
            refuse_custom(Plan.from_json(json.dumps({field.name: value})))
        except PruningError as problem:
            ignored = N_("The address's '{key}' was ignored.").format(key=key)
            sentences.append(f"{problem} {ignored}")
        else:
            values[field.name] = value
    plan, more = within_limits(Plan.from_json(json.dumps(values)))
    return plan, (*sentences, *more)


def within_limits(plan: Plan) -> tuple[Plan, tuple[str, ...]]:
    """The plan with at most the epochs that the server allows, and a sentence if it had more."""
    most = limits().epochs
    if plan.fine_tune.epochs <= most:
        return plan, ()
    sentence = N_(
        "This server trains for at most {most} epochs, not {epochs}: {most} are set."
    ).format(most=f"{most:,}", epochs=f"{plan.fine_tune.epochs:,}")
    return replace(plan, fine_tune=replace(plan.fine_tune, epochs=most)), (sentence,)


def of_layers(plan: Plan, names: Collection[str]) -> Plan:
    """The plan without what it sets by hand for other layers than these."""
    ratios = tuple(pair for pair in plan.overrides if pair[0] in names)
    edits = tuple(edits for edits in plan.edits if edits.layer in names)
    return replace(plan, overrides=ratios, edits=edits)


def is_upload(field: str, name: object) -> bool:
    """Is it the name of an upload on this machine? field: model or dataset.

    Lists hold the visitor's own uploads only, but every name that the visitor knows can be opened.
    """
    if not isinstance(name, str) or not is_upload_name(name):
        return False
    return has_upload(name, NetworkCard if field == "model" else ImagesCard)


def refuse_custom(plan: Plan) -> None:
    """Raises PruningError if the plan's criterion imports code. A browser must not run code."""
    if is_custom(plan.criterion):
        raise PruningError(
            N_(
                "The criterion '{name}' is your own Python code, which the pages never run: use "
                "python -m pruning_core run for it."
            ).format(name=plan.criterion[:80])
        )


def pairs(items: Mapping[str, object]) -> str:
    """name~value~name~value. Each part is quoted: any name can be read back.

    The text needs no further escaping in an address.
    """
    return _join(part for item in items.items() for part in item)


def unpaired(text: str) -> dict[str, str]:
    """The inverse of `pairs`. Raises PruningError for a text that is not a list of pairs."""
    return {pair[0]: pair[1] for pair in _split(text, N_("name~value pairs"), 2)}


def _join(parts: Iterable[object]) -> str:
    return "~".join(quote(str(part), safe="").replace("~", "%7E") for part in parts)


def _split(text: str, content: str, size: int) -> list[tuple[str, ...]]:
    """The inverse of `_join`, in tuples of `size` parts. content: their name in the error."""
    parts = [unquote(part) for part in text.split("~")] if text else []
    if len(parts) % size:
        raise PruningError(
            N_("'{text}' is not a list of {content}.").format(text=text[:80], content=content)
        )
    return [tuple(parts[start : start + size]) for start in range(0, len(parts), size)]


def _text(value: Any) -> str:
    """The parameter's text of a field's value."""
    if isinstance(value, TrainConfig):
        return pairs(_changed_settings(value))
    if isinstance(value, tuple):
        if value and isinstance(value[0], HandEdits):
            return _join(
                part for edits in value for part in (edits.layer, edits.granularity, edits.text)
            )
        return pairs(dict(value))
    return str(int(value)) if isinstance(value, bool) else str(value)


def _changed_settings(config: TrainConfig) -> dict[str, str]:
    default = TrainConfig()
    return {
        field.name: _text(getattr(config, field.name))
        for field in fields(TrainConfig)
        if getattr(config, field.name) != getattr(default, field.name)
    }


def _value(name: str, kind: Any, text: str) -> Any:
    """The JSON value of a parameter's text. Raises PruningError."""
    if len(text) > MAX_LENGTH:
        raise PruningError(
            N_("The address's '{name}' is longer than {n} characters.").format(
                name=name, n=MAX_LENGTH
            )
        )
    if name == "overrides":
        return {
            layer: _plain(N_("ratio of {layer}").format(layer=layer), float, ratio)
            for layer, ratio in unpaired(text).items()
        }
    if name == "edits":
        return _edits(text)
    if name == "fine_tune":
        kinds = {field.name: field.type for field in fields(TrainConfig)}
        return {
            key: _plain(key, find(kinds, key, N_("fine-tuning setting")), value)
            for key, value in unpaired(text).items()
        }
    return _plain(name, kind, text)


def _edits(text: str) -> dict[str, dict[str, str]]:
    """layer~granularity~edits~... -> {layer: {granularity: edits}}."""
    values: dict[str, dict[str, str]] = {}
    for layer, granularity, groups in _split(text, N_("layer~granularity~edits"), 3):
        values.setdefault(layer, {})[granularity] = groups
    return values


def _plain(name: str, kind: Any, text: str) -> Any:
    """The value of a text of that type. Raises PruningError."""
    convert, wanted = KINDS[kind]
    try:
        return convert(text)
    except (ValueError, KeyError) as error:
        raise PruningError(
            N_("The {name} in the address must be {wanted}, not '{text}'.").format(
                name=name, wanted=wanted, text=text[:80]
            )
        ) from error
