"""The only `st.cache_*`: what the whole process shares, each stage keyed by the text of the plan's
part that it depends on.

    workspace(model, dataset) -> Workspace        the trained base model, data, layers; shared, never changed by anybody
    weights_hash(space) -> str                    of the base model, to prove that
    effective(plan, space) -> (Plan, sentences)   without what was set by hand for layers or groups that the plan cannot cut
    prunable(plan, space) -> (layers, {name: why not})
    groups(plan, space) -> GroupScores;  ratios(plan, space) -> Ratios;  masks(plan, space) -> Masks
    asked_by_hand(plan, space) -> share or None
    pruned(plan, space) -> Module                 a fresh copy with the masks applied: yours to change
    probe(plan, space) -> Split;  exam(plan, space) -> Split
    dense_accuracy(plan, space), accuracy(plan, space) -> Evaluation on the probe
    dense_exam(plan, space), exam_accuracy(plan, space) -> Evaluation on the exam split
    report(plan, space) -> Report;  dense_report(space) -> Report
    network(plan, space) -> NetworkMap            layers in data-flow order, by torch.fx
    jobs() -> Jobs;  presence() -> Presence;  keep_imports()

All raise PruningError or DataMissing; errors are not cached. Tensors that come from here are shared
between sessions and with background jobs: read them, never write to them. That is why nothing here
needs a lock of its own: `evaluate` reads the model, `IncrementalForward` locks itself, `fine_tune`,
`scan`, `apply_masks` and `recalibrate_bn` work on copies.
"""

import atexit
import gc
import hashlib
from collections.abc import Callable
from typing import TypeVar

import streamlit as st
from streamlit.runtime import exists, get_instance
from torch import nn

from explorer.jobs.background import Jobs
from explorer.session import runnable_plan as waiting
from explorer.session.owners import Owners
from explorer.session.workspace_cache import WorkspaceCache
from pruning_core import pipeline
from pruning_core.allocation import total_ratio
from pruning_core.criteria import criterion
from pruning_core.evaluation.forward import BUDGET
from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.evaluation.metrics import measure
from pruning_core.granularity import granularity
from pruning_core.model.inventory import weights
from pruning_core.model.layer_graph import NetworkMap, network_map
from pruning_core.pipeline import Workspace
from pruning_core.plan import Plan
from pruning_core.training.fine_tune import evaluate, summarise
from pruning_core.types import Evaluation, GroupScores, Layer, Masks, Ratios, Report, Split
from pruning_core.zoo import Progress

View = TypeVar("View")
PATIENCE = 60.0
"""Seconds before files that could not be fetched are asked for again."""


def _connected(session_id: str) -> bool:
    """Is this browser tab connected? Without a server (in tests) every session is."""
    return not exists() or get_instance().is_active_session(session_id)


@st.cache_resource(max_entries=1, show_spinner=False)
def keep_imports() -> None:
    """Tells the garbage collector once that what is imported stays: Streamlit collects after every
    run, 0.2 s otherwise.
    """
    gc.freeze()


@st.cache_resource(max_entries=1, show_spinner=False)
def owners() -> Owners:
    """Which browser each session belongs to."""
    return Owners(_connected)


@st.cache_resource(max_entries=1, show_spinner=False)
def jobs() -> Jobs:
    """The background jobs of this process, shared by all sessions; each browser sees only its own."""
    every = Jobs(owners().there)
    atexit.register(every.close, 1.0)
    return every


def workspace(model: str, dataset: str, progress: Progress | None = None) -> Workspace:
    """The trained base model with its data and layers; progress: told about downloads. Raises
    PruningError or DataMissing.
    """
    return _workspaces().get(
        (model, dataset), lambda: pipeline.open_workspace(model, dataset, progress)
    )


def retry() -> None:
    """Looks again for files that were missing; otherwise that happens after a minute."""
    _workspaces().retry()


@st.cache_resource(max_entries=1, show_spinner=False)
def _workspaces() -> WorkspaceCache[Workspace]:
    return WorkspaceCache(size=4, patience=PATIENCE)


