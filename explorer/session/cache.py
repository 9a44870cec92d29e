"""The caches that all sessions share. Each function's key is the text of all that it depends on.

Only this module uses `st.cache_resource`. All functions raise PruningError or DataMissing; errors
are not cached. Sessions and background jobs share the results: read them, never write to them. So
nothing here needs a lock: `evaluate` only reads the model, `IncrementalForward` has its own lock,
and `fine_tune`, `scan`, `apply_masks` and `pruned_copy` work on copies.
"""

import atexit
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache, wraps
from itertools import count
from pathlib import Path
from threading import Lock
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import streamlit as st
from streamlit.runtime import exists, get_instance
from torch import Tensor, nn

from explorer import metrics
from explorer.jobs.job import MakeEvents
from explorer.jobs.processes import Processes
from explorer.jobs.queue import JobQueue
from explorer.jobs.work import Events, Keep, Work
from explorer.limits import limits
from explorer.session import runnable_plan as runnable
from explorer.session.kept_results import KeptResults
from explorer.session.owners import Owners
from explorer.session.workspace_cache import WorkspaceCache
from explorer.texts.translate import N_, language
from pruning_core import pipeline, resolved_plan
from pruning_core.allocation import ALLOCATIONS, total_ratio
from pruning_core.criteria import criterion
from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.forward import BUDGET
from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.evaluation.metrics import measure
from pruning_core.granularity import granularity
from pruning_core.history import History, history_root
from pruning_core.last_results import LastResults
from pruning_core.model.inventory import weights
from pruning_core.model.layer_graph import NetworkMap, network_map
from pruning_core.plan import Plan
from pruning_core.repairs import BN, NONE
from pruning_core.studies import fingerprint as _fingerprint
from pruning_core.training.batch_norm import BatchNorms
from pruning_core.types import Evaluation, GroupScores, Layer, Masks, Ratios, Report, Split
from pruning_core.workspaces import Workspace, open_workspace
from pruning_core.zoo import Progress

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
READ_ONLY = N_("This is a demonstration: its run history is for reading only.")
RETRY_SECONDS = 60.0
"""Seconds after which files that could not be downloaded are requested again."""


