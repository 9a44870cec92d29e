"""Keeping a plan: the click counts wherever the page's run ends, and the button says the truth."""

from dataclasses import replace
from pathlib import Path

import pytest

from explorer.session import cache, kept
from pruning_core.history import History
from pruning_core.history.database import NAME
from pruning_core.plan import Plan
from tests.explorer.driven import by_key, opened, run


def cut_short() -> None:
    """A page whose run ends before the button after a click, as another action of the user does."""
    import streamlit as st

    from explorer.session import cache, kept, state
    from pruning_core.plan import Plan

    plan = Plan("lenet5", "digits", sparsity=st.session_state.get("share", 0.5))
    state.set_plan(plan)
    if st.session_state.get("keep_plan"):
        st.stop()
    kept.keep_button(plan, cache.workspace(plan.model, plan.dataset))


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setenv("PRUNING_EXPLORER_HISTORY", str(tmp_path))
    return History(tmp_path)


def test_a_click_keeps_the_plan_though_the_run_ends_before_the_button(history: History) -> None:
    at = opened(cut_short, {})
    by_key(at, "keep_plan").click()
    run(at)
    (made,) = history.runs()
    assert made.read_plan() == Plan("lenet5", "digits")
    assert by_key(run(at), "keep_plan").label == "Kept"
    history.delete([made.id])
    assert by_key(run(at), "keep_plan").label == "Keep this run"
    by_key(at, "keep_plan").click()
    run(at)
    assert history.has(made.id)
    at.session_state["share"] = 0.6
    assert by_key(run(at), "keep_plan").label == "Keep this run"
    by_key(at, "keep_plan").click()
    run(at)
    assert history.runs()[0].parent == made.id


def test_a_history_that_cannot_be_read_leaves_the_button(
    history: History,
) -> None:
    at = opened(cut_short, {})
    by_key(at, "keep_plan").click()
    run(at)
    (history.folder / NAME).write_bytes(b"no database" * 100)
    assert by_key(run(at), "keep_plan").label == "Keep this run"


def test_a_new_session_finds_the_kept_plan_as_the_parent_of_its_run(history: History) -> None:
    at = opened(cut_short, {})
    by_key(at, "keep_plan").click()
    run(at)
    (made,) = history.runs()
    plan = made.read_plan()
    space = cache.workspace(plan.model, plan.dataset)
    assert kept.new_run("tune", plan, space).parent == made.id
    assert kept.new_run("tune", replace(plan, sparsity=0.7), space).parent is None
