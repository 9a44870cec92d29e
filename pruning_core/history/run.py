"""One run of the history, and its JSON form."""

import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from pruning_core.plan import Plan
from pruning_core.tasks import CLASSIFICATION, TASKS, Task
from pruning_core.types import PruningError

KINDS = {
    "plan": "evaluated plan",
    "tune": "fine-tune",
    "flow": "flow",
    "run": "command run",
    "study": "study",
    "study_run": "study run",
    "search": "search",
    "candidate": "search candidate",
    "scan": "sensitivity scan",
}
"""What made the run -> its words."""
RUNNING = "running"
FINISHED = "finished"
INTERRUPTED = "interrupted"
FAILED = "failed"
STATES = (RUNNING, FINISHED, INTERRUPTED, FAILED)
COSTS = (
    ("macs", "macs", ("thinned_macs", "macs_effective")),
    ("parameters", "parameters", ("thinned_nonzeros", "thinned_parameters", "nonzeros")),
)
"""A cost, the count of the dense network, and those of the pruned one, the best known first; older
runs have thinned_nonzeros by the name thinned_parameters.
"""
PROBE = "validation"
TEST = "test"
ID = re.compile(r"[0-9a-f]{12}")
READ_ERRORS = (
    *(ValueError, TypeError, KeyError, AttributeError),
    *(OverflowError, RecursionError),  # a number of hundreds of digits, very deep lists
)
"""What reading a text of somebody else as a record can raise."""
MOST_RECORD = 1_000_000
"""Most characters of a run's JSON text."""
MOST_NOTE = 2000
MOST_TAGS = 20
MOST_TAG = 40
TASK_FIELDS = {entry.name: entry.type for entry in fields(Task)}
LIMITS = ("low", "high")
"""Fields of a task that may be None."""


@dataclass(frozen=True)
class Value:
    """The task's value of one state of the network, on n samples.

    low, high: its 95% interval; infinite where it has no end. split: "validation" or "test".
    """

    value: float
    low: float
    high: float
    n: int
    loss: float
    split: str


@dataclass(frozen=True)
class Run:
    """What was tried, how, and what came out.

    plan: its JSON text; fingerprint: of network and data (`studies.fingerprint`); values: by the
    state of the network, in the order of the work; counts: those of `types.Report`, as far as they
    are known; kept: the kept fraction of each layer; stored_bytes: by storage format; all three
    computed. speedup: dense time / time of the pruned network, where measured.
    machine: device, processor, threads and versions; settings: what the plan does not say, such as
    the study of a study run. sentence: why it failed. started: seconds of `time.time`; deleted:
    when it was deleted, None otherwise. files: name -> hash of the tensors beside the database.
    """

    kind: str
    plan: str
    fingerprint: str
    id: str = field(default_factory=lambda: uuid4().hex[:12])
    parent: str | None = None
    state: str = FINISHED
    sentence: str = ""
    task: Task = CLASSIFICATION
    values: Mapping[str, Value] = field(default_factory=dict)
    counts: Mapping[str, int | float] = field(default_factory=dict)
    kept: Mapping[str, float] = field(default_factory=dict)
    stored_bytes: Mapping[str, int] = field(default_factory=dict)
    speedup: float | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    seconds: float | None = None
    note: str = ""
    tags: tuple[str, ...] = ()
    pinned: bool = False
    deleted: float | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def names(self) -> Mapping[str, Any]:
        """The plan as JSON values, also of a plan that this version cannot read."""
        return MappingProxyType(_typed(json.loads(self.plan), dict))

    @property
    def model(self) -> str:
        """The network's name."""
        return str(self.names.get("model", Plan().model))

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return str(self.names.get("dataset", Plan().dataset))

    @property
    def final(self) -> Value | None:
        """The value of the last state; None where nothing was measured."""
        return tuple(self.values.values())[-1] if self.values else None

    @property
    def costs(self) -> dict[str, float]:
        """What remains of the dense network, as shares: macs, parameters, bytes, time; as far as
        they are known. Of the thinned network where that is known, else of the masked one.
        """
        shares = dict(self.settings.get("costs", {}))
        for name, dense, left in COSTS:
            known = [self.counts[own] for own in left if own in self.counts]
            if dense in self.counts and known:
                shares[name] = known[0] / max(1, self.counts[dense])
        stored = [size for name, size in self.stored_bytes.items() if name != "dense"]
        if stored:
            shares["bytes"] = min(stored) / max(1, self.stored_bytes["dense"])
        if self.speedup:
            shares["time"] = 1 / self.speedup
        return shares

    def read_plan(self) -> Plan:
        """Raises PruningError where this version cannot read the plan."""
        return Plan.from_json(self.plan)


