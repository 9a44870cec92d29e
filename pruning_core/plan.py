"""The plan of a pruning run, and its JSON form."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import check_criterion, criterion
from pruning_core.errors import kind_text
from pruning_core.flows import flow
from pruning_core.granularity import granularity
from pruning_core.hand_edits import HandEdits, check_edits, from_raw, to_raw
from pruning_core.model.kept_norms import ALL, NORMS
from pruning_core.registry import find
from pruning_core.repairs import NONE, REPAIRS
from pruning_core.resolved_plan import ResolvedPlan
from pruning_core.schedule import schedule
from pruning_core.start_masks import DENSE, STARTS, ZEROS
from pruning_core.training.config import TrainConfig
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace

VERSION = 1
LEAST_PROBE = 10
MOST_PROBE = 50_000


@dataclass(frozen=True)
class Plan:
    """What to prune and how: every choice of a pruning run, as names and numbers.

    model, dataset: names of the zoo; criterion: a name of `CRITERIA`, or module.path:function;
    granularity, allocation, schedule, flow: names of their axes, a schedule with its rounds and a
    flow with its settings after a colon; sparsity: the target, in [0, 1]; overrides: ratios set by
    hand, by layer; edits: groups kept or removed by hand; allow_collapse: a layer may lose all its
    groups; probe: images that accuracy is measured on; calibration: training images that criteria
    read; fine_tune: how to train; seed: of random scores (`fine_tune.seed` is that of training);
    start: dense, or zeros: weights that are zero already count as removed and stay zero;
    norms: layer, group and RMS norms average over all channels, or over those that are kept, as a
    network without the removed ones does;
    repair: what may change in the pruned network without training, a name of `REPAIRS`;
    tied: with whole filters, layers whose channels are tied (`Coupling`) lose the same ones.

    On the CPU of one machine, with the same number of threads (`thread_pool.thread_count`), equal
    plans give equal masks. Between processors, results agree within float rounding only.
    Raises PruningError, in one sentence, for a value that is not possible.

    >>> plan = Plan(model="lenet5", granularity="filter", sparsity=0.3)
    >>> Plan.from_json(plan.to_json()) == plan
    True
    """

    model: str = "resnet20"
    dataset: str = "digits"
    criterion: str = "magnitude_l1"
    granularity: str = "fine"
    allocation: str = "uniform"
    sparsity: float = 0.5
    schedule: str = "one_shot"
    flow: str = "rounds"
    overrides: tuple[tuple[str, float], ...] = ()
    edits: tuple[HandEdits, ...] = ()
    allow_collapse: bool = False
    probe: int = 512
    calibration: int = 256
    fine_tune: TrainConfig = field(default_factory=TrainConfig)
    seed: int = 0
    start: str = DENSE
    norms: str = ALL
    repair: str = NONE
    tied: bool = False

    def __post_init__(self) -> None:
        check_criterion(self.criterion)
        find(ALLOCATIONS, self.allocation, "allocation")
        granularity(self.granularity)
        schedule(self.schedule)
        flow(self.flow)
        find(STARTS, self.start, "start")
        find(NORMS, self.norms, "choice of norms")
        find(REPAIRS, self.repair, "repair")
        if not 0 <= self.sparsity <= 1:
            raise PruningError(
                f"A sparsity of {self.sparsity} is outside [0, 1]: 0 removes nothing, 1 everything."
            )
        if len(dict(self.overrides)) < len(self.overrides):
            raise PruningError("The plan sets the ratio of one layer twice: name each layer once.")
        for name, ratio in self.overrides:
            if not 0 <= ratio <= 1:
                raise PruningError(f"The ratio {ratio} of {name} is outside [0, 1].")
        check_edits(self.edits)
        if not LEAST_PROBE <= self.probe <= MOST_PROBE:
            raise PruningError(
                f"A probe of {self.probe} images is outside {LEAST_PROBE} to {MOST_PROBE}."
            )
        if not 1 <= self.calibration <= MOST_PROBE:
            raise PruningError(
                f"{self.calibration} calibration images is outside 1 to {MOST_PROBE}."
            )
        if not 0 <= self.seed < 2**31:
            raise PruningError(f"The seed {self.seed} is outside 0 to {2**31 - 1}.")

    @property
    def edits_now(self) -> tuple[HandEdits, ...]:
        """The hand edits at the plan's own granularity; those at others have no effect now."""
        return tuple(
            edit for edit in self.edits if edit.granularity == self.granularity and edit.groups
        )

    def resolve(self, space: Workspace) -> ResolvedPlan:
        """The plan with its names turned into objects, on this workspace.

        Schedules whose curve depends on the target get it; only the hand edits at the plan's own
        granularity are kept. Raises PruningError for a criterion that cannot be imported.

        >>> from pruning_core import open_workspace
        >>> space = open_workspace("lenet5", "digits")
        >>> resolved = Plan(model="lenet5", granularity="2:4").resolve(space)
        >>> resolved.granularity.fixed_ratio
        0.5
        """
        space = space.with_norms(self.norms)
        return ResolvedPlan(
            space,
            space.name or self.model,
            criterion(self.criterion, self.seed),
            granularity(self.granularity),
            ALLOCATIONS[self.allocation],
            schedule(self.schedule, self.sparsity),
            self.sparsity,
            dict(self.overrides),
            self.edits_now,
            self.allow_collapse,
            self.calibration,
            space.removed_at_start if self.start == ZEROS else {},
            REPAIRS[self.repair],
            self.probe,
            self.tied,
        )

    def to_json(self) -> str:
        """The plan as JSON text; `from_json` gives the equal plan back.

        A dense start, norms over all channels, no repair and untied layers are left out, so that
        plans from before there was a choice stay the same text.
        """
        named = {"overrides": dict(self.overrides), "edits": to_raw(self.edits)}
        values = {"version": VERSION} | asdict(self) | named
        usually = {"start": DENSE, "norms": ALL, "repair": NONE, "tied": False}
        for name, usual in usually.items():
            if values[name] == usual:
                del values[name]
        return json.dumps(values, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Reads a plan.

        Raises PruningError for text that is not JSON, an unknown key, a wrong type or a value out
        of its range.
        """
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise PruningError(f"The plan is not valid JSON: {error.msg} at {where}.") from error
        except (ValueError, RecursionError) as error:
            raise PruningError(
                "The plan has a number that is too long or objects nested too deep."
            ) from error
        if not isinstance(raw, dict):
            raise PruningError(
                'The plan must be a JSON object such as {"model": "resnet20"}, '
                f"not {kind_text(type(raw))}."
            )
        if (version := raw.pop("version", VERSION)) != VERSION:
            raise PruningError(
                f"The plan is of version {version}; this program reads version {VERSION}."
            )
        values = _typed(cls, raw, "plan", skip=("overrides", "edits", "fine_tune"))
        values["overrides"] = _overrides(raw.get("overrides", {}))
        values["edits"] = from_raw(raw.get("edits", {}))
        tune = raw.get("fine_tune", {})
        if not isinstance(tune, dict):
            raise PruningError("'fine_tune' in the plan must be a JSON object of its settings.")
        return cls(**values, fine_tune=TrainConfig(**_typed(TrainConfig, tune, "fine_tune")))


def _typed(
    cls: type, raw: Mapping[str, Any], where: str, skip: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The values of known fields, with their types checked. An int is accepted for a float."""
    types = {entry.name: entry.type for entry in fields(cls)}
    values = {}
    for key, value in raw.items():
        kind = find(types, key, f"setting in the {where} called")
        if key in skip:
            continue
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = _float(value)
        if type(value) is not kind:
            raise PruningError(f"'{key}' in the {where} must be {kind_text(kind)}, not {value!r}.")
        values[key] = value
    return values


def _overrides(raw: Any) -> tuple[tuple[str, float], ...]:
    if not isinstance(raw, dict) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in raw.values()
    ):
        raise PruningError("'overrides' in the plan must map layer names to ratios in [0, 1].")
    return tuple((str(name), _float(ratio)) for name, ratio in raw.items())


def _float(value: int | float) -> float:
    """Whole numbers beyond every float are infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
