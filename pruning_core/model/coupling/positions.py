"""Output channels that can only go together, and every place where a network holds them."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

Positions = Int[Tensor, "_p"]


@dataclass(frozen=True, eq=False)
class Slot:
    """Where a parameter holds the channels of a coupling: position at[k] along its axis belongs to
    channel[k].

    rows: from and up to which row of a packed projection they are read, query, key or value; None:
    by all rows.
    """

    name: str
    axis: int
    at: Positions
    channel: Positions
    rows: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Coupling:
    """Output channels that must be cut together.

    members: the weights whose rows make them; follows: biases, norms' scale and shift, and position
    tables, which fall silent with them; reads: the weights that take them in; channels: how many;
    reason: why none can be removed, None where one can.
    """

    members: tuple[Slot, ...]
    follows: tuple[Slot, ...] = ()
    reads: tuple[Slot, ...] = ()
    channels: int = 0
    reason: str | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """The members' names, in the network's order."""
        return tuple(slot.name for slot in self.members)
