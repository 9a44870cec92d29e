"""What a study asks for: one plan, and the methods, compressions and seeds that take turns in it.
study <-> JSON is exact.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any

from pruning_core.criteria import CRITERIA, criterion
from pruning_core.criteria import check as check_criterion
from pruning_core.granularity import GRANULARITIES, granularity
from pruning_core.plan import Plan
from pruning_core.registry import find
from pruning_core.resolved_plan import prunable
from pruning_core.types import PruningError
from pruning_core.workspace import Workspace

VERSION = 1
BASELINES = ("magnitude_l1", "random")
"""Criteria that every study measures."""
COMPRESSIONS = (2.0, 4.0, 8.0, 16.0, 32.0)
MOST_SEEDS = 50
MOST_COMPRESSION = 1e4


@dataclass(frozen=True)
class Run:
    """One network of a study, cut and trained. compression: asked of the layers that can be cut,
    weights / weights left.
    """

    criterion: str
    granularity: str
    compression: float
    seed: int


@dataclass(frozen=True)
class Study:
    """Methods compared on one network and its images, with the same start, training and seeds
    (Blalock et al. 2020, 2003.03033).

    plan: all that the runs share; what they vary (criterion, granularity, sparsity, seeds) is set
    to its default in it. criteria: `BASELINES` come by themselves; compressions: a run's sparsity
    is 1 - 1/compression of the layers that it can cut; seeds: how many, 0, 1, ...: of training,
    random scores, and the choice of calibration and training images; images: training images that a
    run may use, 0 = all. Names are put in the registries' order, so that equal studies are equal.

    Raises PruningError, in one sentence, for a value that cannot be meant.
    """

    plan: Plan = field(default_factory=Plan)
    criteria: tuple[str, ...] = BASELINES
    granularities: tuple[str, ...] = ("fine",)
    compressions: tuple[float, ...] = COMPRESSIONS
    seeds: int = 3
    images: int = 0

    def __post_init__(self) -> None:
        for name in self.criteria:
            check_criterion(name)
        for name in self.granularities:
            granularity(name)
        _require(
            bool(self.granularities),
            "The study has no granularity: name at least one, such as fine.",
        )
        _require(
            bool(self.compressions), "The study has no compression: name at least one, such as 4."
        )
        for value in self.compressions:
            good = math.isfinite(value) and 1 < value <= MOST_COMPRESSION
            _require(
                good,
                f"A compression of {value} is outside 1 to {MOST_COMPRESSION:g}: 4 leaves one weight in four.",
            )
        _require(1 <= self.seeds <= MOST_SEEDS, f"{self.seeds} seeds is outside 1 to {MOST_SEEDS}.")
        _require(
            self.images >= 0,
            f"The number of training images must not be negative, but is {self.images}: 0 means all.",
        )
        by_hand = bool(self.plan.overrides or self.plan.edits) or self.plan.allocation == "manual"
        _require(
            not by_hand,
            "A study sets every ratio by its methods: choose no manual allocation, and nothing set by hand.",
        )
        for name, value in _in_order(self).items():
            object.__setattr__(self, name, value)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, seed by seed, so that the first seed's curves are there first. N:M has one
        compression, its own.
        """
        return tuple(
            Run(how, name, compression, seed)
            for seed, name in product(range(self.seeds), self.granularities)
            for compression in self._compressions(name)
            for how in self.criteria
        )

    def _compressions(self, name: str) -> tuple[float, ...]:
        fixed = granularity(name).fixed_ratio
        return self.compressions if fixed is None else (1 / (1 - fixed),)

    def to_json(self) -> str:
        """The study as JSON text; `from_json` gives the equal study back."""
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "plan"}
        return json.dumps(
            {"version": VERSION, "plan": json.loads(self.plan.to_json())} | own, indent=2
        )

    @classmethod
    def from_json(cls, text: str) -> "Study":
        """Reads a study; what is left out has its default. Raises PruningError for text that is
        none.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PruningError(f"The study is not valid JSON: {error}.") from error
        _require(
            isinstance(raw, dict),
            'The study must be a JSON object such as {"plan": {"model": "resnet20"}}.',
        )
        version = raw.pop("version", VERSION)
        _require(
            version == VERSION,
            f"The study is of version {version}; this program reads version {VERSION}.",
        )
        return cls(
            **{
                key: find(_READ, key, "setting in the study called")(key, value)
                for key, value in raw.items()
            }
        )


def plan_of(study: Study, run: Run) -> Plan:
    """The plan that a run carries out."""
    tune = replace(study.plan.fine_tune, seed=run.seed)
    return replace(
        study.plan,
        criterion=run.criterion,
        granularity=run.granularity,
        sparsity=1 - 1 / run.compression,
        seed=run.seed,
        fine_tune=tune,
    )


def refused(study: Study, space: Workspace) -> dict[tuple[str, str], str]:
    """The pairs (criterion, granularity) that can cut no layer of the network, with the first
    layer's reason.
    """
    found = {}
    for how, name in product(study.criteria, study.granularities):
        able, reasons = prunable(space.layers, granularity(name), criterion(how))
        if not able:
            found[how, name] = next(
                iter(reasons.values()), "The network has no layer that can be cut."
            )
    return found


def wanted(study: Study, space: Workspace) -> tuple[Run, ...]:
    """The runs that the network can take, in the study's order."""
    without = refused(study, space)
    return tuple(run for run in study.runs if (run.criterion, run.granularity) not in without)


def _require(good: bool, sentence: str) -> None:
    if not good:
        raise PruningError(sentence)


def _in_order(study: Study) -> dict[str, Any]:
    """The study's fields in the one form that stands for all equal studies."""
    default = Plan()
    tune = replace(study.plan.fine_tune, seed=0)
    shared = replace(
        study.plan,
        criterion=default.criterion,
        granularity=default.granularity,
        sparsity=default.sparsity,
        seed=default.seed,
        fine_tune=tune,
    )
    return {
        "plan": shared,
        "criteria": _ordered((*BASELINES, *study.criteria), (*BASELINES, *CRITERIA)),
        "granularities": _ordered(study.granularities, GRANULARITIES),
        "compressions": tuple(sorted({float(value) for value in study.compressions})),
    }


def _ordered(names: Iterable[str], registry: Iterable[str]) -> tuple[str, ...]:
    """Each name once: the registry's in its order, then all others by the alphabet."""
    given = set(names)
    first = tuple(dict.fromkeys(registry))
    return (*(name for name in first if name in given), *sorted(given - set(first)))


def _plan(key: str, value: Any) -> Plan:
    return Plan.from_json(json.dumps(value))


def _names(key: str, value: Any) -> tuple[str, ...]:
    _require(
        isinstance(value, list) and all(type(each) is str for each in value),
        f"'{key}' in the study must be a list of names.",
    )
    return tuple(value)


def _numbers(key: str, value: Any) -> tuple[float, ...]:
    good = isinstance(value, list) and all(
        type(each) in (int, float) and abs(each) < 2**1000 for each in value
    )
    _require(good, f"'{key}' in the study must be a list of numbers.")
    return tuple(map(float, value))


def _whole(key: str, value: Any) -> int:
    _require(type(value) is int, f"'{key}' in the study must be a whole number, not {value!r}.")
    return int(value)


_READ: Mapping[str, Any] = {
    "plan": _plan,
    "criteria": _names,
    "granularities": _names,
    "compressions": _numbers,
    "seeds": _whole,
    "images": _whole,
}