def weights_hash(space: Workspace) -> str:
    """SHA-256 over the names and bytes of the base model's parameters and buffers."""
    found = hashlib.sha256()
    for name, tensor in space.model.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def prunable(plan: Plan, space: Workspace) -> tuple[tuple[Layer, ...], dict[str, str]]:
    """The layers that the plan can cut, and for each other one the sentence why not."""
    return pipeline.prunable(
        space.layers, granularity(plan.granularity), criterion(plan.criterion, plan.seed)
    )


def runnable_plan(plan: Plan, space: Workspace) -> tuple[Plan, tuple[str, ...]]:
    """The plan without ratios and edits that it cannot carry out, and a sentence for everything
    that waits.
    """
    return waiting.runnable_plan(plan, *prunable(plan, space))


def groups(plan: Plan, space: Workspace) -> GroupScores:
    """Scope x group scores of the layers that the plan can cut."""
    return _groups(score_key(plan), plan, space)[1]


def ratios(plan: Plan, space: Workspace) -> Ratios:
    """The share removed from each layer."""
    return _ratios(mask_key(plan), plan, space)


def asked_by_hand(plan: Plan, space: Workspace) -> float | None:
    """The share of the prunable weights that the ratios ask for where some are set by hand; None
    where the plan's own holds.
    """
    if not plan.overrides and plan.allocation != "manual":
        return None
    return total_ratio(prunable(plan, space)[0], ratios(plan, space))


def masks(plan: Plan, space: Workspace) -> Masks:
    """The masks, True = keep."""
    return _masks(mask_key(plan), plan, space)


def pruned(plan: Plan, space: Workspace) -> nn.Module:
    """A fresh copy of the base model with the masks applied."""
    return pipeline.masked_copy(plan, space, masks(plan, space))


def layer_view(
    plan: Plan, space: Workspace, layer: Layer, scores: bool, make: Callable[..., View]
) -> View:
    """make(layer, weight, group scores or None, g, allow_collapse=...): what a page draws of it at
    any ratio.
    """
    key = _text(make.__qualname__, score_key(plan), layer.name, scores, plan.allow_collapse)
    return _layer_view(key, plan, space, layer, scores, make)


def cached_detail(make: Callable[[], View], *parts: object) -> View:
    """make(), kept under the text of `parts`, which name all that it depends on; not too large, for
    all sessions share it.
    """
    return _close_up(_text(*parts), make)


def report(plan: Plan, space: Workspace) -> Report:
    """Computed counts of the masked model."""
    return _report(mask_key(plan), plan, space)


def dense_report(space: Workspace) -> Report:
    """Computed counts of the base model."""
    return measure(space.model, space.layers, {})


def network(plan: Plan, space: Workspace) -> NetworkMap:
    """The base model's layers in data-flow order."""
    return _network(_text(plan.model, plan.dataset), space)


def probe(plan: Plan, space: Workspace) -> Split:
    """The validation images that the sliders' accuracy is measured on."""
    return _probe(_text(plan.model, plan.dataset, plan.probe), plan, space)


def test_split(plan: Plan, space: Workspace) -> Split:
    """The test images of the final comparison."""
    return _exam(_text(plan.model, plan.dataset, _exam_size(plan, space)), plan, space)


def dense_accuracy(plan: Plan, space: Workspace) -> Evaluation:
    """The base model on the probe."""
    return _dense("probe", _text(plan.model, plan.dataset, plan.probe), space, probe(plan, space))


def dense_test_accuracy(plan: Plan, space: Workspace) -> Evaluation:
    """The base model on the exam split."""
    return _dense(
        "exam",
        _text(plan.model, plan.dataset, _exam_size(plan, space)),
        space,
        test_split(plan, space),
    )


def accuracy(plan: Plan, space: Workspace) -> Evaluation:
    """The masked model on the probe."""
    return _probed(_text(mask_key(plan), plan.probe), plan, space)


def test_accuracy(plan: Plan, space: Workspace) -> Evaluation:
    """The masked model on the exam split."""
    return _examined(_text(mask_key(plan), _exam_size(plan, space)), plan, space)


def score_key(plan: Plan) -> str:
    """All that group scores depend on, as text."""
    how = criterion(plan.criterion, plan.seed)
    return _text(
        plan.model,
        plan.dataset,
        how,
        plan.granularity,
        plan.calibration if how.needs_data else None,
    )


