"""When are weights removed? Progress in [0, 1] -> share of the target sparsity."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from pruning_core.registry import Described, Entry, find
from pruning_core.types import PruningError

MAX_ROUNDS = 50
MAX_DIGITS = 9
"""Digits of a number of rounds; a longer one is not read."""
MIN_DENSITY = 0.001
"""At a target of 100%, Exponential aims at this density before its last round."""


@runtime_checkable
class Schedule(Entry, Protocol):
    """A rising curve: progress in [0, 1] -> share of the target, 1 at the end.

    rounds: how often groups are removed, each time followed by training.
    fixed_rounds: the number of rounds cannot be chosen.
    at_target: the schedule for that target sparsity, where its curve depends on the target.
    """

    @property
    def rounds(self) -> int: ...

    @property
    def fixed_rounds(self) -> bool: ...

    def at_target(self, sparsity: float) -> "Schedule": ...

    def __call__(self, progress: float) -> float: ...


@dataclass(frozen=True, kw_only=True)
class ScheduleBase(Described):
    """What every schedule has besides its curve."""

    rounds: int
    fixed_rounds: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class FunctionSchedule(ScheduleBase):
    """A schedule made of one function: progress -> share of the target, the same for any target.

    >>> FunctionSchedule(agp, label="AGP", formula="f(p) = ...", source="Zhu 2017", rounds=2)(0.5)
    0.875
    """

    function: Callable[[float], float] = field(repr=False)

    def at_target(self, sparsity: float) -> "FunctionSchedule":
        """This schedule: its curve does not depend on the target."""
        return self

    def __call__(self, progress: float) -> float:
        return self.function(progress)


@dataclass(frozen=True, kw_only=True)
class Exponential(ScheduleBase):
    """Every round removes the same fraction of the weights that are left.

    The kept fraction is d^p, with the final density d = 1 - sparsity. Frankle and Carbin 2019,
    arXiv:1803.03635; Tanaka et al. 2020, arXiv:2006.05467.
    """

    density: float = 0.1

    def at_target(self, sparsity: float) -> "Exponential":
        """The schedule whose final density is 1 - sparsity, at least MIN_DENSITY."""
        return replace(self, density=max(MIN_DENSITY, 1 - sparsity))

    def __call__(self, progress: float) -> float:
        return (1 - self.density**progress) / (1 - self.density) if self.density < 1 else progress


def one_shot(progress: float) -> float:
    """The whole target is removed at once, then the network is fine-tuned."""
    return 1.0


def line(progress: float) -> float:
    """Every round removes the same number of groups."""
    return progress


def agp(progress: float) -> float:
    """Early rounds remove many groups, late rounds few.

    f(p) = 1 - (1 - p)^3. Automated gradual pruning: Zhu and Gupta 2017, arXiv:1710.01878.
    """
    return 1.0 - (1.0 - progress) ** 3


SCHEDULES: dict[str, Schedule] = {
    "one_shot": FunctionSchedule(
        one_shot,
        label="One-shot",
        formula="f(p) = 1",
        source="Li et al. 2016 (prune once and retrain), arXiv:1608.08710",
        rounds=1,
        fixed_rounds=True,
    ),
    "iterative": FunctionSchedule(
        line,
        label="Iterative",
        help="Each of n equal rounds scores the network, prunes it and fine-tunes it.",
        formula="f(p) = p, at p = 1/n, 2/n, ..., 1",
        source="Han et al. 2015, arXiv:1506.02626",
        rounds=3,
    ),
    "linear": FunctionSchedule(
        line,
        label="Linear",
        help="As Iterative, with more and smaller rounds: for flows that prune during training.",
        formula="f(p) = p, at p = 1/n, 2/n, ..., 1",
        source="Zhu and Gupta 2017, arXiv:1710.01878, with 1 in place of their exponent 3",
        rounds=10,
    ),
    "exponential": Exponential(
        label="Exponential",
        formula="f(p) = (1 - d^p) / (1 - d), d = 1 - sparsity, at p = 1/n, 2/n, ..., 1",
        source="Frankle and Carbin 2019, arXiv:1803.03635; "
        "Tanaka et al. 2020 (SynFlow), arXiv:2006.05467",
        rounds=5,
    ),
    "agp": FunctionSchedule(
        agp,
        label="Gradual (AGP cubic)",
        formula="f(p) = 1 - (1 - p)^3, at p = 1/n, 2/n, ..., 1",
        source="Zhu and Gupta 2017, arXiv:1710.01878",
        rounds=4,
    ),
}
"""A new schedule: one function progress -> share, and one entry here.

`schedule` also reads a number of rounds, as in iterative:5.
"""


def schedule(spec: str, sparsity: float | None = None) -> Schedule:
    """The schedule of that name, or name:rounds. sparsity: the target, if it is known.

    Raises PruningError for an unknown name, and for rounds outside 1 to MAX_ROUNDS.

    >>> fractions(schedule("iterative:4"))
    (0.25, 0.5, 0.75, 1.0)
    """
    name, _, rounds = spec.partition(":")
    chosen = find(SCHEDULES, name, "schedule")
    if sparsity is not None:
        chosen = chosen.at_target(sparsity)
    if not rounds:
        return chosen
    number = int(rounds) if rounds.isdecimal() and len(rounds) <= MAX_DIGITS else 0
    if chosen.fixed_rounds or not 1 <= number <= MAX_ROUNDS:
        raise PruningError(
            f"'{spec[:80]}' is not a schedule: write one_shot, or a name and rounds as in agp:N, "
            f"N from 1 to {MAX_ROUNDS}."
        )
    return replace(chosen, rounds=number)


def fractions(schedule: Schedule) -> tuple[float, ...]:
    """The share of the target after each round; the last one is 1."""
    return tuple(schedule((k + 1) / schedule.rounds) for k in range(schedule.rounds))
