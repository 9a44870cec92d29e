"""The lines of a program that opens a network without this package."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class UserLines:
    """Lines of Python for exported scripts. Those that are not known are "".

    reading: split -> lines that make `dataset` and `collate` of the variable `given`, what the user
    gave as that split; seeded: the splits whose samples change at random; keyed: split whose
    batches are dicts -> key of their targets; bare: the splits whose batches have no targets;
    logits: the expression for the logits in the variable `out`; half: the network is in half
    precision; pruned: torch.nn.utils.prune has pruned it.

    path: folders that Python imports from; imports: import lines; model: the expression that builds
    the network; weights: the expression that reads its weights; unwrap: the attribute of a wrapper
    that holds the network; splits: split -> expression that gives what the user gave; batch: the
    expression of a function from a batch to (inputs, target); task: package.module:object of the
    user's task.

    stored: the file of an export that holds the weights of the dense network; network, place,
    needs: for the program's first lines: what the network is called, where the data is to be put,
    and what the program needs besides the packages that its lines import.
    """

    reading: Mapping[str, str]
    seeded: frozenset[str]
    keyed: Mapping[str, str]
    bare: frozenset[str]
    logits: str
    half: bool
    pruned: bool = False
    path: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    model: str = ""
    weights: str = ""
    unwrap: str = ""
    splits: Mapping[str, str] = field(default_factory=dict)
    batch: str = ""
    task: str = ""
    stored: str = ""
    network: str = "your own network"
    place: str = ""
    needs: tuple[str, ...] = ()
