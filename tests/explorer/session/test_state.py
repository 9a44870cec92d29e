"""The session's plan: widgets and code set it, the address carries it, no session shares it."""

import sys
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from explorer.session import state
from pruning_core.plan import Plan
from tests.explorer.driven import opened, run

OPENED = Plan(sparsity=0.2)


def script() -> None:
    import streamlit as st

    from explorer.session import state
    from pruning_core.plan import Plan

    state.read_address("page", {"model": ("resnet20", "vit")})
    state.set_widget("sparsity", state.plan().sparsity)
    st.number_input(
        "Sparsity", key="sparsity", on_change=state.change_from_widget, args=("sparsity",)
    )
    st.button("by hand", key="by_hand", on_click=state.set_ratio, args=("conv.weight", 0.25))
    st.button("free", key="free", on_click=state.set_ratio, args=("conv.weight", None))
    st.button("vit", key="vit", on_click=state.change, kwargs={"model": "vit"})
    st.button("import", key="import", on_click=state.set_plan, args=(Plan(seed=7, sparsity=0.9),))
    st.button(
        "code",
        key="code",
        on_click=state.set_plan,
        args=(Plan(seed=7, criterion="antigravity:geohash"),),
    )
    st.button(
        "forge", key="forge", on_click=state.change, kwargs={"criterion": "antigravity:geohash"}
    )
    st.button("look", key="look", on_click=state.select_layer, args=("conv.weight",))

    def drop() -> None:
        state.drop_unknown_layers(("other.weight",))

    st.button("drop", key="drop", on_click=drop)
    state.write_address()
    st.json(state.plan().to_json())
    st.text(str(state.selected_layer()))
    for sentence in state.problems():
        st.warning(sentence)


def started(**address: str) -> AppTest:
    return opened(script, address)


def plan(at: AppTest) -> Plan:
    return Plan.from_json(at.json[0].value)


def press(at: AppTest, key: str) -> AppTest:
    at.button(key=key).click()
    return run(at)


def test_a_new_session_opens_at_20_percent_without_parameters() -> None:
    at = started()
    assert plan(at) == OPENED
    assert dict(at.query_params) == {}


def test_a_widget_sets_the_plan_and_the_address() -> None:
    at = started()
    at.number_input(key="sparsity").set_value(0.75)
    run(at)
    assert plan(at) == Plan(sparsity=0.75)
    assert at.query_params["sparsity"] == "0.75"
    at.number_input(key="sparsity").set_value(0.5)
    run(at)
    assert at.query_params["sparsity"] == "0.5", "an address without it opens at 20%"
    at.number_input(key="sparsity").set_value(0.2)
    run(at)
    assert dict(at.query_params) == {}


def test_an_address_without_sparsity_has_the_default_of_the_plan() -> None:
    assert plan(started(seed="3")) == Plan(seed=3)
    assert plan(started(layer="conv.weight")) == Plan()
    assert plan(started(sparsity="0.2")) == OPENED


def test_a_copied_address_gives_the_same_plan() -> None:
    first = press(started(sparsity="0.3", granularity="kernel"), "by_hand")
    second = started(**first.query_params)
    assert (
        plan(second)
        == plan(first)
        == Plan(sparsity=0.3, granularity="kernel", overrides=(("conv.weight", 0.25),))
    )
    assert second.number_input(key="sparsity").value == 0.3


def test_two_sessions_share_nothing() -> None:
    first = started()
    second = started()
    first.number_input(key="sparsity").set_value(0.9)
    run(first)
    run(second)
    assert plan(second) == OPENED


def test_a_forged_value_adds_a_problem_and_changes_nothing() -> None:
    at = started(seed="3")
    at.number_input(key="sparsity").set_value(7.0)
    run(at)
    assert plan(at) == Plan(seed=3)
    assert "outside [0, 1]" in at.warning[0].value
    assert at.number_input(key="sparsity").value == 0.5


