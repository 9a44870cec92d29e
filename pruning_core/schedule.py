"""When do we cut? Progress in [0, 1] -> share of the target sparsity."""

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

from pruning_core.registry import find
from pruning_core.types import PruningError

MAX_ROUNDS = 50


@runtime_checkable
class Schedule(Protocol):
    """A rising curve from progress to the share of the target; `rounds`: how many cuts, each
    followed by training.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    formula: ClassVar[str]

    @property
    def label(self) -> str: ...

    @property
    def help(self) -> str: ...

    @property
    def source(self) -> str: ...

    @property
    def rounds(self) -> int: ...

    def __call__(self, progress: float) -> float: ...


@dataclass(frozen=True)
class OneShot:
    """Everything at once, then fine-tune."""

    label: ClassVar[str] = "One-shot"
    help: ClassVar[str] = "The whole target is cut at once, then the network is fine-tuned."
    formula: ClassVar[str] = "f(p) = 1"
    source: ClassVar[str] = "LeCun et al. 1990, Optimal Brain Damage"
    rounds: int = 1

    def __call__(self, progress: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Line:
    """Equal steps, training after each."""

    formula: ClassVar[str] = "f(p) = p, at p = 1/n, 2/n, ..., 1"
    label: str
    help: str
    source: str
    rounds: int

    def __call__(self, progress: float) -> float:
        return progress


ITERATIVE = Line(
    "Iterative",
    "Prune a little, fine-tune, score again, prune more: n equal rounds.",
    "Han et al. 2015, arXiv:1506.02626",
    3,
)
LINEAR = Line(
    "Linear",
    "The line of Iterative in many small steps, as flows use it that prune while the network trains.",
    "Zhu and Gupta 2017, arXiv:1710.01878, with 1 in place of their exponent 3",
    10,
)


@dataclass(frozen=True)
class Agp:
    """Automated gradual pruning: fast at first, gentle at the end."""

    label: ClassVar[str] = "Gradual (AGP cubic)"
    help: ClassVar[str] = (
        "Rounds that cut much at first, while there is much to spare, and little at the end."
    )
    formula: ClassVar[str] = "f(p) = 1 - (1 - p)^3, at p = 1/n, 2/n, ..., 1"
    source: ClassVar[str] = "Zhu and Gupta 2017, arXiv:1710.01878"
    rounds: int = 4

    def __call__(self, progress: float) -> float:
        return 1.0 - (1.0 - progress) ** 3


@dataclass(frozen=True)
class Exponential:
    """Each round keeps the same share of what is left: kept(p) = d^p for a final density d = 1 -
    sparsity.
    """

    label: ClassVar[str] = "Exponential"
    help: ClassVar[str] = (
        "Each round removes the same share of what is left, as lottery tickets are drawn: 20% of it, again."
    )
    formula: ClassVar[str] = "f(p) = (1 - d^p) / (1 - d), d = 1 - sparsity, at p = 1/n, 2/n, ..., 1"
    source: ClassVar[str] = (
        "Frankle and Carbin 2019, arXiv:1803.03635; Tanaka et al. 2020 (SynFlow), arXiv:2006.05467"
    )
    rounds: int = 5
    density: float = 0.1

    def __call__(self, progress: float) -> float:
        return (1 - self.density**progress) / (1 - self.density) if self.density < 1 else progress


SCHEDULES: dict[str, Schedule] = {
    "one_shot": OneShot(),
    "iterative": ITERATIVE,
    "linear": LINEAR,
    "exponential": Exponential(),
    "agp": Agp(),
}
"""The choices; `schedule` also reads a number of rounds, as in iterative:5."""
MIN_DENSITY = 0.001
"""Where nothing is to be left, Exponential goes down to a thousandth before its last step."""


def schedule(spec: str, sparsity: float | None = None) -> Schedule:
    """The schedule of that name, or name:rounds; sparsity: the target, for schedules whose curve
    depends on it.

    Raises PruningError for an unknown name or rounds outside 1 to 50.
    """
    name, _, rounds = spec.partition(":")
    found = find(SCHEDULES, name, "schedule")
    if sparsity is not None and "density" in {field.name for field in fields(found)}:
        found = replace(found, density=max(MIN_DENSITY, 1 - sparsity))
    if not rounds:
        return found
    if name == "one_shot" or not rounds.isdecimal() or not 1 <= int(rounds) <= MAX_ROUNDS:
        raise PruningError(
            f"'{spec}' is not a schedule: write one_shot, or a name and rounds as in agp:N, N from 1 to {MAX_ROUNDS}."
        )
    return replace(found, rounds=int(rounds))


def fractions(schedule: Schedule) -> tuple[float, ...]:
    """The share of the target after each round; the last is 1."""
    return tuple(schedule((k + 1) / schedule.rounds) for k in range(schedule.rounds))
