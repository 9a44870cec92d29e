"""Output channels that must be removed together, and where the parameters hold them."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

Positions = Int[Tensor, "_p"]
IS_OUTPUT = "Its outputs are the network's own: removing one would remove a class."
NOT_READ = "The network does not read its weight for this input, so its outputs are not known."
HEAD_ROWS = (
    "Its rows belong to attention heads of one width, so that no single row can be removed: "
    "use head granularity."
)


@dataclass(frozen=True, eq=False)
class ChannelPositions:
    """Where one parameter holds the channels of a coupling.

    Position positions[k] along `axis` of the parameter belongs to channel channels[k].
    rows: first and last + 1 of the rows that read the channels, where the parameter packs query,
    key and value in one matrix; None: all rows read them.
    """

    parameter: str
    axis: int
    positions: Positions
    channels: Positions
    rows: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Coupling:
    """Output channels that must be removed together.

    members: the weights whose rows compute the channels.
    follows: biases, scales and shifts of norms, and position tables, which are zeroed with them.
    reads: the weights that take the channels as inputs.
    channels: number of channels.
    reason: why no channel can be removed; None where channels can be removed.
    note: what to know where channels are removed; None where there is nothing.
    """

    members: tuple[ChannelPositions, ...]
    follows: tuple[ChannelPositions, ...] = ()
    reads: tuple[ChannelPositions, ...] = ()
    channels: int = 0
    reason: str | None = None
    note: str | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """The members' names, in the network's order."""
        return tuple(member.parameter for member in self.members)
