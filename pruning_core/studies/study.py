"""What a study is: one plan, and the methods, compressions and seeds that its runs vary."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any

from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import CRITERIA, check_criterion, criterion
from pruning_core.granularity import GRANULARITIES, granularity
from pruning_core.plan import Plan
from pruning_core.registry import find
from pruning_core.resolved_plan import prunable
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace

VERSION = 1
BASELINES = ("magnitude_l1", "random")
"""Criteria that every study measures."""
COMPRESSIONS = (2.0, 4.0, 8.0, 16.0, 32.0)
MAX_SEEDS = 50
MAX_COMPRESSION = 1e4


@dataclass(frozen=True)
class Run:
    """One network of a study, pruned and fine-tuned.

    compression: target, weights / weights left, over the layers that can be pruned.
    """

    criterion: str
    granularity: str
    compression: float
    seed: int


@dataclass(frozen=True)
class Study:
    """Compares methods on one network and data set, with equal start, training and seeds.

    After Blalock et al. 2020, arXiv:2003.03033.

    plan: what all runs share. What the runs vary (criterion, granularity, sparsity, seeds) is set
    to its default in it.
    criteria: names of criteria; `BASELINES` are always added.
    granularities: names of granularities.
    compressions: each above 1; the sparsity of a run is 1 - 1 / compression.
    seeds: number of seeds. Seeds 0, 1, ... set the training order, random scores, and which
    calibration and training images are used.
    images: number of training images of a run; 0 means all.
    time: is the time of each pruned network measured too, once per run?
    Names are put in the order of the registries, so that studies with equal content are equal.

    Raises PruningError, in one sentence, for a value that is not valid.

    >>> Study(criteria=("snip",), compressions=(4.0, 2.0)).criteria
    ('magnitude_l1', 'random', 'snip')
    """

    plan: Plan = field(default_factory=Plan)
    criteria: tuple[str, ...] = BASELINES
    granularities: tuple[str, ...] = ("fine",)
    compressions: tuple[float, ...] = COMPRESSIONS
    seeds: int = 3
    images: int = 0
    time: bool = False

    def __post_init__(self) -> None:
        _check_names(self)
        _check_numbers(self)
        _check_plan(self.plan)
        for name, value in _canonical_fields(self).items():
            object.__setattr__(self, name, value)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, seed by seed, so that the first seed gives a whole curve early.

        N:M granularities have one compression, which is fixed.
        """
        return tuple(
            Run(criterion_name, name, compression, seed)
            for seed, name in product(range(self.seeds), self.granularities)
            for compression in self._compressions(name)
            for criterion_name in self.criteria
        )

    def _compressions(self, name: str) -> tuple[float, ...]:
        fixed = granularity(name).fixed_ratio
        return self.compressions if fixed is None else (1 / (1 - fixed),)

    def to_json(self) -> str:
        """The study as JSON text. `from_json` reads it back to an equal study."""
        names = [field.name for field in fields(self) if field.name != "plan"]
        raw = {"version": VERSION, "plan": json.loads(self.plan.to_json())}
        return json.dumps(raw | {name: getattr(self, name) for name in names}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Study":
        """Reads a study. Fields that are missing in the text get their defaults.

        Raises PruningError for text that is not a study.
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
        return cls(**{key: _read_field(key, value) for key, value in raw.items()})


def run_plan(study: Study, run: Run) -> Plan:
    """The plan of one run."""
    return replace(
        study.plan,
        criterion=run.criterion,
        granularity=run.granularity,
        sparsity=1 - 1 / run.compression,
        seed=run.seed,
        fine_tune=replace(study.plan.fine_tune, seed=run.seed),
    )


def unsupported_methods(study: Study, space: Workspace) -> dict[tuple[str, str], str]:
    """The pairs (criterion, granularity) that can prune no layer of the network.

    Each has the first layer's reason, in one sentence.
    """
    reasons = {}
    for pair in product(study.criteria, study.granularities):
        layers, refused = prunable(space.layers, granularity(pair[1]), criterion(pair[0]))
        if not layers:
            first = next(iter(refused.values()), "The network has no layer that can be pruned.")
            reasons[pair] = first
    return reasons


def runnable_runs(study: Study, space: Workspace) -> tuple[Run, ...]:
    """The runs that the network supports, in the study's order."""
    unsupported = unsupported_methods(study, space)
    return tuple(run for run in study.runs if (run.criterion, run.granularity) not in unsupported)


def _check_names(study: Study) -> None:
    for name in study.criteria:
        check_criterion(name)
    for name in study.granularities:
        granularity(name)
    _require(
        bool(study.granularities), "The study has no granularity: name at least one, such as fine."
    )


def _check_numbers(study: Study) -> None:
    _require(
        bool(study.compressions), "The study has no compression: name at least one, such as 4."
    )
    for value in study.compressions:
        _require(
            math.isfinite(value) and 1 < value <= MAX_COMPRESSION,
            f"A compression of {value} is outside 1 to {MAX_COMPRESSION:g}: "
            "4 keeps one weight in four.",
        )
    _require(
        1 <= study.seeds <= MAX_SEEDS,
        f"A number of {study.seeds} seeds is outside 1 to {MAX_SEEDS}.",
    )
    _require(
        study.images >= 0,
        f"The number of training images is {study.images}, but must not be negative: 0 means all.",
    )


def _check_plan(plan: Plan) -> None:
    by_hand = plan.overrides or plan.edits or not ALLOCATIONS[plan.allocation].uses_target
    _require(
        not by_hand,
        "A study sets every ratio by its methods: "
        "remove the manual allocation and all values set by hand.",
    )


def _require(valid: bool, sentence: str) -> None:
    if not valid:
        raise PruningError(sentence)


def _canonical_fields(study: Study) -> dict[str, Any]:
    """The fields in one fixed form, which is the same for all studies with equal content."""
    default = Plan()
    shared = replace(
        study.plan,
        criterion=default.criterion,
        granularity=default.granularity,
        sparsity=default.sparsity,
        seed=default.seed,
        fine_tune=replace(study.plan.fine_tune, seed=0),
    )
    return {
        "plan": shared,
        "criteria": _ordered((*BASELINES, *study.criteria), (*BASELINES, *CRITERIA)),
        "granularities": _ordered(study.granularities, GRANULARITIES),
        "compressions": tuple(sorted({float(value) for value in study.compressions})),
    }


def _ordered(names: Iterable[str], registry: Iterable[str]) -> tuple[str, ...]:
    """Each name once: names of the registry in its order, then all others alphabetically."""
    given = set(names)
    known = [name for name in dict.fromkeys(registry) if name in given]
    return (*known, *sorted(given - set(known)))


def _read_field(key: str, value: Any) -> Any:
    return find(_READERS, key, "setting in the study called")(key, value)


def _read_plan(key: str, value: Any) -> Plan:
    return Plan.from_json(json.dumps(value))


def _read_names(key: str, value: Any) -> tuple[str, ...]:
    valid = isinstance(value, list) and all(type(name) is str for name in value)
    _require(valid, f"'{key}' in the study must be a list of names.")
    return tuple(value)


def _read_numbers(key: str, value: Any) -> tuple[float, ...]:
    valid = isinstance(value, list) and all(
        type(number) in (int, float) and abs(number) < 2**1000 for number in value
    )
    _require(valid, f"'{key}' in the study must be a list of numbers.")
    return tuple(map(float, value))


def _read_flag(key: str, value: Any) -> bool:
    _require(type(value) is bool, f"'{key}' in the study must be true or false, not {value!r}.")
    return bool(value)


def _read_integer(key: str, value: Any) -> int:
    _require(type(value) is int, f"'{key}' in the study must be a whole number, not {value!r}.")
    return int(value)


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "plan": _read_plan,
    "criteria": _read_names,
    "granularities": _read_names,
    "compressions": _read_numbers,
    "seeds": _read_integer,
    "images": _read_integer,
    "time": _read_flag,
}
