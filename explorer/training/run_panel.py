"""A training run on its page: start, status, curves, and the plan that it was started with."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from explorer.charts import alt, training_curves
from explorer.jobs.job import Snapshot
from explorer.limits import limits
from explorer.session import cache, state
from explorer.session.kept import keeping_note, new_run
from explorer.session.notices import show_errors
from explorer.texts.plan_words import differences
from explorer.texts.task_words import for_task
from explorer.texts.translate import N_, _
from explorer.training.engine import (
    MaskUpdate,
    epoch_steps_of,
    epochs_of,
    one_time_axis,
    progress,
    reference_of,
)
from explorer.training.interrupted import (
    Resumable,
    after_a_stop,
    interrupted_runs,
    kept_on_disk,
    resumable,
    start_carried,
)
from explorer.training.status import asked_for, is_active, note_lost, training_status
from pruning_core.history import Run, kept_run
from pruning_core.history.unfinished import Carried, Description
from pruning_core.pipeline import uses_whole_test
from pruning_core.plan import Plan
from pruning_core.types import Evaluation, Finished
from pruning_core.workspaces import Workspace

INTERRUPTED = N_(
    "{title} was interrupted after epoch {done:,} of {total:,}: the server or its process "
    "ended, or no page of it was open in your browser."
)


@dataclass(frozen=True)
class TrainingPage:
    """What differs between the pages that run a training in the background.

    job: kind of the background job; kind: of the run in the history; run_name: the run inside a
    sentence; update_name: a mask update inside a sentence; key: start of the widgets' keys; empty,
    icon: shown before the first run.
    """

    job: str
    kind: str
    run_name: str
    update_name: str
    key: str
    empty: str
    icon: str

    def newest_run(self) -> Snapshot | None:
        """This browser's newest run of the page."""
        runs = cache.jobs().snapshots(state.owner(), self.job)
        return runs[0] if runs else None

    def newest_finished(self) -> Snapshot | None:
        """This browser's newest run of the page that has a result."""
        runs = cache.jobs().snapshots(state.owner(), self.job)
        return next((run for run in runs if isinstance(run.result, Finished)), None)


def require_prunable(plan: Plan, space: Workspace) -> None:
    """Raises PruningError, with the reason, where the plan can prune no layer."""
    if not cache.prunable(plan, space)[0]:
        cache.groups(plan, space)


def start_button(page: TrainingPage, label: str, *, disabled: bool) -> bool:
    """Draws the button that starts a run. Is it pressed?"""
    return st.button(
        label,
        type="primary",
        key=f"{page.key}_start",
        icon=":material/play_arrow:",
        disabled=disabled,
        help=_("Runs in the background. You can use the other pages meanwhile."),
    )


def start_run(
    page: TrainingPage, title: str, function: Resumable, plan: Plan, space: Workspace, **more: Any
) -> None:
    """Starts the run in the background, or shows why it cannot start, and redraws the page.

    The run history keeps it. function: it can have a `folder`, from which it continues; more: what
    `continue_run` needs for the function besides the plan.
    """
    with show_errors():
        start = new_run(page.kind, plan, space)
        own = {"run": start.id, "parent": start.parent, **more}
        carried = kept_on_disk(page.job, title, plan, space, **own)
        _start_run(page, title, function, plan, space, start, carried)
        st.rerun()


def _start_run(
    page: TrainingPage,
    title: str,
    function: Resumable,
    plan: Plan,
    space: Workspace,
    start: Run,
    carried: Carried | None,
) -> None:
    history = cache.keeping_history()
    work = cache.work(
        plan,
        space,
        resumable(function, carried),
        lambda events: kept_run(history, start, plan, space, events, update=_update),
    )
    start_carried(page.job, title, work, plan, carried)


def continue_runs(page: TrainingPage, function: Callable[[Description, Plan], Resumable]) -> None:
    """Draws this browser's interrupted runs of the page. function: of `start_run`, made again."""

    def go_on(carried: Carried, description: Description, plan: Plan, space: Workspace) -> None:
        start = replace(
            new_run(page.kind, plan, space),
            id=str(description.get("run")),
            parent=description.get("parent"),
        )
        title = str(description.get("title"))
        _start_run(page, title, function(description, plan), plan, space, start, carried)

    interrupted_runs(page.job, INTERRUPTED, lambda _own, plan: epochs_of(plan), go_on)


def _update(event: object) -> tuple[int, float] | None:
    """The optimizer steps before a mask update, and the value after it."""
    return (event.steps, event.evaluation.value) if isinstance(event, MaskUpdate) else None


def run_status(
    page: TrainingPage, plan: Plan, space: Workspace, *, was_active: bool
) -> Snapshot | None:
    """Draws the status of the newest run and returns the run; None if there is no run.

    Redraws the whole page when a run has ended. was_active: the run was active when the page was
    drawn.
    """
    run = page.newest_run()
    if was_active and not is_active(run):
        st.rerun()
    if run is None:
        note_lost(page.job)
        empty = _(page.empty, seconds=limits().grace, stopped=after_a_stop())
        st.info(for_task(empty, space.dataset.task), icon=page.icon)
        return None
    total = epochs_of(asked_for(run, Plan)) * epoch_steps_of(run.events)
    at = progress(run.events, total, run.seconds, page.update_name)
    training_status(run, page.run_name, at, f"{page.key}_stop")
    keeping_note(run.events)
    if run.active and (changed := changes(asked_for(run, Plan), plan, space)):
        st.warning(
            _(
                "This {name} is for another plan: {changes}. It continues as it was started.",
                name=_(page.run_name),
                changes=_("; ").join(changed),
            ),
            icon=":material/history:",
        )
    return run


def learning_curves(run: Snapshot, key: str) -> Evaluation | None:
    """Draws loss and value over the epochs of all trainings, and the value at each mask update.

    Returns the dense model's evaluation, or None where there is nothing to draw yet.
    """
    plan = asked_for(run, Plan)
    moved, updates = one_time_axis(run.events, epoch_steps_of(run.events))
    dense = reference_of(run.events)
    if dense is None or not (moved or updates):
        return None
    figure = training_curves(
        moved, {"dense": dense.value}, updates, epochs=epochs_of(plan), task=dense.task
    )
    st.plotly_chart(figure, key=key, alt=alt(figure), config={"displayModeBar": False})
    return dense


def changes(then: Plan, now: Plan, space: Workspace) -> tuple[str, ...]:
    """How the plan of a run differs from the present one, in what changes the run's result."""
    return differences(then, now, skip=("probe",) if uses_whole_test(space.dataset) else ())


def same_data(run: Snapshot, plan: Plan) -> bool:
    """Does the run have the plan's network and images?"""
    then = asked_for(run, Plan)
    return (then.model, then.dataset) == (plan.model, plan.dataset)


def finished_run(plan: Plan, space: Workspace) -> Finished | None:
    """The result of this browser's newest finished run of exactly this plan, from any page."""
    for run in cache.jobs().snapshots(state.owner()):
        if isinstance(run.result, Finished) and not changes(asked_for(run, Plan), plan, space):
            return run.result
    return None
