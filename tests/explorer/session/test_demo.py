"""A demonstration: nothing is written, trainings are short, and disabled fields say why."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.limits import variable
from explorer.session import cache
from pruning_core.history import History
from pruning_core.types import PruningError
from tests.core.history.history_runs import example
from tests.explorer.driven import by_key, opened, plan, side_bar, text

REFUSED = "This is a demonstration: its run history is for reading only."


@pytest.fixture(autouse=True)
def demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable("demo"), "1")


def test_uploads_are_disabled_and_long_trainings_shortened() -> None:
    at = opened(side_bar, {"model": "lenet5", "fine_tune": "epochs~50"})
    button = by_key(at, "own_button")
    assert (button.disabled, button.help) == (True, "This server takes no uploads.")
    assert plan(at).fine_tune.epochs == 3
    why = "warning: This server trains for at most 3 epochs, not 50: 3 are set."
    assert why in [entry.value for entry in at.text]


def test_a_plan_cannot_be_set_to_a_long_training() -> None:
    def script() -> None:
        import streamlit as st

        from explorer.session import sidebar, state

        state.read_address("finetune", sidebar.known_names())
        state.change_fine_tuning(epochs=200)
        st.text(state.plan().fine_tune.epochs)

    assert opened(script, {}).text[0].value == "3"


def keep_button() -> None:
    from explorer.session import cache, kept
    from pruning_core.plan import Plan

    plan = Plan("lenet5", "digits")
    kept.keep_button(plan, cache.workspace(plan.model, plan.dataset))


def test_the_history_is_shown_and_cannot_be_changed(
    open_view: Callable[..., AppTest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_HISTORY", str(tmp_path))
    run = example()
    History(tmp_path).save(run)
    at = open_view("runs", run=run.id)
    assert REFUSED in text(at)
    for key in ("run_pin", "run_delete", f"run_note_{run.id}", "runs_import"):
        assert by_key(at, key).disabled, key
    keep = by_key(opened(keep_button, {}), "keep_plan")
    assert (keep.disabled, keep.help) == (True, REFUSED)
    assert cache.keeping_history() is None
    shown = cache.history()
    assert shown is not None
    with pytest.raises(PruningError, match="for reading only"):
        shown.delete([run.id])
