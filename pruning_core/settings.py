"""Settings of a choice, such as a flow: their ranges, and texts as name:setting=value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pruning_core.errors import PruningError
from pruning_core.registry import Entry, find

Choice = TypeVar("Choice", bound=Entry)


@dataclass(frozen=True)
class Setting:
    """A setting of a choice. default: its type is that of the value; least, most: its range.

    label: its name for people, one or a few words.
    """

    name: str
    default: bool | int | float
    least: int | float
    most: int | float
    help: str
    label: str


def setting(
    default: bool | int | float,
    least: int | float,
    most: int | float,
    text: str,
    *,
    label: str = "",
) -> Any:
    """A dataclass field that is a setting of a choice; text: its help; label: else its own name."""
    return field(default=default, metadata={"setting": (default, least, most, text, label)})


def settings_of(entry: Any) -> tuple[Setting, ...]:
    """The settings of a choice, or of another dataclass that has some."""
    return tuple(
        _setting(name, *field.metadata["setting"])
        for name, field in entry.__dataclass_fields__.items()
        if "setting" in field.metadata
    )


def _setting(
    name: str,
    default: bool | int | float,
    least: int | float,
    most: int | float,
    text: str,
    label: str,
) -> Setting:
    own = label or name.replace("_", " ").capitalize()
    return Setting(name, default, least, most, text, own)


def with_settings(registry: Mapping[str, Choice], text: str, axis: str) -> Choice:
    """The choice of that name, or name:setting=value,setting=value.

    axis: what the registry holds, for error messages. Raises PruningError for an unknown name and a
    value outside its range.
    """
    name, _, values_text = text.partition(":")
    chosen = find(registry, name, axis)
    known = {setting.name: setting for setting in settings_of(chosen)}
    values: dict[str, Any] = {}
    for part in values_text.split(",") if values_text else ():
        key, _, value = part.partition("=")
        values[key] = value_of(find(known, key, f"setting of {name} called"), value)
    return replace(chosen, **values)


def text_of(registry: Mapping[str, Choice], name: str, chosen: Choice) -> str:
    """The text of a choice, with the settings that differ from its defaults.

    `with_settings(registry, text_of(registry, name, chosen), axis) == chosen`.
    """
    default = registry[name]
    parts = []
    for setting in settings_of(chosen):
        value = getattr(chosen, setting.name)
        if value != getattr(default, setting.name):
            parts.append(f"{setting.name}={int(value) if isinstance(value, bool) else value}")
    return f"{name}:{','.join(parts)}" if parts else name


def value_of(setting: Setting, text: str) -> bool | int | float:
    """The value of a text. Raises PruningError for no number, or one outside the range."""
    try:
        number = float(text) if isinstance(setting.default, float) else int(text)
    except ValueError as error:
        wanted = "a number" if isinstance(setting.default, float) else "a whole number"
        raise PruningError(
            f"The setting {setting.name} must be {wanted}, not '{text[:40]}'."
        ) from error
    if not setting.least <= number <= setting.most:
        raise PruningError(
            f"The setting {setting.name} is {text[:40]}, outside "
            f"{setting.least:g} to {setting.most:g}."
        )
    return type(setting.default)(number)
