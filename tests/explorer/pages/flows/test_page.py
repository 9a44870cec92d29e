"""The page Flows: a flow, its settings, its run, and one layer's mask over time."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Slider

from explorer.jobs.job import Snapshot
from explorer.session import cache
from pruning_core.flows import FLOWS, settings_of
from pruning_core.types import Finished
from tests.explorer.driven import text

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]
QUICK = "epochs~1~batch_size~128"


def run_of() -> Snapshot:
    return cache.jobs().snapshots("test session id", "flow")[0]


def update_slider(at: AppTest) -> Slider[Any]:
    return next(slider for slider in at.slider if str(slider.key).startswith("flow_moment"))


def finished(at: AppTest) -> bool:
    return ": finished in" in text(at)


def test_an_empty_page_says_what_to_do(open_view: Open) -> None:
    at = open_view("flows")
    assert "No flow has run yet" in at.info[0].value
    assert at.selectbox(key="flow").value == "rounds"
    assert "Removed weights stay removed." in text(at)
    assert not at.get("plotly_chart")


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_has_its_form_and_every_setting_its_own_label(
    open_view: Open, name: str
) -> None:
    at = open_view("flows", flow=name)
    assert FLOWS[name].help in text(at)
    assert text(at).lower().count("removed weights may return") == FLOWS[name].regrows
    assert text(at).lower().count("removed weights stay removed") != FLOWS[name].regrows
    drawn = {widget.key for widget in [*at.number_input, *at.toggle]}
    for setting in settings_of(FLOWS[name]):
        assert drawn & {f"setting_{name}_{setting.name}", f"goal_{setting.name}"}, setting.name
    labels = [box.label for kind in (at.main.number_input, at.main.toggle) for box in kind]
    assert len(set(labels)) == len(labels)


def test_settings_are_in_the_address(open_view: Open) -> None:
    at = open_view("flows", flow="seven_dyn")
    at.number_input(key="setting_seven_dyn_delay").set_value(0.25).run()
    at.toggle(key="setting_seven_dyn_signed_moment").set_value(True).run()
    assert at.query_params["flow"] == "seven_dyn:delay=0.25,signed_moment=1"
    at.selectbox(key="flow").set_value("rigl").run()
    assert not at.exception
    assert at.query_params["flow"] == "rigl"


def test_the_goal_is_in_the_address_and_its_rounds_are_drawn(open_view: Open, until: Until) -> None:
    goal = {"sparsity": "0.9", "schedule": "iterative:2", "fine_tune": "epochs~0"}
    at = open_view("flows", **goal)
    at.number_input(key="goal_lose").set_value(99).run()
    at.number_input(key="goal_macs").set_value(60).run()
    assert at.query_params["flow"] == "rounds:lose=0.99,macs=0.6"
    assert at.number_input(key="goal_parameters").value is None
    at.button(key="flow_start").click().run()
    until(at, finished)
    assert "met the budget of 60.0% of the MACs" in text(at)
    assert any("flow_goal" in chart.proto.id for chart in at.get("plotly_chart"))
    at.number_input(key="goal_lose").set_value(None).run()
    assert at.query_params["flow"] == "rounds:macs=0.6"


def test_a_flow_is_set_as_published_by_a_click(open_view: Open) -> None:
    at = open_view("flows", flow="seven_pre", granularity="filter")
    assert "allocation Global" in text(at)
    at.button(key="flow_published").click().run()
    assert not at.exception
    assert at.query_params["allocation"] == "global"
    assert "granularity" not in at.query_params
    assert "Set as published: Xiao et al. 2024" in text(at)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rounds", "schedule Iterative, 2 rounds; 2 trainings of 3 epochs, SGD"),
        ("lottery", "schedule Iterative, 2 rounds; 3 trainings of 3 epochs"),
        ("rigl", "its own schedule, not the plan's; one training of 3 epochs"),
    ],
)
def test_the_page_says_how_often_a_flow_trains(open_view: Open, name: str, words: str) -> None:
    assert words in text(open_view("flows", flow=name, schedule="iterative:2"))


@pytest.mark.parametrize(
    ("name", "scheduled", "epochs", "ranked"),
    [
        ("rounds", True, "Epochs per round", "by Magnitude (L1)"),
        ("gradual", True, "Epochs", "by Magnitude (L1)"),
        ("slimming", False, "Epochs per training", "by Magnitude (L1)"),
        ("seven_pre", False, "Epochs", "by the flow's own score"),
        ("surgery", False, "Epochs", "by the flow's own score"),
    ],
)
def test_the_form_shows_what_the_flow_uses(
    open_view: Open, name: str, scheduled: bool, epochs: str, ranked: str
) -> None:
    at = open_view("flows", flow=name)
    assert bool([box for box in at.main.selectbox if box.key == "tune_schedule"]) == scheduled
    assert at.number_input(key="tune_epochs").label == epochs
    assert ranked in text(at)


def test_a_lottery_ticket_from_new_weights_gets_a_note(open_view: Open) -> None:
    assert "from new random weights" in text(open_view("flows", flow="lottery"))
    assert "from new random weights" not in text(open_view("flows", flow="lottery:fresh=0"))


def test_a_flow_that_trains_needs_an_epoch(open_view: Open) -> None:
    at = open_view("flows", flow="rigl", fine_tune="epochs~0")
    assert at.button(key="flow_start").disabled
    assert "Choose at least one epoch" in text(at)


def test_a_flow_runs_and_the_slider_shows_its_masks(open_view: Open, until: Until) -> None:
    at = open_view(
        "flows", flow="rigl:updates=5", sparsity="0.8", fine_tune=QUICK, layer="fc1.weight"
    )
    at.button(key="flow_start").click().run()
    until(at, finished)
    assert isinstance(run_of().result, Finished)
    keys = ("flow_training", "flow_moments", "flow_mask")
    charts = {
        key: chart for chart in at.get("plotly_chart") for key in keys if key in chart.proto.id
    }
    assert charts.keys() == set(keys)
    assert at.selectbox(key="flow_layer").value == "fc1.weight", "the layer chosen elsewhere"
    order = [str(getattr(part, "key", None) or getattr(part, "value", "")) for part in at.main]
    assert order.index("flow_film") < order.index("Before and after") < order.index("flow_start")
    assert at.button(key="flow_film").label == "Play"
    slider = update_slider(at)
    assert (slider.min, slider.max, slider.value) == (0, 5, 5)
    assert "The smallest squares are weights; a block of them is a kernel." in text(at)
    before = json.loads(charts["flow_mask"].proto.spec)["data"][0]
    slider.set_value(0).run()
    assert not at.exception
    chart = next(chart for chart in at.get("plotly_chart") if "flow_mask" in chart.proto.id)
    assert json.loads(chart.proto.spec)["data"][0] != before
    assert "Before the first mask update" in text(at)
    slider.set_value(5).run()
    at.button(key="flow_film").click().run()
    film: list[Any] = []
    while at.button(key="flow_film").label == "Pause" and len(film) < 9:
        film.append(update_slider(at).value)
        at.run()
    assert film == [0, 1, 2, 3, 4], "it plays from the start and ends by itself"
    assert update_slider(at).value == 5
    update_slider(at).set_value(0).run()
    at.selectbox(key="flow_layer").set_value("fc2.weight").run()
    assert not at.exception
    assert update_slider(at).value == 0


def test_the_fine_tune_page_names_this_page_for_other_flows(open_view: Open) -> None:
    at = open_view("finetune", flow="movement")
    assert "which runs on the page" in text(at)
