"""Channels that can only go together: outputs tied by residual adds, depthwise convolutions and the norms behind them."""

from pruning_core.coupling.silence import WHOLE_OUTPUTS, silenced
from pruning_core.coupling.slots import Coupling, Slot
from pruning_core.coupling.trace import couplings

__all__ = ["WHOLE_OUTPUTS", "Coupling", "Slot", "couplings", "silenced"]
