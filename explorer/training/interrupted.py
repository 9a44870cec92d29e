"""Runs that a restart of the server interrupted: kept on disk, shown on their page, continued."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import streamlit as st

from explorer.jobs.job import MakeEvents
from explorer.jobs.work import Events
from explorer.limits import limits
from explorer.session import cache, state
from explorer.session.notices import plain, show_errors
from explorer.texts.plan_words import cut_words
from explorer.texts.translate import N_, _
from pruning_core.history.unfinished import Carried, Description, Interrupted, Jobs, jobs_root
from pruning_core.plan import Plan
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace

MOST_OF_BROWSER = 6
"""Interrupted runs of one browser that are kept, the newest ones."""
OTHER_DATA = N_(
    "The network or the data of this run are not those of before, so it cannot continue: delete it."
)
BEFORE = N_(
    "{title} was interrupted before anything of it was kept: the server or its process ended, "
    "or no page of it was open in your browser. *Continue* starts it again."
)
CONTINUES = N_(
    "A run that was stopped so, or by a restart of the server, can be continued on this page."
)
LOST = N_("This server keeps nothing of a run that was stopped.")
Resumable = Callable[..., Iterator[object]]
"""`Events` that can have a `folder`, from which they continue."""
Total = Callable[[Description, Plan], int]
GoOn = Callable[[Carried, Description, Plan, Workspace], None]
"""Starts an interrupted run again."""


def _jobs() -> Jobs | None:
    """The interrupted runs of this server; None where nothing of a visitor is kept."""
    root = jobs_root()
    own = limits()
    if root is None or cache.keeping_history() is None or not own.unfinished_runs:
        return None
    return Jobs(root, own.unfinished_runs, 86_400 * own.unfinished_days)


def after_a_stop() -> str:
    """What becomes of a run that is stopped without its user: one sentence."""
    return _(LOST) if _jobs() is None else _(CONTINUES)


def _owner() -> str:
    """The name of this browser on disk; its secret name cannot be found from it."""
    return hashlib.sha256(f"unfinished {state.owner()}".encode()).hexdigest()


def kept_on_disk(
    kind: str, title: str, plan: Plan, space: Workspace, **more: Any
) -> Carried | None:
    """The folder from which a new run can continue later; None where nothing is kept.

    more: JSON values that the page needs for that.
    """
    if (jobs := _jobs()) is None:
        return None
    for job in _of_browser(jobs)[MOST_OF_BROWSER - 1 :]:
        jobs.delete(job.id)
    base = cache.fingerprint(plan, space)
    own = {"owner": _owner(), "kind": kind, "title": title, "plan": plan.to_json()}
    try:
        return jobs.begin(uuid4().hex[:12], {**own, "fingerprint": base, **more})
    except PruningError as problem:
        state.add_problem(str(problem))
        return None


def resumable(function: Resumable, carried: Carried | None) -> Events:
    """The function with the folder from which it continues, where there is one."""
    return function if carried is None else partial(function, folder=carried.journal.folder)


def start_carried(
    kind: str, title: str, events: MakeEvents, about: object, carried: Carried | None
) -> None:
    """Starts a run that can continue later. Raises PruningError as `jobs().start`."""
    try:
        cache.jobs().start(state.owner(), kind, title, events, about, carried)
    except PruningError:
        if carried is not None:
            carried.close(delete=carried.before is None)
        raise


def _of_browser(jobs: Jobs) -> list[Interrupted]:
    owner = _owner()
    return [job for job in jobs.interrupted() if job.description.get("owner") == owner]


def interrupted_runs(kind: str, words: str, total: Total, go_on: GoOn) -> None:
    """Draws this browser's interrupted runs of that kind, each with a button that continues it.

    words: a text marked by `N_` about {title}, {done} and {total}; total: of epochs, or of layers.
    """
    if (jobs := _jobs()) is None:
        return
    for job in _of_browser(jobs):
        if job.description.get("kind") == kind:
            with st.container(border=True):
                with show_errors():
                    _words(job, words, total)
                _buttons(jobs, job, go_on)


def _plan(job: Interrupted) -> Plan:
    return Plan.from_json(str(job.description.get("plan")))


def _words(job: Interrupted, words: str, total: Total) -> None:
    """How far it was, and its plan."""
    plan = _plan(job)
    title = plain(str(job.description.get("title")))
    every = total(job.description, plan)
    text = _(words if job.done else BEFORE, title=title, done=min(job.done, every), total=every)
    st.markdown(f":material/pause_circle: {text}")
    st.caption(plain(cut_words(plan)))


def _buttons(jobs: Jobs, job: Interrupted, go_on: GoOn) -> None:
    with st.container(horizontal=True):
        again = st.button(_("Continue"), key=f"continue {job.id}", icon=":material/play_arrow:")
        if st.button(_("Delete"), key=f"delete {job.id}", icon=":material/delete:"):
            jobs.delete(job.id)
            st.rerun()
    if again:
        with show_errors():
            _continue(jobs, job, go_on)
            st.rerun()


def _continue(jobs: Jobs, job: Interrupted, go_on: GoOn) -> None:
    """Starts the run again. Raises PruningError where it cannot."""
    plan = _plan(job)
    space = cache.workspace(plan.model, plan.dataset)
    if cache.fingerprint(plan, space) != job.description.get("fingerprint"):
        raise PruningError(_(OTHER_DATA))
    carried = jobs.begin(job.id, job.description)
    if carried is not None:  # else another page has just continued it
        go_on(carried, job.description, plan, space)
