"""Methods: several ways to choose what goes, on equal terms, over compressions and seeds; finished
runs are kept on disk.
"""

import streamlit as st

from explorer.jobs.job import Snapshot
from explorer.jobs.progress import Progress, clock
from explorer.pages.methods.form import choices_now, methods_form, show
from explorer.pages.methods.report import Found, report
from explorer.pages.methods.run import (
    estimate,
    method,
    pace,
    study_events,
    study_of,
    study_words,
    where,
)
from explorer.session import cache, state
from explorer.session.notices import plain, show_errors
from explorer.texts.help import HELP
from explorer.training.status import active_job, asked_for, ended, note_lost
from pruning_core.plan import Plan
from pruning_core.studies import (
    Study,
    fingerprint,
    load_results,
    runnable_runs,
    study_folder,
    unsupported_methods,
)
from pruning_core.workspace import Workspace

KIND = "study"
REFRESH = 1.0
LEAD = "Which method is best, at which size, and is the difference more than chance? Compare them on equal terms."
EMPTY = """
**Nothing is measured yet.** Choose criteria above and press *Start*: for every criterion, compression and seed a copy of the
network is cut, measured, trained on and measured again, in the background. Random and Magnitude (L1) always take part: a method
that does not beat them says little. Start with few seeds and training images: the time is estimated beside the button.

Each finished run is kept on disk at once. Stop, close the app or restart it: the same choices find the runs again, and *Go on*
measures what is missing.
"""


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    st.markdown(LEAD)
    jobs = cache.jobs().snapshots(state.owner(), KIND)
    active = bool(jobs) and jobs[0].active
    base = base_of(plan, space)
    with st.container(border=True):
        chosen = choices_now()
        methods_form(plan, space, chosen, base)
        asked: Study | None = None
        with show_errors():
            asked = study_of(plan, chosen, space)
            _start(asked, space, base, active=active)
    st.fragment(_live, run_every=REFRESH if active else None)(asked, space, base, active)


def base_of(plan: Plan, space: Workspace) -> str:
    """The fingerprint of the network and images."""
    return cache.cached_detail(lambda: fingerprint(space), "fingerprint", plan.model, plan.dataset)


def _found(asked: Study, space: Workspace, base: str) -> Found:
    return Found(
        asked, load_results(asked, study_folder(asked, base)), len(runnable_runs(asked, space))
    )


def _start(asked: Study, space: Workspace, base: str, *, active: bool) -> None:
    """The button, how much there is to do, and what cannot be done."""
    found = _found(asked, space, base)
    without = unsupported_methods(asked, space)
    missing = found.total - len(found.results)
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            "Go on" if found.results and missing else "Start",
            type="primary",
            key="methods_start",
            icon=":material/play_arrow:",
            disabled=active or not missing,
            help=HELP["study"],
        )
        st.caption(_work(found, space, missing))
    if without:
        with st.expander(
            f"{len(without)} of the pairs cannot cut this network", icon=":material/block:"
        ):
            rows = [
                {"Method": method(how, shape, 2), "Why": why}
                for (how, shape), why in without.items()
            ]
            st.dataframe(
                rows,
                hide_index=True,
                alt="Criteria and shapes that do not go together here, with the reason.",
            )
    if pressed:
        with show_errors():
            cache.jobs().start(
                state.owner(), KIND, "Comparing methods", lambda: study_events(asked, space), asked
            )
            st.rerun()


def _work(found: Found, space: Workspace, missing: int) -> str:
    """60 runs, 12 of them measured; about 5 min (estimated)."""
    size = f"{study_words(found.asked)}: {found.total} runs"
    if not missing:
        return (
            f"{size}, all measured."
            if found.total
            else f"{size}: no method here can cut this network."
        )
    plan = found.asked.plan
    per_image = cache.cached_detail(lambda: pace(plan, space), "pace", plan.model, plan.dataset)
    left = clock(estimate(found.asked, space, per_image, found.results))
    done = f", {len(found.results)} of them measured" if found.results else ""
    return f"{size}{done}. About {left} of computing (estimated)."


def _live(asked: Study | None, space: Workspace, base: str, was_active: bool) -> None:
    """Progress, charts and table; runs again by itself while the study goes on."""
    with show_errors():
        jobs = cache.jobs().snapshots(state.owner(), KIND)
        active = bool(jobs) and jobs[0].active
        if was_active and not active:
            st.rerun()
        if jobs:
            _status(jobs[0], asked)
        else:
            note_lost(KIND, " What was measured is on disk.")
        if asked is None:
            return
        found = _found(asked, space, base)
        if found.results:
            report(found)
        else:
            st.info(EMPTY, icon=":material/leaderboard:")


def _status(job: Snapshot, asked: Study | None) -> None:
    """One line about the newest study: how far, or how it ended."""
    theirs = asked_for(job, Study)
    now = where(job.events, theirs)
    if job.active:
        at = Progress(now.share, now.left, f"{now.done} of {now.total} runs done · {now.stage}")
        active_job(
            job, at, "methods_stop", "Stops within a step; finished runs stay, this one is lost."
        )
        if theirs != asked:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.warning(
                    f"Another study than the one chosen above is running: {study_words(theirs)}.",
                    icon=":material/history:",
                )
                st.button("Show it", key="methods_show", on_click=show, args=(theirs,))
        return
    if theirs != asked:
        return
    ended(job, "study", "; finished runs are on disk, *Go on* measures the rest.")
    for why, times in now.failed.items():
        st.warning(
            f"{times} run{'s' * (times > 1)} could not be carried out: {plain(why)}",
            icon=":material/error:",
        )
