"""The page Flows: pruning during training, shown while it runs, with one layer's mask over time."""

from functools import partial

import streamlit as st

from explorer.jobs.job import Snapshot
from explorer.pages.flows.form import flow_form
from explorer.pages.flows.goal_panel import goal_panel
from explorer.pages.flows.mask_panel import mask_panel, updates_panel
from explorer.pages.flows.run import flow_events
from explorer.pages.flows.seven_panel import seven_panel
from explorer.session import cache
from explorer.session.notices import plain, show_errors
from explorer.session.shown_layer import shown_layer
from explorer.texts.plan_words import cut_words, flow_tune_words, flow_words, ranked_by
from explorer.texts.task_words import for_task
from explorer.texts.translate import N_, _, from_core
from explorer.training.compare import before_and_after, what_changed
from explorer.training.engine import mask_updates_of, reference_of, steps_of
from explorer.training.form import training_form
from explorer.training.interrupted import Resumable
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
from pruning_core.flows import flow
from pruning_core.history.unfinished import Description
from pruning_core.plan import Plan
from pruning_core.types import Finished, Layer
from pruning_core.workspaces import Workspace

LEAD = N_(
    "A flow decides when the network is pruned: before the training, between trainings, or a "
    "little after every training step."
)
NEW_WEIGHTS = N_(
    "Each training starts from new random weights. Choose as many epochs as a network needs to "
    "learn from the start."
)
EXPORT = N_(
    "The page *Export* has this run's masks, weights and script as long as you do not change the "
    "plan."
)
EMPTY = N_("""
**No flow has run yet.** Choose a flow and press *Run*. You see how loss, accuracy and the removed
fraction change, and one layer's mask after each mask update: which weights were removed when, and
which were restored, where the flow allows it. The flow runs in the background. The base network is
never changed.

{seconds} seconds after you close the app's last tab in this browser, the flow is stopped and its
result is deleted here. {stopped}
""")
PAGE = TrainingPage(
    "flow", "flow", N_("flow"), N_("mask update"), "flow", EMPTY, ":material/timeline:"
)


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    st.markdown(for_task(_(LEAD), space.dataset.task))
    require_prunable(plan, space)
    continue_runs(PAGE, _kept_events)
    run = PAGE.newest_run()
    active = is_active(run)
    result = st.container() if run is not None else None  # above the form, once there is one
    with st.container(border=True):
        flow_form(plan, space.dataset.task)
        training_form(plan)
        by_hand = cache.requested_by_hand(plan, space)
        cut = plain(cut_words(plan, by_hand, ranked_by(plan)))
        st.caption(_("To prune: {cut}", cut=cut))
        _start(plan, space, active=active, again=run is not None)
    with show_errors():
        seven_panel(plan, space, shown_layer(plan, space))
    with result or st.container():
        st.fragment(_live, run_every=REFRESH_SECONDS if active else None)(plan, space, active)
        if run and isinstance(run.result, Finished) and same_data(run, plan):
            before_and_after(run.result, space)
            what_changed(run.result, asked_for(run, Plan), space)
            st.caption(_(EXPORT))


def _start(plan: Plan, space: Workspace, *, active: bool, again: bool) -> None:
    """The start button, and what the flow does."""
    chosen = flow(plan.flow)
    layer = shown_layer(plan, space).name
    needs_epochs = chosen.trains and not plan.fine_tune.epochs
    with st.container(horizontal=True, vertical_alignment="center"):
        label = _("Run again") if again else _("Run")
        pressed = start_button(PAGE, label, disabled=active or needs_epochs)
        if needs_epochs:
            st.caption(_("This flow prunes during training. Choose at least one epoch."))
        else:
            st.caption(
                _(
                    "{flow}: {training} In all {steps:,} steps.",
                    flow=flow_words(plan.flow),
                    training=flow_tune_words(plan),
                    steps=steps_of(plan, space),
                )
            )
    if getattr(chosen, "fresh", False):
        st.caption(f":material/lightbulb: {_(NEW_WEIGHTS)}")
    if pressed:
        events = partial(flow_events, plan, chosen_layer=layer)
        start_run(PAGE, chosen.label, events, plan, space, layer=layer)


def _kept_events(description: Description, plan: Plan) -> Resumable:
    """The events of an interrupted flow."""
    return partial(flow_events, plan, chosen_layer=description.get("layer"))


def _live(plan: Plan, space: Workspace, was_active: bool) -> None:
    """Status, curves and mask. This part redraws itself while the flow is active."""
    with show_errors():
        run = run_status(PAGE, plan, space, was_active=was_active)
        if run is None:
            return
        then = asked_for(run, Plan)
        if not same_data(run, plan):
            words = plain(cut_words(then, None, ranked_by(then)))
            st.info(
                _("The last flow has another network or other images: {words}", words=words),
                icon=":material/history:",
            )
            return
        if not run.active and (changed := changes(then, plan, space)):
            st.warning(
                _("These results are for another plan: {changes}.", changes=_("; ").join(changed)),
                icon=":material/history:",
            )
        goal_panel(run.events, reference_of(run.events), active=run.active)
        layer = shown_layer(plan, space)
        mask_panel(run, space, layer)
        _curves(run, space, layer)


def _curves(run: Snapshot, space: Workspace, layer: Layer) -> None:
    """Loss and accuracy over all trainings, then what each mask update removed."""
    heading = st.empty()
    dense = learning_curves(run, "flow_training")
    if dense is None:
        return
    heading.subheader(_("Training curves"), anchor=False)
    st.caption(
        _(
            "Epochs are measured on all {total:,} validation {samples}, with 95% intervals. The "
            "dense level and the crosses, right after a mask update, are measured on {n:,} probe "
            "{samples} among them.",
            total=len(space.dataset.val),
            n=dense.n,
            samples=from_core(space.dataset.task.samples),
        )
    )
    updates_panel(mask_updates_of(run.events), dense, layer.name)
