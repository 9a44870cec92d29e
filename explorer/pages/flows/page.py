"""Flows: cutting and training together, watched as it happens; one layer's mask over time."""

from collections.abc import Sequence

import streamlit as st

from explorer.charts import alt, mask_over_time, moments_chart, training_curves
from explorer.jobs.job import Snapshot
from explorer.pages.finetune.compare import compare_section
from explorer.pages.finetune.run import Reference
from explorer.pages.flows.form import flow_form
from explorer.pages.flows.run import (
    Frame,
    continuous,
    flow_events,
    frames_of,
    history,
    per_epoch,
    progress,
    steps_of,
)
from explorer.pages.flows.seven_panel import seven_panel
from explorer.session import cache, state
from explorer.session.notices import show_errors
from explorer.texts.formats import HELP, percent
from explorer.texts.plan_words import cut_words, differences, flow_tune_words, flow_words, ranked_by
from explorer.training.form import tune_form
from explorer.training.status import asked_for, note_lost, training_status
from pruning_core.flows import flow
from pruning_core.flows.rounds import Lottery
from pruning_core.pipeline import Workspace, uses_whole_test
from pruning_core.plan import Plan
from pruning_core.types import Evaluation, Finished, Layer

KIND = "flow"
REFRESH = 1.0
LEAD = "When to cut is as free a choice as what to cut: before training, between trainings, or a little after every step."
AFRESH = "Each training starts from new random weights: give it as many epochs as a network needs from nothing, not a few."
TAKE_HOME = "While the plan stays as it was for this run, the page *Export* has its masks, its weights and a script that loads them."
EMPTY = """
**No flow has run yet.** Choose one and press *Run*. You see the loss, the accuracy and the removed share as they change, and one
layer's mask at every moment: which weights went when, and, where the flow allows it, which came back. It runs in the background;
the base network is never changed. A minute after the app's last tab in this browser was closed, it is stopped and forgotten.
"""


def render(plan: Plan, space: Workspace) -> None:
    """Draws the page."""
    st.markdown(LEAD)
    able, _ = cache.prunable(plan, space)
    if not able:
        cache.groups(plan, space)
    found = cache.jobs().snapshots(state.owner(), KIND)
    active = bool(found) and found[0].active
    with st.container(border=True):
        flow_form(plan)
        tune_form(plan)
        st.caption(
            f"To be cut: {cut_words(plan, cache.requested_by_hand(plan, space), ranked_by(plan))}"
        )
        _start(plan, space, active=active, again=bool(found))
    with show_errors():
        seven_panel(plan, space, _layer(plan, space))
    st.fragment(_live, run_every=REFRESH if active else None)(plan, space, active)
    if (
        found
        and not active
        and isinstance(found[0].result, Finished)
        and _same_data(found[0], plan)
    ):
        compare_section(found[0].result, asked_for(found[0], Plan), space)
        st.caption(TAKE_HOME)


def _start(plan: Plan, space: Workspace, *, active: bool, again: bool) -> None:
    steps = steps_of(plan, space)
    looked = _layer(plan, space)
    chosen = flow(plan.flow)
    missing = chosen.trains and not plan.fine_tune.epochs
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            "Run again" if again else "Run",
            type="primary",
            key="flow_start",
            icon=":material/play_arrow:",
            disabled=active or missing,
            help="Runs in the background: use other pages meanwhile.",
        )
        words = f"{flow_words(plan.flow)}: {flow_tune_words(plan)} In all {steps:,} steps."
        st.caption(
            "This flow prunes while it trains: give it at least one epoch." if missing else words
        )
    if isinstance(chosen, Lottery) and chosen.fresh:
        st.caption(f":material/lightbulb: {AFRESH}")
    if pressed:
        with show_errors():
            cache.jobs().start(
                state.owner(),
                KIND,
                chosen.label,
                lambda: flow_events(plan, space, looked.name),
                plan,
            )
            st.rerun()


def _live(plan: Plan, space: Workspace, was_active: bool) -> None:
    """Progress, curves and the mask; runs again by itself while the flow goes on."""
    with show_errors():
        found = cache.jobs().snapshots(state.owner(), KIND)
        if was_active and not (found and found[0].active):
            st.rerun()
        if not found:
            note_lost(KIND)
            st.info(EMPTY, icon=":material/timeline:")
            return
        run = found[0]
        then = asked_for(run, Plan)
        training_status(
            run, "flow", progress(run.events, steps_of(then, space), run.seconds), "flow_stop"
        )
        if not _same_data(run, plan):
            st.info(
                f"The last flow had another network or other images: {cut_words(then, None, ranked_by(then))}",
                icon=":material/history:",
            )
            return
        skip = ("probe",) if uses_whole_test(space.dataset) else ()
        if not run.active and (changed := differences(then, plan, skip)):
            st.warning(
                f"These results are for another plan: {'; '.join(changed)}.",
                icon=":material/history:",
            )
        _curves(run, plan, space)
        _mask(run, plan, space)


