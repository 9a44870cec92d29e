"""How do cutting and training go together? Every flow: Work -> events; the last masks and the last
model are the result.
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
"""The choices; `flow` also reads knobs, as in seven_dyn:delay=0.2,window=0.5."""


def flow(text: str) -> Flow:
    """The flow of that name, or name:knob=value,knob=value. Raises PruningError for unknown names
    and values out of range.
    """
    name, _, settings = text.partition(":")
    found = find(FLOWS, name, "flow")
    known = {each.name: each for each in settings_of(found)}
    values: dict[str, Any] = {}
    for part in settings.split(",") if settings else ():
        key, _, value = part.partition("=")
        values[key] = _value(find(known, key, f"knob of {name} called"), key, value)
    return replace(found, **values)


def spec(name: str, chosen: Flow) -> str:
    """The text of a flow, with the knobs that differ from its defaults: `flow(spec(name, chosen))
    == chosen`.
    """
    default = FLOWS[name]
    changed = [
        (each.name, getattr(chosen, each.name), getattr(default, each.name))
        for each in settings_of(chosen)
    ]
    parts = [
        f"{key}={int(value) if isinstance(value, bool) else value}"
        for key, value, usual in changed
        if value != usual
    ]
    return f"{name}:{','.join(parts)}" if parts else name


def _value(knob: Setting, key: str, text: str) -> bool | int | float:
    try:
        number = float(text) if isinstance(knob.default, float) else int(text)
    except ValueError as error:
        wanted = "a number" if isinstance(knob.default, float) else "a whole number"
        raise PruningError(f"The knob {key} must be {wanted}, not '{text[:40]}'.") from error
    if not knob.least <= number <= knob.most:
        raise PruningError(f"The knob {key} is {text}, outside {knob.least:g} to {knob.most:g}.")
    return type(knob.default)(number)
