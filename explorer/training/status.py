"""A background run: its start, how far it is in one line, and how it ended."""

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from explorer.jobs.job import MakeEvents, Snapshot
from explorer.jobs.progress import Progress, clock
from explorer.session import cache, state
from explorer.session.notices import plain
from explorer.texts.translate import N_, _, from_core, n_
from pruning_core.types import PruningError
from pruning_core.workers import WorkerLost

Request = TypeVar("Request")
REFRESH_SECONDS = 1.0
"""Seconds after which a page shows an active run again."""
STOPPING = "stopping"


def start_job(kind: str, title: str, events: MakeEvents, about: object) -> None:
    """Starts a run in the background. Where it cannot start, the side bar says why.

    For callbacks, and for scripts that run again afterwards.
    """
    try:
        cache.jobs().start(state.owner(), kind, title, events, about)
    except PruningError as problem:
        state.add_problem(str(problem))


def newest_run(kind: str, about: object) -> Snapshot | None:
    """This browser's newest run of that kind that was started with `about`."""
    runs = cache.jobs().snapshots(state.owner(), kind)
    return next((run for run in runs if run.about == about), None)


def is_active(run: Snapshot | None) -> bool:
    """Is the run queued or running?"""
    return run is not None and run.active


def repeated(draw: Callable[..., None], active: bool) -> Callable[..., None]:
    """During a run `draw` runs again by itself, without the page. After it, only with the page:
    a button that changes the plan then changes all that the page shows.
    """
    return st.fragment(draw, run_every=REFRESH_SECONDS) if active else draw


def asked_for(run: Snapshot, kind: type[Request]) -> Request:
    """What the run was started with. Raises PruningError where it was not recorded."""
    if not isinstance(run.about, kind):
        raise PruningError(N_("The settings of this run were not recorded. Start the run again."))
    return run.about


def active_job(run: Snapshot, at: Progress, key: str, stop_help: str) -> None:
    """A progress bar with the stage and the time left, beside the button that stops the run."""
    line = st.container(horizontal=True, vertical_alignment="center")
    line.progress(at.share, _progress_words(run, at))
    with line:
        stop_button(run, key, stop_help)
    if lost := [event for event in run.events if isinstance(event, WorkerLost)]:
        times = _(" So {count} times now.", count=len(lost)) if len(lost) > 1 else ""
        st.caption(f":material/warning: {plain(lost[-1].sentence)}{times}")


def stop_button(run: Snapshot, key: str, stop_help: str) -> None:
    """The button that stops an active run."""
    stopping = state.stored(STOPPING, "") == run.id
    st.button(
        _("Stopping …") if stopping else _("Stop"),
        key=key,
        icon=":material/stop:",
        on_click=_stop,
        args=(run.id,),
        help=stop_help,
        disabled=stopping,
    )


def _progress_words(run: Snapshot, at: Progress) -> str:
    if run.status == "queued":
        return n_("Queued: {n} other job first.", "Queued: {n} other jobs first.", run.ahead)
    stage = f"{at.stage[:1].upper()}{at.stage[1:]}"
    spent = clock(run.seconds)
    if at.left is None:
        return _("{stage} · {spent} so far", stage=stage, spent=spent)
    return _(
        "{stage} · {spent} so far, about {left} left (estimated)",
        stage=stage,
        spent=spent,
        left=clock(at.left),
    )


def _stop(job: str) -> None:
    """Asks the run to stop after its present step; until then the button says "Stopping"."""
    cache.jobs().stop(state.owner(), job)
    state.store(STOPPING, job)


def ended(run: Snapshot, name: str, stopped: str, done: str | None = None) -> None:
    """How a run ended.

    name: the run inside a sentence; stopped: the end of the sentence for a stopped run, both as
    marked by `N_`; done: the sentence for a finished run.
    """
    if run.status == "failed":
        why = plain(str(run.error))
        st.error(_("The {name} failed: {why}", name=_(name), why=why), icon=":material/error:")
    elif run.status == "cancelled" and not run.seconds:
        words = _("The {name} was stopped before it started.", name=_(name))
        st.warning(words, icon=":material/stop:")
    elif run.status == "cancelled":
        words = _("The {name} was stopped{more}", name=_(name), more=_(stopped))
        st.warning(words, icon=":material/stop:")
    elif done:
        st.caption(f":material/check: {done}")


def training_status(run: Snapshot, name: str, at: Progress, key: str) -> None:
    """The line of a run that prunes and trains. key: of the stop button."""
    seconds = clock(run.seconds)
    if run.active:
        stop_help = _("Stops after the present step. The trained weights are lost.")
        active_job(run, at, key, stop_help)
    else:
        ended(
            run,
            name,
            _(" after {seconds}. The base network is unchanged.", seconds=seconds),
            _("{run}: finished in {seconds}.", run=from_core(run.title), seconds=seconds),
        )


def note_lost(kind: str, more: str = "") -> None:
    """Why the page's run no longer exists, where it was deleted after the last tab closed."""
    if reason := cache.jobs().abandoned_notice(state.owner(), kind):
        st.warning(plain(reason) + _(more), icon=":material/tab_close:")
