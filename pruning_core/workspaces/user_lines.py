"""The lines of a program that opens a network of the user without this package."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class UserLines:
    """Lines of Python for exported scripts.

    path: folders that Python imports from; imports: import lines; model: the expression that builds
    the network; weights: file of its weights, "" for none; splits: split -> expression that gives
    what the user gave; batch: the expression of a function from a batch to (inputs, target), "" for
    none.
    """

    path: tuple[str, ...]
    imports: tuple[str, ...]
    model: str
    weights: str = ""
    splits: Mapping[str, str] = field(default_factory=dict)
    batch: str = ""
