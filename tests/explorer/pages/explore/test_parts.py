"""After a change, Explore draws the parts that show it, with the values of the whole page."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData
from streamlit.testing.v1 import AppTest

from explorer.pages.explore.page import PANELS
from tests.explorer.driven import by_key, opened, page, run

pytestmark = pytest.mark.usefixtures("drawn_in_parts")
START = {"model": "lenet5", "probe": "64", "layer": "conv2.weight"}


def started(**address: str) -> AppTest:
    return opened(page, START | address, "explore")


@pytest.fixture
def panels_alone(monkeypatch: pytest.MonkeyPatch) -> Callable[[AppTest], AppTest]:
    """Runs the part with the panels, as a browser does after a change of a widget in it."""

    def run_part(at: AppTest) -> AppTest:
        ids = at._fragment_storage.resolve_target(PANELS)
        with monkeypatch.context() as patched:
            data = partial(RerunData, fragment_id_queue=ids)
            patched.setattr("streamlit.testing.v1.local_script_runner.RerunData", data)
            return run(at)

    return run_part


def shown(at: AppTest) -> dict[str, list[str]]:
    """What the elements of the page show, by kind."""
    htmls: list[Any] = list(at.main.get("html"))
    return {
        "metric": [f"{each.label} {each.value} {each.delta}" for each in at.main.metric],
        "caption": [each.value for each in at.main.caption],
        "markdown": [each.value for each in at.main.markdown],
        "table": [each.value.to_csv() for each in (*at.main.table, *at.main.dataframe)],
        "html": [each.value for each in htmls],
        "component": sorted(each.proto.json for each in at.main.get("bidi_component")),
        "button": [f"{each.label} {each.disabled}" for each in at.main.button],
    }


def draws_what_the_page_draws(at: AppTest) -> bool:
    """Does the whole page show the same after a run of the whole app?"""
    parts = shown(at)
    whole = shown(run(at))
    return all(set(parts[kind]) <= set(whole[kind]) for kind in parts) and (
        whole["metric"] == parts["metric"] and whole["component"] == parts["component"]
    )


def is_side_bar_drawn(at: AppTest) -> bool:
    return len(at.sidebar.slider) > 0


def is_body_drawn(at: AppTest) -> bool:
    return any(each.label == "What do I see?" for each in at.main.expander)


def test_the_slider_of_the_side_bar_draws_parts_alone() -> None:
    at = started()
    before = shown(at)["metric"]
    at.slider(key="sparsity").set_value(83)
    run(at)
    assert not is_side_bar_drawn(at)
    assert not is_body_drawn(at)
    assert at.query_params["sparsity"] == "0.83"
    assert shown(at)["metric"] != before
    assert draws_what_the_page_draws(at)
    assert at.slider(key="sparsity").value == 83


def test_a_ratio_by_hand_draws_parts_alone(panels_alone: Callable[[AppTest], AppTest]) -> None:
    at = started(granularity="filter", allocation="global")
    at.button(key="lock").click()
    panels_alone(at)
    assert not is_side_bar_drawn(at)
    assert not is_body_drawn(at)
    assert at.button(key="lock").disabled
    assert draws_what_the_page_draws(at)


@pytest.mark.parametrize("key", ["how_far", "own_lesson_form", "whole_network"])
def test_the_body_is_drawn_where_more_of_it_shows_the_plan(key: str) -> None:
    at = started()
    at.session_state[key] = True
    run(at)
    at.slider(key="sparsity").set_value(83)
    run(at)
    assert is_body_drawn(at)
    assert not is_side_bar_drawn(at)


def test_another_layer_draws_the_body(panels_alone: Callable[[AppTest], AppTest]) -> None:
    at = started()
    at.selectbox(key="layer_choice").set_value("fc2.weight")
    panels_alone(at)
    assert is_body_drawn(at)
    assert not is_side_bar_drawn(at)
    assert by_key(at, "layer_choice").value == "fc2.weight"
    assert at.query_params["layer"] == "fc2.weight"


@pytest.mark.parametrize(
    ("address", "percent"),
    [({"sparsity": "0.333"}, 40), ({"sparsity": "0.2", "start": "zeros"}, 30)],
)
def test_the_side_bar_is_drawn_where_it_says_something_else(
    address: dict[str, str], percent: int
) -> None:
    at = started(**address)
    said = [each.value for each in at.sidebar.caption]
    at.slider(key="sparsity").set_value(percent)
    run(at)
    changed = is_side_bar_drawn(at)
    run(at)
    whole = [each.value for each in at.sidebar.caption]
    assert changed is (whole != said)