def mask_key(plan: Plan) -> str:
    """All that ratios and masks depend on, as text."""
    return _text(
        score_key(plan),
        plan.allocation,
        plan.sparsity,
        sorted(plan.overrides),
        plan.edits,
        plan.allow_collapse,
    )


def _exam_size(plan: Plan, space: Workspace) -> int | None:
    """Images of the exam split, None for the whole test split."""
    return None if pipeline.uses_whole_test(space.dataset) else plan.probe


def _text(*parts: object) -> str:
    return repr(parts)


@st.cache_resource(max_entries=12, show_spinner=False)
def _groups(key: str, _plan: Plan, _space: Workspace) -> tuple[tuple[Layer, ...], GroupScores]:
    return pipeline.group_scores_of(_plan, _space)


@st.cache_resource(max_entries=12, show_spinner=False)
def _layer_view(
    key: str,
    _plan: Plan,
    _space: Workspace,
    _layer: Layer,
    _scores: bool,
    _make: Callable[..., View],
) -> View:
    found = groups(_plan, _space)[_layer.name] if _scores else None
    weight = weights(_space.model, (_layer,))[_layer.name]
    return _make(
        _layer, weight, found, granularity(_plan.granularity), allow_collapse=_plan.allow_collapse
    )


@st.cache_resource(max_entries=48, show_spinner=False)
def _close_up(key: str, _make: Callable[[], View]) -> View:
    return _make()


@st.cache_data(max_entries=64, show_spinner=False)
def _ratios(key: str, _plan: Plan, _space: Workspace) -> Ratios:
    layers, found = _groups(score_key(_plan), _plan, _space)
    return pipeline.ratios_of(_plan, layers, found)


@st.cache_resource(max_entries=12, show_spinner=False)
def _masks(key: str, _plan: Plan, _space: Workspace) -> Masks:
    layers, found = _groups(score_key(_plan), _plan, _space)
    return pipeline.masks_of(_plan, layers, found, ratios(_plan, _space))


@st.cache_data(max_entries=64, show_spinner=False)
def _report(key: str, _plan: Plan, _space: Workspace) -> Report:
    return pipeline.counts(_plan, _space, masks(_plan, _space))


@st.cache_resource(max_entries=8, show_spinner=False)
def _network(key: str, _space: Workspace) -> NetworkMap:
    return network_map(_space.model, _space.layers)


@st.cache_resource(max_entries=4, show_spinner=False)
def _probe(key: str, _plan: Plan, _space: Workspace) -> Split:
    return pipeline.probe_split(_plan, _space)


@st.cache_resource(max_entries=4, show_spinner=False)
def _exam(key: str, _plan: Plan, _space: Workspace) -> Split:
    return pipeline.test_split(_plan, _space)


@st.cache_data(max_entries=16, show_spinner=False)
def _dense(which: str, key: str, _space: Workspace, _split: Split) -> Evaluation:
    return evaluate(_space.model, _split, outputs=_space.dataset.outputs)


@st.cache_resource(max_entries=2, show_spinner=False)
def _live(key: str, _plan: Plan, _space: Workspace) -> IncrementalForward:
    return IncrementalForward(_space.model, probe(_plan, _space), budget=BUDGET // 2)


@st.cache_data(max_entries=256, show_spinner=False)
def _probed(key: str, _plan: Plan, _space: Workspace) -> Evaluation:
    """`evaluate` of the masked model on the probe: the same numbers, but only what depends on a
    changed weight is computed.
    """
    live = _live(_text(_plan.model, _plan.dataset, _plan.probe), _plan, _space)
    logits = live.logits(pruned(_plan, _space).state_dict())
    outputs = _space.dataset.outputs
    return summarise(
        logits if outputs is None else logits[:, list(outputs)], probe(_plan, _space).labels
    )


@st.cache_data(max_entries=256, show_spinner=False)
def _examined(key: str, _plan: Plan, _space: Workspace) -> Evaluation:
    return evaluate(
        pruned(_plan, _space), test_split(_plan, _space), outputs=_space.dataset.outputs
    )
