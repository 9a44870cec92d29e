"""How are pruning and training combined? Every flow: FlowContext -> events.

The last masks and the last model are the result.
"""

from dataclasses import replace
from typing import Any

from pruning_core.flows.gradual import Gradual, Movement, Platon
from pruning_core.flows.history import History, packed, recorded
from pruning_core.flows.protocol import Event, Flow, FlowContext, Setting, settings_of
from pruning_core.flows.recipes import GRADIENT_QUANTILE, MAGNITUDE_QUANTILE
from pruning_core.flows.regrow import RigL, Surgery
from pruning_core.flows.rounds import GROUP_LASSO, SLIMMING, Lottery, Rounds
from pruning_core.flows.seven import SevenDyn, SevenPre
from pruning_core.registry import find
from pruning_core.types import PruningError

__all__ = [
    "FLOWS",
    "Event",
    "Flow",
    "FlowContext",
    "History",
    "Setting",
    "flow",
    "packed",
    "recorded",
    "settings_of",
    "spec",
]

FLOWS: dict[str, Flow] = {
    "rounds": Rounds(),
    "gradual": Gradual(),
    "lottery": Lottery(),
    "seven_pre": SevenPre(),
    "seven_dyn": SevenDyn(),
    "movement": Movement(),
    "platon": Platon(),
    "surgery": Surgery(),
    "rigl": RigL(),
    "slimming": SLIMMING,
    "group_lasso": GROUP_LASSO,
    "magnitude_quantile": MAGNITUDE_QUANTILE,
    "gradient_quantile": GRADIENT_QUANTILE,
}
"""The choices; `flow` also reads settings, as in seven_dyn:delay=0.2,window=0.5."""


def flow(text: str) -> Flow:
    """The flow of that name, or name:setting=value,setting=value.

    Raises PruningError for an unknown name and a value outside its range.

    >>> flow("movement:cuts=5").cuts
    5
    """
    name, _, values_text = text.partition(":")
    chosen = find(FLOWS, name, "flow")
    known = {setting.name: setting for setting in settings_of(chosen)}
    values: dict[str, Any] = {}
    for part in values_text.split(",") if values_text else ():
        key, _, value = part.partition("=")
        values[key] = _value(find(known, key, f"setting of {name} called"), value)
    return replace(chosen, **values)


def spec(name: str, chosen: Flow) -> str:
    """The text of a flow, with the settings that differ from its defaults.

    `flow(spec(name, chosen)) == chosen`.
    """
    default = FLOWS[name]
    parts = []
    for setting in settings_of(chosen):
        value = getattr(chosen, setting.name)
        if value != getattr(default, setting.name):
            parts.append(f"{setting.name}={int(value) if isinstance(value, bool) else value}")
    return f"{name}:{','.join(parts)}" if parts else name


def _value(setting: Setting, text: str) -> bool | int | float:
    try:
        number = float(text) if isinstance(setting.default, float) else int(text)
    except ValueError as error:
        wanted = "a number" if isinstance(setting.default, float) else "a whole number"
        raise PruningError(
            f"The setting {setting.name} must be {wanted}, not '{text[:40]}'."
        ) from error
    if not setting.least <= number <= setting.most:
        raise PruningError(
            f"The setting {setting.name} is {text}, outside {setting.least:g} to {setting.most:g}."
        )
    return type(setting.default)(number)
