"""The correlation lab: does the value without training predict the value after it?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import streamlit as st

from explorer.charts import alt
from explorer.charts.search import correlation_chart
from explorer.jobs.job import Snapshot
from explorer.jobs.progress import Progress
from explorer.limits import limits
from explorer.pages.search.run import SearchRequest, SearchRun
from explorer.session import cache, state
from explorer.session.foldable import foldable
from explorer.session.notices import show_errors
from explorer.texts.help import HELP
from explorer.texts.task_words import for_task
from explorer.texts.translate import N_, _, from_core, n_
from explorer.training.status import active_job, asked_for, ended, is_active, repeated
from pruning_core.plan import Plan
from pruning_core.search.correlation import (
    LEAST,
    Correlation,
    Trial,
    correlations,
    differences,
    spread,
    trials,
)
from pruning_core.tasks import Task
from pruning_core.training.config import TrainConfig
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace

KIND = "correlation"
USUAL = 8
MOST = 100
LEAD = N_(
    "A search measures candidates without training. Here some of them, spread from the worst to "
    "the best, are fine-tuned for a short time: where the order before and after agrees, the "
    "search chose well. The accuracy after fine-tuning is that of the test images, which no search "
    "reads."
)


@dataclass(frozen=True)
class CorrelationRequest:
    """Which candidates of a search to fine-tune, and how."""

    asked: SearchRequest
    count: int
    config: TrainConfig


def correlation_panel(run: SearchRun, plan: Plan, space: Workspace) -> None:
    """Draws the lab of a finished search, folded. plan: its training is used."""
    with (
        foldable(
            _("Correlation lab: is the search's measure right?"), "lab_shown", ":material/science:"
        ),
        show_errors(),
    ):
        st.markdown(for_task(_(LEAD), space.dataset.task))
        _form(run, plan, space)
        active = is_active(_newest(run.asked))
        repeated(_live, active)(run.asked, space, active)


def _newest(asked: SearchRequest) -> Snapshot | None:
    """This browser's newest lab of that search."""
    jobs = cache.jobs().snapshots(state.owner(), KIND)
    own = (job for job in jobs if asked_for(job, CorrelationRequest).asked == asked)
    return next(own, None)


def _form(run: SearchRun, plan: Plan, space: Workspace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        count = _number(_("Candidates"), "lab_count", LEAST, MOST, USUAL)
        epochs = _number(_("Epochs"), "lab_epochs", 1, min(50, limits().epochs), 1)
        pressed = st.button(
            _("Fine-tune them"),
            key="lab_start",
            icon=":material/play_arrow:",
            disabled=is_active(_newest(run.asked)),
        )
    steps = len(space.dataset.train)
    st.caption(
        _(
            "{count} trainings of {epochs} on {steps:,} training {samples}, with the settings of "
            "*Fine-tune & compare*.",
            count=count,
            epochs=n_("{n} epoch", "{n} epochs", epochs),
            steps=steps,
            samples=from_core(space.dataset.task.samples),
        )
    )
    if pressed:
        config = replace(plan.fine_tune, epochs=min(epochs, limits().epochs))
        chosen = spread(run.candidates, count)
        asked = CorrelationRequest(run.asked, len(chosen), config)
        searched = run.asked.plan
        events = partial(
            trials, searched, settings=run.asked.settings, candidates=chosen, config=config
        )
        work = cache.work(searched, space, events)
        cache.jobs().start(state.owner(), KIND, N_("Correlation lab"), work, asked)
        st.rerun()


def _number(label: str, key: str, least: int, most: int, usual: int) -> int:
    state.keep_widget(key)
    return int(st.number_input(label, least, most, usual, key=key, help=HELP[key], width=150))


def _live(asked: SearchRequest, space: Workspace, was_active: bool) -> None:
    """Progress, the scatter and the coefficients; runs again by itself during the lab."""
    with show_errors():
        job = _newest(asked)
        if was_active and not is_active(job):
            st.rerun()
        if job is None:
            return
        done = [event for event in job.events if isinstance(event, Trial)]
        total = asked_for(job, CorrelationRequest).count
        if job.active:
            left = job.seconds / len(done) * (total - len(done)) if done else None
            stage = _("{count} of {total} candidates fine-tuned", count=len(done), total=total)
            at = Progress(len(done) / total, left, stage)
            active_job(
                job, at, "lab_stop", _("Stops within one candidate. Finished ones are kept.")
            )
        else:
            ended(job, _("lab"), _(" after {count} candidates.", count=len(done)))
        if done:
            _result(done, space.dataset.task)


def _result(done: Sequence[Trial], task: Task) -> None:
    figure = correlation_chart(done, task)
    st.plotly_chart(figure, key="lab_chart", alt=alt(figure), config={"displayModeBar": False})
    if len(done) < LEAST:
        return
    after = [trial.tuned for trial in done]
    sides = {
        N_("with repair"): [trial.repaired for trial in done],
        N_("without repair"): [trial.masked for trial in done],
    }
    try:
        values = {side: correlations(before, after) for side, before in sides.items()}
        values[N_("difference")] = differences(sides["with repair"], sides["without repair"], after)
    except PruningError as problem:
        st.caption(from_core(str(problem)))
        return
    rows = [
        {_("Measured"): _(side)} | {name.title(): _words(c) for name, c in own.items()}
        for side, own in values.items()
    ]
    st.dataframe(
        rows, hide_index=True, alt=_("Correlation of the value before and after fine-tuning.")
    )
    st.caption(
        _(
            "Over {count} candidates, with 95% bootstrap intervals. 1: the same order; 0: no "
            "relation. Where the difference's interval is above 0, repair makes the order surer. "
            "Repair: batch-norm statistics measured again, or the plan's own repair.",
            count=len(done),
        )
    )


def _words(own: Correlation) -> str:
    low, high = own.interval
    return _("{value:.2f} ({low:.2f} to {high:.2f})", value=own.value, low=low, high=high)
