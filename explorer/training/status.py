"""A background run as a page tells it: how far it is, how it ended, and what it was asked for."""

from typing import TypeVar

import streamlit as st

from explorer.jobs.job import Snapshot
from explorer.jobs.progress import Progress, clock
from explorer.session import cache, state
from explorer.session.notices import plain
from pruning_core.types import PruningError

Asked = TypeVar("Asked")
STOPPING = "stopping"


def asked_for(run: Snapshot, kind: type[Asked]) -> Asked:
    """What the run was started with. Raises PruningError where it does not say."""
    if not isinstance(run.about, kind):
        raise PruningError("This run does not say what it was asked for; start it again.")
    return run.about


def active_job(run: Snapshot, at: Progress, key: str, stop_help: str) -> None:
    """Share done, time left and what is being done now, beside the button that stops it."""
    line = st.container(horizontal=True, vertical_alignment="center")
    left = f", about {clock(at.left)} left (estimated)" if at.left is not None else ""
    waits = f"Waiting: {run.ahead} other job{'s' * (run.ahead > 1)} first."
    far = f"{at.stage[:1].upper()}{at.stage[1:]} · {clock(run.seconds)} so far{left}"
    line.progress(at.share, waits if run.status == "queued" else far)
    asked = state.stored(STOPPING, "") == run.id
    line.button(
        "Stopping …" if asked else "Stop",
        key=key,
        icon=":material/stop:",
        on_click=_stop,
        args=(run.id,),
        help=stop_help,
        disabled=asked,
    )


def _stop(job: str) -> None:
    """Asks the run to stop, which takes as long as the present step does; the button says so
    meanwhile.
    """
    cache.jobs().stop(state.owner(), job)
    state.store(STOPPING, job)


def ended(run: Snapshot, what: str, stopped: str, done: str | None = None) -> None:
    """How a run ended. what: its name inside a sentence; stopped, done: what is to be said then."""
    if run.status == "failed":
        st.error(f"The {what} failed: {plain(str(run.error))}", icon=":material/error:")
    elif run.status == "cancelled":
        st.warning(f"The {what} was stopped{stopped}", icon=":material/stop:")
    elif done:
        st.caption(f":material/check: {done}")


def training_status(run: Snapshot, what: str, at: Progress, key: str) -> None:
    """The line of a run that cuts and trains."""
    took = clock(run.seconds)
    if run.active:
        active_job(run, at, key, "Stops after the present step; what was learned is lost.")
    else:
        ended(
            run,
            what,
            f" after {took}; the base network is as it was.",
            f"{run.title}: finished in {took}.",
        )


def note_lost(kind: str, more: str = "") -> None:
    """What became of the page's run where there is none any more: it was forgotten with the last
    tab.
    """
    if lost := cache.jobs().abandoned_notice(state.owner(), kind):
        st.warning(plain(lost) + more, icon=":material/tab_close:")
