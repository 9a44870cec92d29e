"""The smallest sparsity whose stored file or thinned network is within a part of the dense one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import streamlit as st

from explorer.jobs.progress import Progress
from explorer.pages.explore.events import bytes_events, time_events
from explorer.pages.explore.how_far_run import TITLE
from explorer.session import cache, state
from explorer.session.notices import plain, show_errors
from explorer.texts.formats import signed
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _, from_core
from explorer.training.status import active_job, ended, is_active, newest_run, repeated, start_job
from pruning_core.plan import Plan
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace

KIND = "smallest"
TRIED = 8
"""The most sparsities that are tried."""
LOSS = N_("Loss")
BYTES = N_("File size")
TIME = N_("Time")


EVENTS: Mapping[str, Callable[..., Iterator[object]]] = {BYTES: bytes_events, TIME: time_events}
"""What can be limited besides the loss -> the search."""
LABELS = {BYTES: N_("At most, % of the dense bytes"), TIME: N_("At most, % of the dense time")}
LEADS = {
    BYTES: N_(
        "Writes the sparse file at about seven sparsities, in the background, and finds the "
        "smallest sparsity that fits."
    ),
    TIME: N_(
        "Makes the thinned network at about seven sparsities, in the background, and measures "
        "it in PyTorch with batches of 32, in pairs with the dense network. Only plans by filter, "
        "channel or head save time."
    ),
}


@dataclass(frozen=True)
class SmallestRequest:
    """key: of the plan without its sparsity; share: of the dense bytes or time."""

    key: str
    limited: str
    share: float


def choose_limit() -> str:
    """What is limited: the loss, the bytes or the time."""
    state.keep_widget("farthest_limit")
    options = (LOSS, *EVENTS)
    chosen = st.segmented_control(
        _("Limit"),
        options,
        format_func=_,
        default=LOSS,
        required=True,
        key="farthest_limit",
        help=HELP["farthest_limit"],
    )
    return str(chosen)


def smallest(plan: Plan, space: Workspace, limited: str) -> None:
    """Draws the search for a file size or a time."""
    asked = _form(plan, limited)
    active = is_active(newest_run(KIND, asked))
    st.button(
        _("Find the smallest sparsity"),
        key="smallest_start",
        icon=":material/search:",
        disabled=active,
        on_click=_start,
        args=(plan, space, asked),
    )
    repeated(_live, active)(plan, asked, was_active=active)


def _form(plan: Plan, limited: str) -> SmallestRequest:
    state.keep_widget("smallest_share")
    share = st.number_input(
        _(LABELS[limited]), 1.0, 99.0, 40.0, 5.0, format="%g", key="smallest_share", width=230
    )
    key = repr((cache.repair_key(replace(plan, sparsity=0.0)), plan.calibration, plan.probe))
    return SmallestRequest(key, limited, float(share) / 100)


def _start(plan: Plan, space: Workspace, asked: SmallestRequest) -> None:
    events = partial(EVENTS[asked.limited], plan, share=asked.share)
    start_job(KIND, TITLE, cache.work(plan, space, events), asked)


def _live(plan: Plan, asked: SmallestRequest, *, was_active: bool) -> None:
    """Progress, then what was found; runs again by itself during a run."""
    with show_errors():
        run = newest_run(KIND, asked)
        if was_active and not is_active(run):
            st.rerun()
        if run is None:
            st.caption(_(LEADS[asked.limited]))
            return
        if run.active:
            share = min(1.0, len(run.events) / TRIED)
            at = Progress(share, None, _("sparsities are tried"))
            active_job(run, at, "smallest_stop", _("Stops after the present sparsity."))
            return
        ended(run, N_("search"), N_("."))
        if run.result is not None:
            use_button(_said(run.result), plan, "smallest_use")


def _said(fitted: object) -> float:
    """Writes what was found; returns the sparsity."""
    from pruning_core.compress.byte_target import Fitted  # not before they are used
    from pruning_core.compress.time_target import FittedTime

    if not isinstance(fitted, Fitted | FittedTime):
        raise PruningError(N_("The search ended without a result."))
    if isinstance(fitted, Fitted):
        what = _(
            "{bytes:,} bytes, {share:.0%} of the dense ones, measured",
            bytes=fitted.bytes,
            share=fitted.bytes / fitted.dense_bytes,
        )
    else:
        low, high = fitted.chosen.interval
        what = _(
            "{share:.0%} of the dense time ({low:.0%} to {high:.0%}, n = {n}), measured on the "
            "thinned network",
            share=fitted.chosen.share,
            low=low,
            high=high,
            n=0 if fitted.chosen.timing is None else fitted.chosen.timing.n,
        )
        if fitted.busy is not None:
            st.warning(plain(fitted.busy), icon=":material/speed:")
    task = fitted.change.task
    st.markdown(
        _(
            "**{sparsity:.0%}** of the prunable weights must be removed: {what}. {value} changes "
            "by {change} on {n:,} probe {samples}, without training.",
            sparsity=fitted.plan.sparsity,
            what=what,
            value=from_core(task.value_label),
            change=signed(fitted.change.value, fitted.change.interval, task),
            n=fitted.change.n,
            samples=from_core(task.samples),
        )
    )
    return fitted.plan.sparsity


def use_button(sparsity: float, plan: Plan, key: str) -> None:
    """A button that sets the sparsity that was found."""
    same = sparsity == plan.sparsity
    st.button(
        _("The plan removes {sparsity:.0%}", sparsity=sparsity)
        if same
        else _("Remove {sparsity:.0%}", sparsity=sparsity),
        key=key,
        icon=":material/check:",
        disabled=same,
        on_click=state.change,
        kwargs={"sparsity": sparsity},
    )