@pytest.mark.parametrize("source", ["code", "forge", "address"])
def test_the_browser_cannot_set_a_criterion_that_is_code(source: str) -> None:
    at = (
        started(criterion="antigravity:geohash")
        if source == "address"
        else press(started(), source)
    )
    assert plan(at) == (Plan() if source == "address" else OPENED)
    assert len(at.warning) == 1
    assert "which the pages never run" in at.warning[0].value
    assert "antigravity" not in sys.modules


def test_wrong_values_in_the_address_add_problems_and_are_left_out() -> None:
    at = started(sparsity="many", model="nothing", seed="4")
    assert plan(at) == Plan(seed=4)
    assert len(at.warning) == 2
    assert set(at.query_params) == {"seed"}
    assert not press(at, "by_hand").warning


def test_ratios_by_hand_can_be_set_and_removed() -> None:
    at = press(started(), "by_hand")
    assert plan(at).overrides == (("conv.weight", 0.25),)
    assert press(at, "free").query_params == {}


def test_another_model_starts_without_ratios_and_layer() -> None:
    at = press(press(started(), "by_hand"), "look")
    assert at.query_params["layer"] == "conv.weight"
    press(at, "vit")
    assert plan(at) == replace(OPENED, model="vit")
    assert at.text[0].value == "None"
    assert set(at.query_params) == {"model", "sparsity"}


def test_a_whole_plan_can_be_set() -> None:
    at = press(started(granularity="kernel"), "import")
    assert plan(at) == Plan(seed=7, sparsity=0.9)
    assert at.number_input(key="sparsity").value == 0.9


def test_back_in_the_browser_restores_the_old_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    at = started()
    at.number_input(key="sparsity").set_value(0.75)
    run(at)
    del at.query_params["sparsity"]
    monkeypatch.setattr(state, "_by_history", lambda: True)
    run(at)
    assert plan(at) == OPENED
    assert at.number_input(key="sparsity").value == 0.2


def test_a_run_that_was_asked_for_with_the_old_address_keeps_the_new_plan() -> None:
    """Such as by a click on a language before the browser has the address of a release."""
    at = started()
    at.number_input(key="sparsity").set_value(0.75)
    run(at)
    del at.query_params["sparsity"]
    run(at)
    assert plan(at).sparsity == 0.75
    assert at.query_params == {"sparsity": "0.75"}
    at.query_params["sparsity"] = "0.3"  # another address is read, whatever asks for the run
    run(at)
    assert plan(at).sparsity == 0.3


def fragment_script() -> None:
    import streamlit as st

    from explorer.session import state

    if not st.session_state.get("drawn"):  # a fragment's run does not read the address
        state.read_address("page", {})
    st.session_state["drawn"] = True
    st.button("by hand", key="by_hand", on_click=state.set_ratio, args=("conv.weight", 0.25))
    st.button("look", key="look", on_click=state.select_layer, args=("conv.weight",))
    state.write_address()


def test_a_click_before_the_browser_has_the_new_address_keeps_what_is_new() -> None:
    at = press(opened(fragment_script, {"sparsity": "0.9"}), "by_hand")
    assert "overrides" in at.query_params
    new = dict(at.query_params)
    del at.query_params["overrides"]  # the browser sent the click with its old address
    press(at, "look")
    assert at.query_params == new | {"layer": "conv.weight"}


def test_layers_that_the_network_does_not_have_are_dropped() -> None:
    at = press(press(press(started(), "by_hand"), "look"), "drop")
    assert plan(at) == OPENED
    assert at.text[0].value == "None"


def test_stored_values_stay_in_one_value_of_the_session() -> None:
    """Streamlit copies every value of the session for each of most widgets."""

    def storing() -> None:
        import streamlit as st

        from explorer.session import state

        for number in range(3):
            before = state.stored(f"number {number}", -1)
            state.store(f"number {number}", before + 1)
            st.text(str(before))

    at = run(opened(storing, {}))
    assert [text.value for text in at.text] == ["0", "0", "0"]
    keys = list(at._session_state.filtered_state)
    assert [key for key in keys if "number" in key or "stored" in key] == ["_stored"]
