"""What can only go together: an attention's heads; outputs tied by residual adds, depthwise convolutions and their norms."""

from pruning_core.coupling.heads import cut_as_one, evened, spread
from pruning_core.coupling.silence import WHOLE_OUTPUTS, minded, silenced, unread
from pruning_core.coupling.slots import Coupling, Slot
from pruning_core.coupling.trace import couplings

__all__ = ["WHOLE_OUTPUTS", "Coupling", "Slot", "couplings", "cut_as_one", "evened", "minded", "silenced", "spread", "unread"]
