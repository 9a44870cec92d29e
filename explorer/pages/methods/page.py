"""The page Methods: several criteria and granularities compared over compressions and seeds."""

from functools import partial

import streamlit as st

from explorer.jobs.job import Snapshot
from explorer.jobs.progress import clock
from explorer.pages.methods.choices import Choices, choices, method_name, study_of, study_words
from explorer.pages.methods.form import KEY, methods_form, show
from explorer.pages.methods.report import StudyResults, report
from explorer.pages.methods.run import (
    estimated_seconds,
    seconds_per_image,
    study_events,
    study_progress,
)
from explorer.session import cache, state
from explorer.session.address_choices import choices_in_address
from explorer.session.foldable import foldable
from explorer.session.kept import keeping_note
from explorer.session.notices import plain, show_errors
from explorer.texts.help import HELP
from explorer.texts.task_words import for_task
from explorer.texts.translate import N_, _, from_core, n_
from explorer.training.status import REFRESH_SECONDS, active_job, asked_for, ended, note_lost
from pruning_core.history import kept_study
from pruning_core.plan import Plan
from pruning_core.studies import (
    Study,
    load_results,
    runnable_runs,
    study_folder,
    unsupported_methods,
)
from pruning_core.workspaces import Workspace

KIND = "study"
LEAD = N_(
    "Which method gives the highest accuracy at which compression, and is the difference more than "
    "chance? All methods have the same network, images and training."
)
EMPTY = N_("""
**Nothing is measured yet.** Choose criteria and press *Start*. For every criterion,
compression and seed, a copy of the network is pruned, measured, trained and measured again. This
runs in the background. Random and Magnitude (L1) are always included as baselines: a method that is
not better than both is of little use. Start with few seeds and few training images. The estimated
time is beside the button.

Each finished run is saved on disk at once. You can stop the study, or close and restart the app:
the same choices find the runs again, and *Continue* measures the missing ones.
""")


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    st.markdown(for_task(_(LEAD), space.dataset.task))
    jobs = cache.jobs().snapshots(state.owner(), KIND)
    active = bool(jobs) and jobs[0].active
    base = cache.fingerprint(plan, space)
    result = st.container()  # the result is above the form, once there is one
    with st.container(border=True):
        chosen = choices_in_address(KEY, choices, Choices())
        methods_form(plan, space, chosen, base)
        asked: Study | None = None
        with show_errors():
            asked = study_of(plan, chosen, space)
            _start(asked, space, base, active=active)
    first = asked is not None and bool(jobs or _results(asked, space, base).results)
    with result if first else st.container():
        run_every = REFRESH_SECONDS if active else None
        st.fragment(_live, run_every=run_every)(asked, space, base, active)


def _results(asked: Study, space: Workspace, base: str) -> StudyResults:
    """The study's finished runs on disk."""
    finished = load_results(asked, study_folder(asked, base), space.dataset.task)
    return StudyResults(asked, finished, len(runnable_runs(asked, space)))


def _start(asked: Study, space: Workspace, base: str, *, active: bool) -> None:
    """The button, how much work is left, and which pairs are left out."""
    measured = _results(asked, space, base)
    missing = measured.total - len(measured.results)
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            _("Continue") if measured.results and missing else _("Start"),
            type="primary",
            key="methods_start",
            icon=":material/play_arrow:",
            disabled=active or not missing,
            help=HELP["study"],
        )
        st.caption(_work_left(measured, space, missing))
    _impossible_pairs(asked, space)
    if pressed:
        history = cache.keeping_history()
        with show_errors():
            work = cache.work(
                asked.plan,
                space,
                partial(study_events, asked),
                lambda events: kept_study(history, asked, base, space, events),
            )
            cache.jobs().start(state.owner(), KIND, N_("Comparing methods"), work, asked)
            st.rerun()


def _work_left(measured: StudyResults, space: Workspace, missing: int) -> str:
    """60 runs, 12 of them measured. About 5 min of computing (estimated)."""
    size = _("{size}: {total} runs", size=study_words(measured.study), total=measured.total)
    if not measured.total:
        return _("{size}. None of these methods can prune this network.", size=size)
    if not missing:
        return _("{size}, all measured.", size=size)
    plan = measured.study.plan
    per_image = cache.cached_detail(
        lambda: seconds_per_image(plan, space), space, "pace", plan.model, plan.dataset
    )
    left = clock(estimated_seconds(measured.study, space, per_image, measured.results))
    if not measured.results:
        return _("{size}. About {left} of computing (estimated).", size=size, left=left)
    return _(
        "{size}, {done} of them measured. About {left} of computing (estimated).",
        size=size,
        done=len(measured.results),
        left=left,
    )


def _impossible_pairs(asked: Study, space: Workspace) -> None:
    """The pairs of criterion and granularity that cannot prune this network, and why."""
    pairs = unsupported_methods(asked, space)
    if not pairs:
        return
    label = _("{count} of the pairs cannot prune this network", count=len(pairs))
    with foldable(label, "impossible_pairs", ":material/block:"):
        rows = [
            {_("Method"): method_name(criterion, granularity, 2), _("Why"): from_core(why)}
            for (criterion, granularity), why in pairs.items()
        ]
        st.dataframe(
            rows,
            hide_index=True,
            alt=_("Pairs of criterion and granularity that cannot prune this network, and why."),
        )


def _live(asked: Study | None, space: Workspace, base: str, was_active: bool) -> None:
    """Status, charts and table. This part redraws itself while the study is active."""
    with show_errors():
        jobs = cache.jobs().snapshots(state.owner(), KIND)
        active = bool(jobs) and jobs[0].active
        if was_active and not active:
            st.rerun()
        if jobs:
            _status(jobs[0], asked)
        else:
            note_lost(KIND, N_(" The finished runs are on disk."))
        if asked is None:
            return
        measured = _results(asked, space, base)
        if measured.results:
            report(measured)
        else:
            st.info(for_task(_(EMPTY), space.dataset.task), icon=":material/leaderboard:")


def _status(job: Snapshot, asked: Study | None) -> None:
    """How far the newest study is, or how it ended. asked: the study of the page's choices."""
    running = asked_for(job, Study)
    now = study_progress(job.events, running)
    if job.active:
        stop_help = _("Stops within one step. Finished runs are kept, the present run is lost.")
        active_job(job, now.as_progress(), "methods_stop", stop_help)
        if running != asked:
            _other_study(running)
    elif running == asked:
        keeping_note(job.events)
        ended(
            job,
            N_("study"),
            N_(". Finished runs are on disk. *Continue* measures the missing ones."),
        )
        for why, runs in now.failed.items():
            words = n_("{n} run failed: {why}", "{n} runs failed: {why}", runs, why=plain(why))
            st.warning(words, icon=":material/error:")


def _other_study(running: Study) -> None:
    """Says that another study is running, with a button that shows it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.warning(
            _(
                "Another study than the chosen one is running: {study}.",
                study=study_words(running),
            ),
            icon=":material/history:",
        )
        st.button(_("Show it"), key="methods_show", on_click=show, args=(running,))
