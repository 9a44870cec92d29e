"""Fine-tune & compare: train the cut network on, in the background, and see what comes back."""

from dataclasses import replace

import streamlit as st

from explorer.charts import alt, training_curves
from explorer.jobs.job import Snapshot
from explorer.pages.finetune.compare import compare_section
from explorer.pages.finetune.run import (
    Reference,
    continuous,
    fine_tune_events,
    progress,
    settles,
    steps_of,
)
from explorer.session import cache, state
from explorer.session.notices import show_errors
from explorer.texts.plan_words import cut_words, differences, flow_words, tune_words
from explorer.training.form import tune_form
from explorer.training.status import asked_for, note_lost, training_status
from pruning_core.flows import FLOWS, flow
from pruning_core.pipeline import Workspace, uses_whole_test
from pruning_core.plan import Plan
from pruning_core.schedule import schedule
from pruning_core.types import Finished

KIND = "train"
REFRESH = 1.0
FEW_STEPS = 80
LEAD = "Cut the network, then train what is left: most of the lost accuracy usually comes back. Removed weights stay removed."
EMPTY = """
**No run yet.** Press *Start*: the network is cut as the side bar says, in the rounds of the schedule, and trained after each
cut. You can watch it learn, stop it at any time, and go on using all pages meanwhile. Then this page compares four states on the
test images: *dense*, *pruned*, *BN recalibrated* and *fine-tuned*: accuracy with intervals, each class, the images whose answer
changed, and the weights themselves. The base network is never changed.

A reload finds the run again. A minute after the app's last tab in this browser was closed, the run is stopped and its result is
forgotten: what you downloaded stays.
"""


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page; another flow than rounds is for the page Flows."""
    st.markdown(LEAD)
    if flow(plan.flow) != FLOWS["rounds"]:
        st.info(
            f"The plan's flow is {flow_words(plan.flow)}, which runs on the page *Flows*. Here the same cut is made and "
            "fine-tuned in rounds.",
            icon=":material/timeline:",
        )
        plan = replace(plan, flow="rounds")
    able, _ = cache.prunable(plan, space)
    if not able:
        cache.groups(plan, space)
    st.caption(f"To be cut: {cut_words(plan, cache.requested_by_hand(plan, space))}")
    found = cache.jobs().snapshots(state.owner(), KIND)
    active = bool(found) and found[0].active
    with st.container(border=True):
        tune_form(plan)
        _start(plan, space, active=active, again=bool(found))
    st.fragment(_live, run_every=REFRESH if active else None)(active)
    if not active and found:
        _results(plan, space)


def finished_run(plan: Plan, space: Workspace) -> Finished | None:
    """The browser's newest finished run of exactly this plan, of this page or of Flows."""
    for run in cache.jobs().snapshots(state.owner()):
        if isinstance(run.result, Finished) and not changes(asked_for(run, Plan), plan, space):
            return run.result
    return None


def changes(then: Plan, now: Plan, space: Workspace) -> tuple[str, ...]:
    """How the plan of a run differs from the present one, in what matters for the run."""
    return differences(then, now, skip=("probe",) if uses_whole_test(space.dataset) else ())


def _start(plan: Plan, space: Workspace, *, active: bool, again: bool) -> None:
    steps = steps_of(plan, space)
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            "Start again" if again else "Start",
            type="primary",
            key="tune_start",
            icon=":material/play_arrow:",
            disabled=active,
            help="Runs in the background: use the other pages meanwhile.",
        )
        work = (
            f"{steps:,} steps on {len(space.dataset.train):,} training images"
            if steps
            else "only cutting and measuring"
        )
        st.caption(f"{tune_words(plan)} In all {work}.")
    per_round = steps // schedule(plan.schedule).rounds
    if 0 < per_round < FEW_STEPS:
        st.caption(
            f":material/lightbulb: {per_round} steps after a cut are few: {settles(space)} may not settle. With so "
            "few training images take more epochs or smaller batches."
        )
    if pressed:
        with show_errors():
            cache.jobs().start(
                state.owner(), KIND, "Fine-tuning", lambda: fine_tune_events(plan, space), plan
            )
            st.rerun()


def _live(was_active: bool) -> None:
    """Progress and curves; runs again by itself while the training goes on."""
    with show_errors():
        found = cache.jobs().snapshots(state.owner(), KIND)
        if was_active and not (found and found[0].active):
            st.rerun()
        if not found:
            note_lost(KIND)
            st.info(EMPTY, icon=":material/model_training:")
            return
        run = found[0]
        training_status(
            run, "run", progress(run.events, asked_for(run, Plan), run.seconds), "tune_stop"
        )
        if run.active or run.status != "done":
            _curves(run)


def _curves(run: Snapshot) -> None:
    """Loss per step and accuracy per epoch, with the dense network's level and the drop at each
    cut.
    """
    then = asked_for(run, Plan)
    moved, cuts = continuous(run.events, then.fine_tune.epochs)
    if not cuts:
        return
    dense = next((event.evaluation for event in run.events if isinstance(event, Reference)), None)
    epochs = then.fine_tune.epochs * schedule(then.schedule).rounds
    figure = training_curves(moved, {"dense": dense.top1} if dense else None, cuts, epochs=epochs)
    st.plotly_chart(
        figure, key="training_curves", alt=alt(figure), config={"displayModeBar": False}
    )
    if dense:
        st.caption(
            f"Accuracy here is on the {dense.n:,} validation images, which also choose the best epoch; whiskers: 95% intervals."
        )


def _results(plan: Plan, space: Workspace) -> None:
    """The newest finished run, and for which plan it is."""
    run = next(
        (
            run
            for run in cache.jobs().snapshots(state.owner(), KIND)
            if isinstance(run.result, Finished)
        ),
        None,
    )
    if run is None or not isinstance(run.result, Finished):
        return
    then = asked_for(run, Plan)
    if then.model != plan.model or then.dataset != plan.dataset:
        sentence = f"The last finished run is of another network or other images: {cut_words(then)} Start one for the present plan."
        st.info(sentence, icon=":material/history:")
        return
    if changed := changes(then, plan, space):
        st.warning(
            f"These results are for another plan: {'; '.join(changed)}. *Start again* runs the present one.",
            icon=":material/history:",
        )
    with st.expander("How it learned", icon=":material/show_chart:", expanded=True):
        _curves(run)
    compare_section(run.result, then, space)
