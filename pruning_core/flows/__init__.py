"""How are pruning and training combined? Every flow: FlowContext -> events.

The last masks and the last model are the result.
"""

from pruning_core.flows.blockwise import Blockwise
from pruning_core.flows.gates import HardConcrete
from pruning_core.flows.gradual import Gradual, Movement, Platon
from pruning_core.flows.history import History, packed, recorded
from pruning_core.flows.protocol import Event, Flow, FlowContext, Share, flow_events
from pruning_core.flows.recipes import GRADIENT_QUANTILE, MAGNITUDE_QUANTILE
from pruning_core.flows.regrow import RigL, Surgery
from pruning_core.flows.rounds import GROUP_LASSO, SLIMMING, Lottery, Rounds
from pruning_core.flows.seven import SevenDyn, SevenPre
from pruning_core.settings import Setting, settings_of, text_of, with_settings

__all__ = [
    "FLOWS",
    "Event",
    "Flow",
    "FlowContext",
    "History",
    "Setting",
    "Share",
    "flow",
    "flow_events",
    "packed",
    "recorded",
    "settings_of",
    "spec",
]

FLOWS: dict[str, Flow] = {
    "rounds": Rounds(),
    "blockwise": Blockwise(),
    "gradual": Gradual(),
    "lottery": Lottery(),
    "seven_pre": SevenPre(),
    "seven_dyn": SevenDyn(),
    "movement": Movement(),
    "platon": Platon(),
    "surgery": Surgery(),
    "rigl": RigL(),
    "gates": HardConcrete(),
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
    return with_settings(FLOWS, text, "flow")


def spec(name: str, chosen: Flow) -> str:
    """The text of a flow, with the settings that differ from its defaults.

    `flow(spec(name, chosen)) == chosen`.
    """
    return text_of(FLOWS, name, chosen)