def to_record(run: Run) -> str:
    """All that never changes of a finished run, as JSON text."""
    values = {
        state: {
            key: number
            for key, number in asdict(value).items()
            if isinstance(number, str) or math.isfinite(number)
        }
        for state, value in run.values.items()
    }
    task = {name: getattr(run.task, name) for name in TASK_FIELDS}
    return json.dumps(
        {
            "plan": run.plan,
            "fingerprint": run.fingerprint,
            "sentence": run.sentence,
            "task": task,
            "values": values,
            "counts": dict(run.counts),
            "kept": dict(run.kept),
            "stored_bytes": dict(run.stored_bytes),
            "speedup": run.speedup,
            "machine": dict(run.machine),
            "settings": dict(run.settings),
            "seconds": run.seconds,
        },
        allow_nan=False,
    )


def from_record(text: str, **own: Any) -> Run:
    """The run of a `to_record` text. own: its other fields.

    Raises PruningError for another text; nothing in it is imported or run.
    """
    try:
        if len(text) > MOST_RECORD:
            raise ValueError("it is too long")
        raw = json.loads(text)
        return _read(raw, **own)
    except READ_ERRORS as error:
        raise PruningError(f"A run of the history cannot be read: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:120].rstrip(".")
    return f"{text} is missing" if isinstance(error, KeyError) else text


def _read(raw: dict[str, Any], **own: Any) -> Run:
    seconds = raw["seconds"]
    run = Run(
        plan=_typed(raw["plan"], str),
        fingerprint=_typed(raw["fingerprint"], str),
        sentence=_typed(raw["sentence"], str),
        task=_task(raw["task"]),
        values={_typed(name, str): _value(value) for name, value in raw["values"].items()},
        counts={_typed(name, str): _count(count) for name, count in raw["counts"].items()},
        kept={_typed(name, str): _number(share) for name, share in raw["kept"].items()},
        stored_bytes={name: _number(size, int) for name, size in raw["stored_bytes"].items()},
        speedup=None if raw["speedup"] is None else _number(raw["speedup"]),
        machine=_typed(raw["machine"], dict),
        settings=_typed(raw["settings"], dict),
        seconds=None if seconds is None else _number(seconds),
        **own,
    )
    if run.kind not in KINDS or run.state not in STATES or not ID.fullmatch(run.id):
        raise ValueError("its id, kind or state is unknown")
    if run.parent is not None and not ID.fullmatch(run.parent):
        raise ValueError("its parent's id is no id")
    for text in (run.note, *run.tags):
        _typed(text, str)
    json.dumps((run.machine, run.settings), allow_nan=False)  # raises for infinite numbers
    for share in run.costs.values():
        _number(share)
    _number(run.started)
    _number(len(run.names), least=1.0)  # its plan is a JSON object
    return run


def _task(raw: dict[str, Any]) -> Task:
    """The task with its labels. The classes of `TASKS` only: no code of the user's is imported."""
    name = _typed(raw["name"], str)
    if name in TASKS:
        return TASKS[name]
    ends = {end: None if raw[end] is None else _number(raw[end], least=None) for end in LIMITS}
    checked = {
        key: _typed(raw[key], kind) for key, kind in TASK_FIELDS.items() if key not in LIMITS
    }
    return Task(**{**checked, **ends})


def _value(raw: dict[str, Any]) -> Value:
    value = Value(
        value=_number(raw["value"], least=None),
        low=_number(raw.get("low", -math.inf), least=None, finite=False),
        high=_number(raw.get("high", math.inf), least=None, finite=False),
        n=_number(raw["n"], int),
        loss=_number(raw.get("loss", math.inf), least=None, finite=False),
        split=_typed(raw["split"], str),
    )
    if value.split not in (PROBE, TEST):
        raise ValueError("a value is of an unknown split")
    return value


def _count(value: Any) -> Any:
    return _number(value, int) if type(value) is int else _number(value)


def _typed(value: Any, kind: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{str(value)[:40]!r} is of a wrong type")
    return value


def _number(value: Any, kind: Any = None, least: float | None = 0, finite: bool = True) -> Any:
    """The value, if it is a number of that type, finite, and at least `least`."""
    if type(value) not in ((kind,) if kind else (int, float)):
        raise ValueError(f"{str(value)[:40]!r} is no number")
    if (finite and not abs(value) < 1e300) or (least is not None and value < least):
        raise ValueError(f"the number {value:g} is not possible")
    return value if kind else float(value)


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags without blanks around them, each once. Raises PruningError for too many or too long."""
    cleaned = tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(cleaned) > MOST_TAGS or any(len(tag) > MOST_TAG or "," in tag for tag in cleaned):
        raise PruningError(
            f"A run has at most {MOST_TAGS} tags of at most {MOST_TAG} characters, without commas."
        )
    return cleaned


def checked_note(note: str) -> str:
    """The note. Raises PruningError where it is too long."""
    if len(note) > MOST_NOTE:
        raise PruningError(f"A note has at most {MOST_NOTE:,} characters, not {len(note):,}.")
    return note