def cached(
    key: Callable[..., object], entries: int
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Keeps a function's last `entries` results, under the text (repr) of `key(*arguments)`.

    All callers share one object. The number of every workspace among the arguments is part of the
    key: a network that is opened again, perhaps from other files, gets no results of before.
    """

    def decorate(compute: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        results: KeptResults[Result] = KeptResults(entries)

        @wraps(compute)
        def look_up(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            spaces = [number_of(part) for part in args if isinstance(part, Workspace)]
            text = repr((key(*args, **kwargs), spaces))
            return results.get(text, lambda: compute(*args, **kwargs))

        return look_up

    return decorate


_numbers: WeakKeyDictionary[Workspace, int] = WeakKeyDictionary()
_counter = count()
_numbering = Lock()


def number_of(space: Workspace) -> int:
    """The number of a workspace object in this process."""
    with _numbering:
        if space not in _numbers:
            _numbers[space] = next(_counter)
        return _numbers[space]


def score_key(plan: Plan) -> str:
    """All that group scores depend on, as text."""
    chosen = criterion(plan.criterion, plan.seed)
    calibration = plan.calibration if chosen.needs_data else None
    scored = (plan.model, plan.dataset, chosen, plan.granularity, calibration, plan.start)
    return repr((*scored, "tied") if plan.tied else scored)


def mask_key(plan: Plan) -> str:
    """All that masks, and what the masked network computes, depend on, as text."""
    return repr(
        (
            score_key(plan),
            plan.allocation,
            plan.sparsity,
            sorted(plan.overrides),
            plan.edits,
            plan.allow_collapse,
            plan.norms,
        )
    )


def repair_key(plan: Plan) -> str:
    """All that the pruned and repaired network depends on, as text."""
    images = None if plan.repair == NONE else plan.calibration
    return repr((mask_key(plan), plan.repair, images))


def _probe_key(plan: Plan, space: Workspace) -> tuple[object, ...]:
    return (plan.model, plan.dataset, plan.probe)


def _test_key(plan: Plan, space: Workspace) -> object:
    size = None if pipeline.uses_whole_test(space.dataset) else plan.probe
    return (plan.model, plan.dataset, size)


def _layer_view_key(
    plan: Plan, space: Workspace, layer: Layer, scores: bool, make: Callable[..., object]
) -> object:
    return (make.__qualname__, score_key(plan), layer.name, scores, plan.allow_collapse)


def _is_session_connected(session_id: str) -> bool:
    """Is this browser tab connected? Without a server (in tests) every session is."""
    return not exists() or get_instance().is_active_session(session_id)


# `st.cache_resource` does not fit these two: any browser can clear it for all.
@cache
def owners() -> Owners:
    """The browser of each session."""
    return Owners(_is_session_connected)


@cache
def jobs() -> JobQueue:
    """The background jobs of this process. Each browser sees only its own."""
    queue = JobQueue(owners().is_connected, limits())
    metrics.sources["jobs"] = queue.numbers
    atexit.register(queue.close, 1.0)
    return queue


@cache
def processes() -> Processes | None:
    """The worker processes of this server; None where jobs compute in its own threads."""
    if not limits().job_processes or os.name == "nt":
        return None
    workers = Processes()
    atexit.register(workers.close)
    return workers


def work(plan: Plan, space: Workspace, function: Events, keep: Keep = iter) -> MakeEvents:
    """Starts work on the plan's network and data, for `jobs().start`: in a worker process.

    function: as in `Work`; keep: wraps the events in this process.
    """
    described = Work(plan.model, plan.dataset, space, function)
    workers = processes()
    return lambda: keep(described.here() if workers is None else workers.events(described))


@st.cache_resource(max_entries=1, show_spinner=False)
def _workspaces() -> WorkspaceCache[Workspace]:
    return WorkspaceCache(size=4, retry_seconds=RETRY_SECONDS)


def workspace(model: str, dataset: str, progress: Progress | None = None) -> Workspace:
    """The trained base model with its data and layers. progress: called during a download.

    Raises PruningError or DataMissing.
    """
    return _workspaces().get((model, dataset), lambda: open_workspace(model, dataset, progress))


def is_open(model: str, dataset: str) -> bool:
    """Does `workspace` return at once, because the network and its data are open?"""
    return _workspaces().has((model, dataset))


def retry_missing() -> None:
    """Lets the next run look for missing files at once, not after `RETRY_SECONDS`."""
    _workspaces().retry_missing()


@cached(lambda plan, space: (plan.granularity, plan.criterion, plan.seed), 64)
def prunable(plan: Plan, space: Workspace) -> tuple[tuple[Layer, ...], dict[str, str]]:
    """The layers that the plan can prune, and for each other layer a sentence why not."""
    return resolved_plan.prunable(
        space.layers, granularity(plan.granularity), criterion(plan.criterion, plan.seed)
    )


def runnable_plan(plan: Plan, space: Workspace) -> tuple[Plan, tuple[str, ...]]:
    """The plan without the ratios and hand edits that cannot be used, and a sentence for each."""
    return runnable.runnable_plan(plan, *prunable(plan, space))


@cached(lambda plan, space: score_key(plan), 12)
def groups(plan: Plan, space: Workspace) -> GroupScores:
    """The group scores of the layers that the plan can prune, each scopes x groups."""
    return pipeline.group_scores_of(plan, space)[1]


@cached(lambda plan, space: mask_key(plan), 64)
def _ratios(plan: Plan, space: Workspace) -> Ratios:
    """The fraction removed from each layer."""
    return plan.resolve(space).ratios(groups(plan, space))


def ratios(plan: Plan, space: Workspace) -> Ratios:
    """The fraction removed from each layer: a dictionary of the caller's own."""
    return dict(_ratios(plan, space))


def requested_by_hand(plan: Plan, space: Workspace) -> float | None:
    """The fraction of all prunable weights that the layers' ratios request.

    None where no ratio is set by hand: then it is the plan's sparsity.
    """
    if not plan.overrides and ALLOCATIONS[plan.allocation].uses_target:
        return None
    return total_ratio(prunable(plan, space)[0], ratios(plan, space))


@cached(lambda plan, space: (plan.model, plan.dataset, plan.norms), 4)
def _last_results(plan: Plan, space: Workspace) -> LastResults:
    """The last masks and masked tensors of this network.

    A new plan most often differs from the last one in one layer.
    """
    return LastResults()


@cached(lambda plan, space: mask_key(plan), 12)
def masks(plan: Plan, space: Workspace) -> Masks:
    """The masks, True = keep."""
    resolved = plan.resolve(space)
    return resolved.masks(groups(plan, space), ratios(plan, space), _last_results(plan, space))


def pruned_model(plan: Plan, space: Workspace) -> nn.Module:
    """A new copy of the base model, pruned and repaired. The caller may change it."""
    return pipeline.pruned_copy(plan, space, masks(plan, space))


@cached(_layer_view_key, 12)
def layer_view(
    plan: Plan, space: Workspace, layer: Layer, scores: bool, make: Callable[..., Result]
) -> Result:
    """make(layer, weight, group scores or None, granularity, allow_collapse=...).

    It is what a page draws of a layer at any ratio. scores: pass the group scores.
    """
    group_scores = groups(plan, space)[layer.name] if scores else None
    weight = weights(space.model, (layer,))[layer.name]
    return make(
        layer,
        weight,
        group_scores,
        granularity(plan.granularity),
        allow_collapse=plan.allow_collapse,
    )


@cached(lambda make, space, *parts: (language(), *parts), 48)
def cached_detail(make: Callable[[], Result], space: Workspace, *parts: object) -> Result:
    """make(), kept for the workspace, the language and the text of `parts`: what it depends on.

    All sessions share the result, so it must be small.
    """
    return make()


@cached(lambda plan, space: mask_key(plan), 64)
def report(plan: Plan, space: Workspace) -> Report:
    """The computed counts of the masked model."""
    return pipeline.counts(plan, space, masks(plan, space))


@cached(lambda space: "", 8)
def dense_report(space: Workspace) -> Report:
    """The computed counts of the base model."""
    return measure(space.model, space.layers, {})


@cached(lambda plan, space: (plan.model, plan.dataset), 8)
def layer_map(plan: Plan, space: Workspace) -> NetworkMap:
    """The base model's layers in data-flow order."""
    return network_map(space.model, space.layers, space.one)


@cached(_probe_key, 4)
def probe(plan: Plan, space: Workspace) -> Split:
    """The validation images on which the pages measure accuracy after each change."""
    return pipeline.probe_split(plan, space)


def fingerprint(plan: Plan, space: Workspace) -> str:
    """The fingerprint of the network and its data."""
    return cached_detail(
        lambda: _fingerprint(space), space, "fingerprint", plan.model, plan.dataset
    )


def history() -> History | None:
    """The run history; None where the server keeps none."""
    root = history_root()
    return None if root is None else _history(str(root), limits().demo)


def keeping_history() -> History | None:
    """The history that new runs are kept in; None where they are not kept."""
    return None if limits().demo else history()


@st.cache_resource(max_entries=2, show_spinner=False)
def _history(root: str, demo: bool) -> History:
    return History(Path(root), READ_ONLY if demo else "")


@cached(_test_key, 4)
def test_split(plan: Plan, space: Workspace) -> Split:
    """The test images of the final comparison."""
    return pipeline.final_test_split(plan, space)


@cached(_probe_key, 16)
def dense_accuracy(plan: Plan, space: Workspace) -> Evaluation:
    """The base model on the probe."""
    return Judge.of(space.dataset).evaluate(space.model, probe(plan, space))


@cached(lambda plan, space: (*_probe_key(plan, space), plan.norms), 2)
def _incremental_forward(plan: Plan, space: Workspace) -> IncrementalForward:
    split = probe(plan, space)
    judge = Judge.of(space.dataset)
    model = space.with_norms(plan.norms).model
    return IncrementalForward(model, split, budget=BUDGET // 2, judge=judge)


@cached(lambda plan, space: (plan.model, plan.dataset, plan.norms, plan.calibration), 2)
def _batch_norms(plan: Plan, space: Workspace) -> BatchNorms:
    resolved = plan.resolve(space)
    return BatchNorms(resolved.space.model, resolved.calibration_batches())


@cached(lambda plan, space: (repair_key(plan), plan.probe), 256)
def accuracy(plan: Plan, space: Workspace) -> Evaluation:
    """The pruned and repaired model on the probe.

    The numbers are those of `evaluate`, but only the layers after a changed weight are computed.
    """
    forward = _incremental_forward(plan, space)
    return forward.evaluation(_pruned_tensors(plan, space))


def _pruned_tensors(plan: Plan, space: Workspace) -> dict[str, Tensor]:
    """The tensors of the pruned and repaired model that differ from the base model's."""
    last = _last_results(plan, space)
    if plan.repair != BN or pipeline.repair_note(plan, space) is not None:
        return plan.resolve(space).pruned_tensors(masks(plan, space), last)
    masked = replace(plan, repair=NONE).resolve(space).pruned_tensors(masks(plan, space), last)
    return masked | _batch_norms(plan, space).measured(masked)


@cached(lambda plan, space: (repair_key(plan), _test_key(plan, space)), 256)
def test_accuracy(plan: Plan, space: Workspace) -> Evaluation:
    """The pruned and repaired model on the test split."""
    judge = Judge.of(space.dataset)
    return judge.evaluate(pruned_model(plan, space), test_split(plan, space))
