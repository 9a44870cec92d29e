"""The page Fine-tune & compare: prune, train in the background, compare before and after."""

from dataclasses import replace
from functools import partial

import streamlit as st

from explorer.jobs.job import Snapshot
from explorer.session import cache
from explorer.session.foldable import foldable
from explorer.session.notices import plain, show_errors
from explorer.texts.formats import title
from explorer.texts.plan_words import cut_words, flow_words, tune_words
from explorer.texts.task_words import for_task
from explorer.texts.translate import N_, _, from_core, n_
from explorer.training.compare import before_and_after, what_changed
from explorer.training.engine import steps_of, training_events
from explorer.training.form import training_form
from explorer.training.run_panel import (
    TrainingPage,
    changes,
    continue_runs,
    learning_curves,
    require_prunable,
    run_status,
    same_data,
    start_button,
    start_run,
)
from explorer.training.status import REFRESH_SECONDS, asked_for, is_active
from pruning_core.flows import FLOWS, flow
from pruning_core.plan import Plan
from pruning_core.schedule import schedule
from pruning_core.training.batch_norm import tracked_norms
from pruning_core.types import Finished
from pruning_core.workspaces import Workspace

FEW_STEPS = 80
LEAD = N_(
    "Prune the network, then train the weights that are kept. Usually most of the lost accuracy "
    "is recovered. Removed weights stay removed."
)
EMPTY = N_("""
**No run yet.** Press *Start*. The network is pruned as the side bar says, in the rounds of the
schedule, and trained after each round. You see loss and accuracy while it trains. You can stop the
run at any time, and use all other pages meanwhile.

Then this page compares four states on the test images: *dense*, *pruned*, *BN recalibrated* and
*fine-tuned*. It shows the accuracy with intervals, each class, the images whose answer changed, and
the weights. The base network is never changed.

The run continues when you reload the page. {seconds} seconds after you close the app's last tab in
this browser, the run is stopped and its result is deleted here. {stopped} Files that you downloaded
are not affected.
""")
PAGE = TrainingPage(
    "train", "tune", N_("run"), N_("round"), "tune", EMPTY, ":material/model_training:"
)


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page. Flows other than rounds run on the page Flows."""
    st.markdown(for_task(_(LEAD), space.dataset.task))
    plan = _in_rounds(plan)
    require_prunable(plan, space)
    words = plain(cut_words(plan, cache.requested_by_hand(plan, space)))
    st.caption(_("To prune: {plan}", plan=words))
    continue_runs(PAGE, lambda _own, kept: partial(training_events, kept))
    run = PAGE.newest_run()
    active = is_active(run)
    result = st.container() if run is not None else None  # above the form, once there is one
    with st.container(border=True):
        training_form(plan)
        _start(plan, space, active=active, again=run is not None)
    with result or st.container():
        st.fragment(_live, run_every=REFRESH_SECONDS if active else None)(plan, space, active)
        if not active:
            _results(plan, space)


def _in_rounds(plan: Plan) -> Plan:
    """The plan with the flow of this page; a note where the plan has another flow."""
    if flow(plan.flow) == FLOWS["rounds"]:
        return plan
    st.info(
        _(
            "The plan's flow is {flow}, which runs on the page *Flows*. This page prunes to the "
            "same target and fine-tunes in rounds.",
            flow=flow_words(plan.flow),
        ),
        icon=":material/timeline:",
    )
    return replace(plan, flow="rounds")


def _start(plan: Plan, space: Workspace, *, active: bool, again: bool) -> None:
    """The start button, and what the run does."""
    steps = steps_of(plan, space)
    with st.container(horizontal=True, vertical_alignment="center"):
        label = _("Start again") if again else _("Start")
        pressed = start_button(PAGE, label, disabled=active)
        length = _length_words(steps, space)
        st.caption(_("{training} {length}", training=tune_words(plan), length=length))
    _few_steps_note(steps // schedule(plan.schedule).rounds, space)
    if pressed:
        start_run(PAGE, N_("Fine-tuning"), partial(training_events, plan), plan, space)


def _length_words(steps: int, space: Workspace) -> str:
    """How long the run is."""
    if not steps:
        return _("The run only prunes and measures.")
    samples = space.dataset.task.samples
    return n_(
        "In all {n} step on {count:,} training {samples}.",
        "In all {n} steps on {count:,} training {samples}.",
        steps,
        count=len(space.dataset.train),
        samples=from_core(samples),
    )


def _few_steps_note(steps_per_round: int, space: Workspace) -> None:
    if not 0 < steps_per_round < FEW_STEPS:
        return
    few = n_("{n} step per round is too few", "{n} steps per round are too few", steps_per_round)
    words = (
        _(
            "{few}: batch norms and weights may not settle. Choose more epochs or smaller batches.",
            few=few,
        )
        if tracked_norms(space.model)
        else _("{few}: the weights may not settle. Choose more epochs or smaller batches.", few=few)
    )
    st.caption(f":material/lightbulb: {words}")


def _live(plan: Plan, space: Workspace, was_active: bool) -> None:
    """Status and curves. This part redraws itself while the run is active."""
    with show_errors():
        run = run_status(PAGE, plan, space, was_active=was_active)
        if run is None or run.status == "done":
            return
        above = st.container()
        drawn = _curves(run, "present_training_curves")
        changed = changes(asked_for(run, Plan), plan, space)
        if drawn and changed and not run.active:
            above.warning(
                _("These curves are for another plan: {changes}.", changes=_("; ").join(changed)),
                icon=":material/history:",
            )


def _curves(run: Snapshot, key: str) -> bool:
    """The curves of the run; False where there are none yet."""
    dense = learning_curves(run, key)
    if dense:
        st.caption(
            _(
                "{value} on the {n:,} validation {samples}, which also choose the best epoch. "
                "Whiskers: 95% intervals.",
                value=title(dense.task),
                n=dense.n,
                samples=from_core(dense.task.samples),
            )
        )
    return dense is not None


def _results(plan: Plan, space: Workspace) -> None:
    """The newest finished run, and how its plan differs from the present one."""
    run = PAGE.newest_finished()
    if run is None or not isinstance(run.result, Finished):
        return
    then = asked_for(run, Plan)
    if not same_data(run, plan):
        st.info(
            _(
                "The last finished run has another network or other images: {plan} Start a run "
                "for the present plan.",
                plan=plain(cut_words(then)),
            ),
            icon=":material/history:",
        )
        return
    if changed := changes(then, plan, space):
        st.warning(
            _(
                "These results are for another plan: {changes}. *Start again* runs the present "
                "plan.",
                changes=_("; ").join(changed),
            ),
            icon=":material/history:",
        )
    elif (newest := PAGE.newest_run()) is not None and newest.id != run.id:
        words = _("The results below are of the last run that finished.")
        st.caption(f":material/history: {words}")
    before_and_after(run.result, space)
    with foldable(_("Training curves"), "curves_shown", ":material/show_chart:", opened=True):
        _curves(run, "training_curves")
    what_changed(run.result, then, space)