def _curves(run: Snapshot, plan: Plan, space: Workspace) -> None:
    """Loss and accuracy over epochs, counted on through all trainings; what is removed at each
    moment.
    """
    then = asked_for(run, Plan)
    steps = per_epoch(then, space)
    frames = frames_of(run.events)
    moved, cuts = continuous(run.events, steps)
    dense = next((event.evaluation for event in run.events if isinstance(event, Reference)), None)
    if dense is None or not (moved or cuts):
        return
    st.subheader("While it trains", anchor=False)
    figure = training_curves(
        moved, {"dense": dense.top1}, cuts, epochs=steps_of(then, space) // steps
    )
    st.plotly_chart(figure, key="flow_training", alt=alt(figure), config={"displayModeBar": False})
    st.caption(
        f"Epochs are measured on all {len(space.dataset.val):,} validation images, with 95% intervals; the dense "
        f"level and the crosses (right after a cut) on {dense.n:,} probe images among them."
    )
    if len(frames) > 1:
        _moments(frames, dense, _layer(plan, space).name)


def _moments(frames: Sequence[Frame], dense: Evaluation, layer: str) -> None:
    """What is removed, and the accuracy right after, moment by moment; one cut alone makes no
    curve.
    """
    st.subheader("Cut by cut", anchor=False, help=HELP["flow_moment"])
    measured = [dense, *(frame.evaluation for frame in frames)]
    figure = moments_chart(
        [0.0, *(frame.removed for frame in frames)],
        [each.top1 for each in measured],
        [each.interval for each in measured],
        [0.0, *(frame.layers.get(layer, 0.0) for frame in frames)],
        layer,
    )
    st.plotly_chart(figure, key="flow_moments", alt=alt(figure), config={"displayModeBar": False})
    st.caption(
        f"Accuracy on {dense.n:,} probe images, with 95% intervals, before the network trains on."
    )


def _mask(run: Snapshot, plan: Plan, space: Workspace) -> None:
    """The chosen layer's mask, with a slider over the moments."""
    frames = frames_of(run.events)
    names = [layer.name for layer in space.layers]
    if not frames:
        return
    st.subheader("One layer's mask over time", anchor=False)
    chosen = _layer(plan, space)
    choice, moment = st.columns([1, 2], vertical_alignment="bottom")
    state.set_widget("flow_layer", chosen.name)
    choice.selectbox("Layer", names, key="flow_layer", help=HELP["flow_layer"], on_change=_looked)
    found = history(frames, chosen)
    if found is None:
        st.info(
            "This layer was never cut, or the network is too large to keep all masks: choose the layer before the flow runs."
        )
        return
    last = (
        len(found) - 1
    )  # each new moment makes a new slider, which starts at its end: the newest is shown
    at = moment.slider(
        "Moment", 0, last, last, key=f"flow_moment_{run.id[:8]}_{last}", help=HELP["flow_moment"]
    )
    figure = mask_over_time(found, at)
    st.plotly_chart(figure, key="flow_mask", alt=alt(figure), config={"displayModeBar": False})
    st.caption(_moment_words(frames, at, chosen.name))


def _moment_words(frames: Sequence[Frame], at: int, layer: str) -> str:
    """What the picture of a moment shows."""
    if not at:
        return "Before the first cut: every weight is there. Move the slider."
    frame = frames[at - 1]
    found = frame.evaluation
    (low, high) = frame.evaluation.interval
    note_lost = percent(frame.layers.get(layer, 0.0))
    right = f"{percent(found.top1)} (95%: {100 * low:.1f} to {100 * high:.1f}%)"
    return (
        f"Moment {at} of {len(frames)}, after {frame.steps:,} steps: {note_lost} of {layer} removed, accuracy {right} on "
        f"{found.n:,} probe images. A square is a weight; filters run downwards and go on in the next column."
    )


def _layer(plan: Plan, space: Workspace) -> Layer:
    """The layer that is looked at; before one was chosen, the first that can be cut."""
    named = {layer.name: layer for layer in space.layers}
    able, _ = cache.prunable(plan, space)
    return named.get(state.selected_layer() or "", able[0] if able else space.layers[0])


def _looked() -> None:
    state.select_layer(state.widget_value("flow_layer", None))


def _same_data(run: Snapshot, plan: Plan) -> bool:
    then = asked_for(run, Plan)
    return (then.model, then.dataset) == (plan.model, plan.dataset)
