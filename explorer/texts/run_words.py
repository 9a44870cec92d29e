"""Runs of the history in words. This module does not use Streamlit."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from explorer.texts.formats import interval_words, listed, percent, value_text
from explorer.texts.plan_words import TRAINING_WORDS, WORDS
from explorer.texts.translate import N_, _, from_core, language, n_
from pruning_core.history import KINDS, Run, Value
from pruning_core.history.run import PROBE
from pruning_core.history.tables import flat_plan
from pruning_core.plan import Plan
from pruning_core.tasks import Task
from pruning_core.types import PruningError

COSTS = {
    "macs": "MACs",
    "parameters": N_("Parameters"),
    "bytes": N_("Stored bytes"),
    "time": N_("Time"),
}
"""A cost of `Run.costs` -> its label in English."""
SPLITS = {"test": N_("test"), PROBE: N_("probe")}
"""The split of a measurement, as a run keeps it -> its name in English."""
DEFAULTS = flat_plan(Run("plan", Plan().to_json(), ""))


def run_title(run: Run) -> str:
    """Filter by Magnitude (L1), 50% requested. A study has several criteria: Random, Wanda."""
    if run.kind == "study" and (criteria := _criteria_of(run)):
        return listed(criteria)
    names = flat_plan(run)
    cut = {"granularity": field_words(names, "granularity")}
    cut["criterion"] = field_words(names, "criterion")
    if names.get("overrides"):
        return _("{granularity} by {criterion}, ratios by hand", **cut)
    sparsity = field_words(names, "sparsity")
    return _("{granularity} by {criterion}, {sparsity}", sparsity=sparsity, **cut)


def _criteria_of(run: Run) -> list[str]:
    """The labels of a study's criteria; none where they were not kept."""
    study = run.settings.get("study")
    names = study.get("criteria") if isinstance(study, Mapping) else None
    return [field_words({"criterion": name}, "criterion") for name in names or ()]


def kind_words(run: Run) -> str:
    """Fine-tune."""
    words = from_core(KINDS.get(run.kind, N_("dense network")))
    return words[:1].upper() + words[1:]


def subject_words(run: Run) -> str:
    """LeNet-5 on Digits."""
    names = flat_plan(run)
    return _(
        "{network} on {images}",
        network=field_words(names, "model"),
        images=field_words(names, "dataset"),
    )


def field_label(name: str) -> str:
    """A field of `flat_plan` as the title of a column."""
    inner = name.removeprefix("fine_tune.")
    words = TRAINING_WORDS if inner != name else WORDS
    label = _(words[inner][0]) if inner in words else inner.replace("_", " ")
    return label[:1].upper() + label[1:]


def field_words(names: dict[str, Any], name: str) -> str:
    """The value of a field of `flat_plan`, as pages write it."""
    value = names.get(name, DEFAULTS.get(name, ""))
    if name in ("overrides", "edits"):
        return _("{n} layers", n=len(value)) if value else _("none")
    if not isinstance(value, str | int | float):
        return str(value)[:60]
    return _words(language(), name, value)


@lru_cache(maxsize=4096)
def _words(code: str, name: str, value: str | int | float) -> str:
    """code: of the page's language, in which `WORDS` writes."""
    inner = name.removeprefix("fine_tune.")
    words = TRAINING_WORDS if inner != name else WORDS
    if inner not in words:
        return str(value)
    try:
        return words[inner][1](value)
    except (PruningError, KeyError, TypeError, ValueError):  # a name that this version has not
        return str(value)[:60]


def measured_words(value: Value, task: Task) -> str:
    """91.2% (95%: 88.0 to 93.7%)."""
    return _(
        "{value} (95%: {interval})",
        value=value_text(value.value, task),
        interval=interval_words((value.low, value.high), task),
    )


def started_words(run: Run) -> str:
    """2026-11-28 14:30."""
    return datetime.fromtimestamp(run.started).strftime("%Y-%m-%d %H:%M")


def cost_text(run: Run, cost: str) -> str:
    """The share that remains: 41.3%; nothing where it is not known."""
    share = run.costs.get(cost)
    return "" if share is None else percent(share)


def machine_words(run: Run) -> str:
    """cpu, 2 threads, AMD EPYC, torch 2.9, Pruning Explorer 0.1.0."""
    facts = run.machine
    versions = facts.get("versions", {})
    parts = [facts.get("device"), facts.get("processor")]
    if facts.get("threads"):
        parts.append(n_("{n} thread", "{n} threads", facts["threads"]))
    parts += [
        f"{name} {versions[name]}" for name in ("torch", "pruning-explorer") if name in versions
    ]
    return listed(str(part) for part in parts if part)
