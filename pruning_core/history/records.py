"""Runs of the history from what was measured: plans, flows, studies, searches."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch

from pruning_core.compress.machine import machine
from pruning_core.compress.storage_sizes import computed_sizes
from pruning_core.export.report import evaluations_by_state
from pruning_core.granularity import granularity
from pruning_core.history.run import FAILED, PROBE, TEST, Run, Value
from pruning_core.history.tensors import ANSWERS, MASKS, Curves, files_of, pack_answers, pack_masks
from pruning_core.intervals import wilson_interval
from pruning_core.model.device import choose_device
from pruning_core.plan import Plan
from pruning_core.search.candidates import Judged
from pruning_core.search.run import SearchResult, SearchSettings
from pruning_core.studies import Measurement, Result, RunFailed, Study, run_plan, study_folder
from pruning_core.tasks import Task
from pruning_core.types import Evaluation, Finished, Masks, Report
from pruning_core.workspaces import Workspace

STUDY_COUNTS = (
    *("parameters", "nonzeros", "macs", "macs_effective"),
    *("thinned_nonzeros", "thinned_macs"),
)
Kept = tuple[Run, dict[str, bytes]]
"""A run and its files."""


def machine_facts(device: torch.device | None = None, threads: int | None = None) -> dict[str, Any]:
    """Device, processor, threads and versions, as a run keeps them."""
    from pruning_core import __version__

    facts = asdict(machine(device or choose_device(None)))
    versions = facts["versions"] | {"pruning-explorer": __version__}
    named = {name: facts[name] for name in ("device", "processor", "capability", "system")}
    return named | {"threads": threads or facts["threads"], "versions": versions}


def evaluated_plan(
    plan: Plan,
    fingerprint: str,
    masks: Masks,
    report: Report,
    dense: Evaluation,
    pruned: Evaluation,
    stored_bytes: Mapping[str, int],
    parent: str | None = None,
) -> Kept:
    """A plan as the page Explore measures it: on the probe, without training."""
    measured = {"dense": dense, "pruned": pruned}
    run = Run(
        "plan",
        plan.to_json(),
        fingerprint,
        id=evaluated_id(plan, fingerprint),
        parent=parent,
        task=dense.task,
        values={state: _value(evaluation, PROBE) for state, evaluation in measured.items()},
        **_counted(report),
        stored_bytes=stored_bytes,
        machine=machine_facts(),
    )
    return run, {MASKS: pack_masks(masks), ANSWERS: pack_answers(measured)}


def evaluated_id(plan: Plan, fingerprint: str) -> str:
    """The id of `evaluated_plan` of this plan, network and data."""
    return content_id("plan", fingerprint, plan.to_json())


def finished_records(
    start: Run,
    plan: Plan,
    space: Workspace,
    finished: Finished,
    curves: Curves,
    device: torch.device | None = None,
) -> tuple[Kept]:
    """The run that began as `start`, an end of `pipeline.prune`."""
    sizes = computed_sizes(
        finished.model, space.layers, finished.masks, granularity(plan.granularity)
    )
    run = replace(
        start,
        task=finished.dense.task,
        values={state: _value(e, TEST) for state, e in evaluations_by_state(finished).items()},
        **_counted(finished.report),
        stored_bytes={size.format: size.bytes for size in sizes},
        machine=machine_facts(device, finished.threads),
    )
    return ((run, files_of(finished, curves, space.start_masks)),)


def study_record(study: Study, fingerprint: str, task: Task) -> Run:
    """The study itself, the parent of its runs."""
    return Run(
        "study",
        study.plan.to_json(),
        fingerprint,
        id=content_id("study", study_folder(study, fingerprint).name),
        task=task,
        settings={"study": json.loads(study.to_json())},
        machine=machine_facts(),
    )


def study_run(
    parent: Run, study: Study, ended: Result | RunFailed, device: torch.device | None = None
) -> Run:
    """A run of a study, with numbers only: `pruning replay` makes its masks again."""
    own = asdict(ended.run)
    run = Run(
        "study_run",
        run_plan(study, ended.run).to_json(),
        parent.fingerprint,
        id=content_id(parent.id, json.dumps(own)),
        parent=parent.id,
        task=parent.task,
        machine=parent.machine,
        settings={"study": json.loads(study.to_json()), "run": own},
    )
    if isinstance(ended, RunFailed):
        return replace(run, state=FAILED, sentence=ended.reason)
    return _with_result(run, ended)


def _with_result(run: Run, result: Result) -> Run:
    states = {"dense": result.initial, "pruned": result.before, "tuned": result.after}
    stored = {"dense": result.dense_bytes, "smallest": result.stored_bytes}
    counts = {name: getattr(result, name) for name in STUDY_COUNTS}
    return replace(
        run,
        values={state: _measured(m) for state, m in states.items() if m is not None},
        counts={name: count for name, count in counts.items() if count is not None},
        stored_bytes={name: size for name, size in stored.items() if size is not None},
        speedup=result.measured_speedup,
        machine=dict(run.machine) | {"threads": result.threads},
        started=time.time() - result.seconds,
        seconds=result.seconds,
    )


def scan_record(plan: Plan, settings: Mapping[str, Any], fingerprint: str, task: Task) -> Run:
    """A scan that begins; its id is that of every scan with the same plan and settings."""
    return Run(
        "scan",
        plan.to_json(),
        fingerprint,
        id=content_id("scan", fingerprint, plan.to_json(), json.dumps(settings)),
        task=task,
        machine=machine_facts(),
        settings={"scan": dict(settings)},
    )


def search_record(plan: Plan, settings: SearchSettings, fingerprint: str, task: Task) -> Run:
    """A search that begins; its id is that of every search with the same settings."""
    by_name = asdict(settings)
    return Run(
        "search",
        plan.to_json(),
        fingerprint,
        id=content_id("search", fingerprint, plan.to_json(), json.dumps(by_name)),
        task=task,
        machine=machine_facts(),
        settings={"search": by_name},
    )


def search_records(start: Run, space: Workspace, outcome: SearchResult) -> Iterator[Kept]:
    """The finished search, then its best candidates, at most `search.run.TOP`."""
    n = min(outcome.plan.probe, len(space.dataset.val))
    dense = _judged(outcome.dense, n, start.task)
    best = _judged(outcome.best.judged, n, start.task)
    settings = {**start.settings, "costs": dict(outcome.best.costs)}
    yield replace(start, values={"dense": dense, "pruned": best}, settings=settings), {}
    for candidate in outcome.top:
        ratios = dict.fromkeys(dict(outcome.plan.overrides), 0.0) | candidate.ratios
        plan = replace(outcome.plan, overrides=tuple(ratios.items())).to_json()
        settings = {
            "costs": dict(candidate.costs),
            "origin": candidate.origin,
            "number": candidate.number,
        }
        yield (
            Run(
                "candidate",
                plan,
                start.fingerprint,
                id=content_id(start.id, plan),
                parent=start.id,
                task=start.task,
                values={"dense": dense, "pruned": _judged(candidate.judged, n, start.task)},
                machine=start.machine,
                settings=settings,
            ),
            {},
        )


def _counted(report: Report) -> dict[str, Any]:
    """The fields of a run that hold a report."""
    counts = asdict(report)
    kept = counts.pop("kept")
    numbers = {name: n for name, n in counts.items() if isinstance(n, int | float)}
    return {"counts": numbers, "kept": kept}


def _value(evaluation: Evaluation, split: str) -> Value:
    return Value(evaluation.value, *evaluation.interval, evaluation.n, evaluation.loss, split)


def _measured(own: Measurement) -> Value:
    return Value(own.value, own.low, own.high, own.n, float("inf"), TEST)


def _judged(judged: Judged, n: int, task: Task) -> Value:
    """A candidate's value; its evaluation is not kept, so only a fraction has an interval."""
    ends = (float("-inf"), float("inf"))
    if judged.evaluation is not None:
        return _value(judged.evaluation, PROBE)
    if task.binary:
        ends = wilson_interval(round(judged.value * n), n)
    loss = float("inf") if judged.loss is None else judged.loss
    return Value(judged.value, *ends, n, loss, PROBE)


def content_id(*parts: str) -> str:
    """The id of a run that is the same whenever it is kept."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
