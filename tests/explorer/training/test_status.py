"""A background run in one line: how far it is, and how it ended."""

from unittest.mock import patch

import pytest
from streamlit.testing.v1 import AppTest

from explorer.jobs.job import Snapshot
from explorer.jobs.queue import JobQueue
from explorer.limits import Limits
from explorer.session import cache
from explorer.training.status import asked_for
from pruning_core.plan import Plan
from pruning_core.types import PruningError
from tests.explorer.driven import opened


def line(status: str, ahead: int, error: str | None, left: float | None, lost: int) -> None:
    from explorer.jobs.job import Snapshot
    from explorer.jobs.progress import Progress
    from explorer.training.status import training_status
    from pruning_core.workers import WorkerLost

    events = (WorkerLost("A worker ended."),) * lost
    run = Snapshot("1", "train", "Fine-tuning", status, events, error, 100.0, 175.0, ahead)
    training_status(run, "run", Progress(0.25, left, "round 1 of 2"), "stop")


def shown(
    status: str,
    ahead: int = 0,
    error: str | None = None,
    left: float | None = None,
    lost: int = 0,
) -> AppTest:
    at = AppTest.from_function(line, args=(status, ahead, error, left, lost)).run()
    assert not at.exception
    return at


def test_a_running_job_shows_its_progress_and_a_stop_button() -> None:
    at = shown("running", left=61.0)
    assert (
        at.progress[0].text == "Round 1 of 2 · 1 min 15 s so far, about 1 min 01 s left (estimated)"
    )
    assert at.progress[0].value == 25
    assert at.button(key="stop").label == "Stop"
    assert not at.caption
    assert "A worker ended. So 2 times now." in shown("running", lost=2).caption[0].value
    assert "left" not in shown("running").progress[0].text


def test_the_stop_button_says_that_it_was_pressed() -> None:
    at = shown("running")
    at.button(key="stop").click().run()
    assert not at.exception
    assert (at.button(key="stop").label, at.button(key="stop").disabled) == ("Stopping …", True)


def test_a_queued_job_shows_how_many_jobs_are_first() -> None:
    assert shown("queued", ahead=1).progress[0].text == "Queued: 1 other job first."
    assert shown("queued", ahead=2).progress[0].text == "Queued: 2 other jobs first."


def test_how_a_run_ended_is_one_sentence() -> None:
    assert shown("done").caption[0].value == ":material/check: Fine-tuning: finished in 1 min 15 s."
    assert (
        shown("cancelled").warning[0].value
        == "The run was stopped after 1 min 15 s. The base network is unchanged."
    )
    assert (
        shown("failed", error="No *.png is there.").error[0].value
        == "The run failed: No \\*.png is there."
    )
    assert not shown("done").button


def test_a_run_has_the_settings_that_it_was_started_with() -> None:
    plan = Plan(model="lenet5")
    run = Snapshot("1", "train", "Fine-tuning", "done", (), None, None, None, about=plan)
    assert asked_for(run, Plan) is plan
    with pytest.raises(PruningError, match="were not recorded"):
        asked_for(run, str)


def start_two() -> None:
    import streamlit as st

    from explorer.session import state
    from explorer.training.status import newest_run, start_job

    for about in ("a", "b"):
        start_job("kind", f"Run {about}", lambda: iter(()), about)
        run = newest_run("kind", about)
        st.text("none" if run is None else run.title)
    st.text(state.problems())


def test_a_run_that_cannot_start_is_a_sentence_in_the_side_bar() -> None:
    jobs = JobQueue(limits=Limits(jobs_per_browser=1, running_jobs=0))
    with patch.object(cache, "jobs", lambda: jobs):
        words = [text.value for text in opened(start_two, {}).text]
    assert words[:2] == ["Run a", "none"]
    assert "'Run a' is not finished." in words[2]


def buttons() -> None:
    import streamlit as st

    from explorer.training.status import repeated

    def draw(key: str, active: bool) -> None:
        st.button(key, key=key)

    for active in (False, True):
        repeated(draw, active)(str(active), active)


def test_only_during_a_run_a_click_runs_less_than_the_page() -> None:
    at = opened(buttons, {})
    assert len(at._fragment_storage._fragments) == 1
    assert [button.label for button in at.button] == ["False", "True"]
