"""The page Search: a machine proposes the ratios of all layers, and keeps the best ones."""

from collections.abc import Sequence

import streamlit as st

from explorer.jobs.progress import clock
from explorer.limits import limits
from explorer.pages.search.candidate_panel import candidate_panel
from explorer.pages.search.charts_panel import best_of, charts_panel
from explorer.pages.search.correlation_panel import correlation_panel
from explorer.pages.search.events import BASELINES, Started
from explorer.pages.search.form import continue_searches, cost_share, search_form, searched_words
from explorer.pages.search.run import (
    KIND,
    SearchRun,
    interval_of,
    runs,
    searched_plan,
    together,
)
from explorer.session import cache
from explorer.session.kept import keeping_note
from explorer.session.notices import plain, show_errors
from explorer.texts.formats import interval_words, value_text
from explorer.texts.plan_words import differences
from explorer.texts.task_words import for_task
from explorer.texts.translate import N_, _, from_core
from explorer.training.status import REFRESH_SECONDS, active_job, ended, note_lost
from pruning_core.plan import Plan
from pruning_core.tasks import Task
from pruning_core.workspaces import Workspace

LEAD = N_(
    "A search proposes how much to remove in each layer and measures the pruned network without "
    "training it, many times; most methods learn from each result what to propose next. It keeps "
    "the ratios that lose the least accuracy within a budget."
)
EMPTY = N_("""
**No search has run yet.** Choose a method and a budget, and press *Search*. You see the best value
so far, every candidate as a point, and its ratios layer by layer. The same budget with equal ratios
and by global magnitude is measured too: a search that is not better than both is of little use.
Nothing is trained, and the network itself is not changed.

A reload finds the search again. {seconds} seconds after the last tab of this app in your browser
is closed, the search stops. Measured candidates stay on disk: the same search then measures only
the others.
""")


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    st.markdown(for_task(_(LEAD), space.dataset.task))
    if not cache.prunable(plan, space)[0]:
        cache.groups(plan, space)  # raises with the reason
    continue_searches()
    known = runs()
    active = bool(known) and known[0].job.active
    result = st.container() if known else None  # the result is first, once there is one
    search_form(plan, space, known)
    with result or st.container():
        st.fragment(_live, run_every=REFRESH_SECONDS if active else None)(plan, space, active)
        if known and not active and known[0].candidates and _is_same_data(known[0], plan):
            correlation_panel(known[0], plan, space)


def _live(plan: Plan, space: Workspace, was_active: bool) -> None:
    """Progress, charts and the chosen candidate; runs again by itself during a search."""
    with show_errors():
        known = runs()
        if was_active and not (known and known[0].job.active):
            st.rerun()
        if not known:
            note_lost(KIND, _(" Measured candidates are on disk."))
            empty = _(EMPTY, seconds=limits().grace)
            st.info(for_task(empty, space.dataset.task), icon=":material/manage_search:")
            return
        _status(known[0])
        if not _same_data(known[0], plan):
            return
        shown = together(known)
        if any(run.candidates for run in shown):
            task = space.dataset.task
            _summary(shown, min(plan.probe, len(space.dataset.val)), task)
            chosen = charts_panel(shown, task)
            if chosen is not None:
                candidate_panel(*chosen, plan, space)


def _status(run: SearchRun) -> None:
    """How far the newest search is, or how it ended."""
    if run.job.active:
        stop_help = _("Stops within one candidate. Measured candidates are kept for *Continue*.")
        active_job(run.job, run.progress, "search_stop", stop_help)
        return
    done = len(run.candidates)
    keeping_note(run.job.events)
    ended(
        run.job,
        _("search"),
        _(
            " after {count:,} candidates, which are kept. *Continue* measures the others.",
            count=done,
        ),
        _(
            "{search}: {count:,} candidates in {time}.",
            search=run.asked.name,
            count=done,
            time=clock(run.job.seconds),
        ),
    )


def _is_same_data(run: SearchRun, plan: Plan) -> bool:
    then = run.asked.plan
    return (then.model, then.dataset) == (plan.model, plan.dataset)


def _same_data(run: SearchRun, plan: Plan) -> bool:
    """Does the search have the plan's network and images? Says how the plan differs."""
    then = run.asked.plan
    if not _is_same_data(run, plan):
        st.info(
            _(
                "The last search has another network or other images: {searched}.",
                searched=plain(searched_words(then)),
            ),
            icon=":material/history:",
        )
        return False
    if changed := differences(then, searched_plan(plan)):
        st.warning(
            _(
                "These candidates are for another plan: {changes}. *Search* measures the present "
                "plan.",
                changes=_("; ").join(changed),
            ),
            icon=":material/history:",
        )
    return True


def _summary(shown: Sequence[SearchRun], n: int, task: Task) -> None:
    """The best candidate of all searches that are drawn, beside the baselines."""
    pair = best_of(shown)
    started = shown[-1].started
    if pair is None or started is None:
        st.caption(_("No candidate is within the budget yet."))
        return
    run, best = pair
    value = value_text(best.judged.value, task)
    ends = interval_of(best.judged.value, n, task)
    spread = _(" (95%: {interval})", interval=interval_words(ends, task)) if ends else ""
    budget = run.asked.settings.budget
    st.markdown(
        _(
            "**{name} {value}**{spread} with {cost}: candidate {number:,} of {search}. "
            "{baselines}, dense {dense}.",
            name=from_core(task.value_label).capitalize(),
            value=value,
            spread=spread,
            cost=cost_share(budget, best.costs[budget]),
            number=best.number,
            search=run.asked.name,
            baselines=_baseline_words(started, task).capitalize(),
            dense=value_text(started.dense.value, task),
        )
    )
    st.caption(
        _(
            "Measured on {n:,} probe {samples}, without training. The best of many candidates "
            "looks better on these images than it is: fine-tune it and compare on the test images.",
            n=n,
            samples=from_core(task.samples),
        )
    )


def _baseline_words(started: Started, task: Task) -> str:
    """uniform 61.2%, global magnitude 70.4%."""
    return _(", ").join(
        f"{_(BASELINES[name])} {value_text(candidate.judged.value, task)}"
        for name, candidate in started.baselines.items()
    )
