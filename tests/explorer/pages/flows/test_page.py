"""The Flows page: choosing a flow and its knobs, running it in the background, and one layer's mask
over time.
"""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Slider

from explorer.charts import FATES, alt, fates, mask_over_time, moments_chart
from explorer.jobs.job import Snapshot
from explorer.pages.finetune.run import Reference
from explorer.pages.flows.run import (
    Frame,
    continuous,
    flow_events,
    frames_of,
    history,
    progress,
    steps_of,
)
from explorer.session import cache
from pruning_core.flows import FLOWS, History, packed
from pruning_core.pipeline import Workspace, open_workspace
from pruning_core.plan import Plan
from pruning_core.training.fine_tune import TrainConfig
from pruning_core.types import Epoch, Finished, Step

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]
QUICK = "epochs~1~batch_size~128"


def text(at: AppTest) -> str:
    return "\n".join(
        each.value
        for kind in ("caption", "info", "warning", "error", "markdown")
        for each in at.main.get(kind)
    )


def run_of() -> Snapshot:
    return cache.jobs().snapshots("test session id", "flow")[0]


def scrubber(at: AppTest) -> Slider:
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
def test_every_flow_has_its_form(open_view: Open, name: str) -> None:
    at = open_view("flows", flow=name)
    assert FLOWS[name].help in text(at)
    assert ("may come back" in text(at)) == FLOWS[name].regrows


def test_knobs_are_in_the_address(open_view: Open) -> None:
    at = open_view("flows", flow="seven_dyn")
    at.number_input(key="knob_seven_dyn_delay").set_value(0.25).run()
    at.toggle(key="knob_seven_dyn_signed_moment").set_value(True).run()
    assert at.query_params["flow"] == "seven_dyn:delay=0.25,signed_moment=1"
    at.selectbox(key="flow").set_value("rigl").run()
    assert not at.exception
    assert at.query_params["flow"] == "rigl"


def test_a_flow_is_set_as_published_by_a_click(open_view: Open) -> None:
    at = open_view("flows", flow="seven_pre", granularity="filter")
    assert "share per layer Global" in text(at)
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
        ("rigl", "its own timetable, so the schedule rests; one training of 3 epochs"),
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
def test_the_form_has_what_the_flow_heeds(
    open_view: Open, name: str, scheduled: bool, epochs: str, ranked: str
) -> None:
    at = open_view("flows", flow=name)
    assert bool([box for box in at.main.selectbox if box.key == "tune_schedule"]) == scheduled
    assert at.number_input(key="tune_epochs").label == epochs
    assert ranked in text(at)


def test_every_knob_has_a_name_of_its_own(open_view: Open) -> None:
    for name in FLOWS:
        at = open_view("flows", flow=name)
        labels = [each.label for kind in (at.main.number_input, at.main.toggle) for each in kind]
        assert len(set(labels)) == len(labels), name


def test_a_ticket_from_new_weights_is_said_to_need_epochs(open_view: Open) -> None:
    assert "from new random weights" in text(open_view("flows", flow="lottery"))
    assert "from new random weights" not in text(open_view("flows", flow="lottery:fresh=0"))


def test_a_flow_that_trains_waits_for_an_epoch(open_view: Open) -> None:
    at = open_view("flows", flow="rigl", fine_tune="epochs~0")
    assert at.button(key="flow_start").disabled
    assert "at least one epoch" in text(at)


def test_a_flow_runs_and_its_masks_can_be_scrubbed(open_view: Open, until: Until) -> None:
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
    moments = scrubber(at)
    assert (moments.min, moments.max, moments.value) == (0, 5, 5)
    before = json.loads(charts["flow_mask"].proto.spec)["data"][0]
    moments.set_value(0).run()
    assert not at.exception
    chart = next(chart for chart in at.get("plotly_chart") if "flow_mask" in chart.proto.id)
    assert json.loads(chart.proto.spec)["data"][0] != before
    assert "Before the first cut" in text(at)
    at.selectbox(key="flow_layer").set_value("fc2.weight").run()
    assert not at.exception
    assert scrubber(at).value == 0


def test_the_tuning_page_sends_other_flows_here(open_view: Open) -> None:
    at = open_view("finetune", flow="movement")
    assert "which runs on the page" in text(at)


@pytest.fixture(scope="module")
def followed() -> tuple[Plan, Workspace, tuple[object, ...]]:
    config = TrainConfig(epochs=1, batch_size=128)
    plan = Plan(
        model="lenet5",
        sparsity=0.8,
        flow="lottery:fresh=0",
        schedule="iterative:2",
        fine_tune=config,
        probe=64,
    )
    space = open_workspace("lenet5", "digits")
    return plan, space, tuple(flow_events(plan, space, None))


def test_a_followed_flow_has_frames_and_steps_on_one_axis(
    followed: tuple[Plan, Workspace, tuple[object, ...]],
) -> None:
    plan, space, events = followed
    assert isinstance(events[0], Reference)
    assert isinstance(events[-1], Finished)
    steps = [event for event in events if isinstance(event, Step)]
    assert len(steps) == steps_of(plan, space) == 3 * 8
    assert [frame.steps for frame in frames_of(events)] == [8, 16]
    assert [round(frame.removed, 2) for frame in frames_of(events)] == [0.4, 0.8]
    moved, cuts = continuous(events, 8)
    assert [event.epoch for event in moved if isinstance(event, Epoch)] == [1, 2, 3]
    assert [event.epoch for event in moved if isinstance(event, Step)] == [1] * 8 + [2] * 8 + [
        3
    ] * 8
    assert list(cuts) == [1.0, 2.0]
    layer = next(x for x in space.layers if x.name == "fc1.weight")
    found = history(frames_of(events), layer)
    assert found is not None
    assert torch.equal(found.mask(2), events[-1].masks["fc1.weight"])
    assert history(frames_of(events)[:0], layer) is None


def test_progress_counts_steps_over_all_trainings(
    followed: tuple[Plan, Workspace, tuple[object, ...]],
) -> None:
    _, _, events = followed
    assert progress(events[:1], 24, 1.0).share == 0
    half = next(
        k for k, event in enumerate(events) if isinstance(event, Frame) and event.number == 2
    )
    where = progress(events[: half + 1], 24, 10.0)
    assert where.share == pytest.approx(16 / 24)
    assert where.left == pytest.approx(5.0)
    assert "moment 2 of 2" in where.stage


def made() -> History:
    frames = ([1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 0, 0])
    return History(
        "w",
        (1, 4, 1, 1),
        tuple(packed(torch.tensor(bits, dtype=torch.bool).view(1, 4, 1, 1)) for bits in frames),
    )


def test_every_weight_has_its_fate() -> None:
    names = [name for name, _ in FATES]
    shown = [[names[k] for k in fates(made(), frame).ravel()] for frame in range(3)]
    assert shown[0] == ["never removed"] * 4
    assert shown[1] == ["never removed", "removed just now", "removed just now", "never removed"]
    assert shown[2] == ["never removed", "came back", "removed", "removed just now"]


def test_the_charts_say_what_they_show() -> None:
    figure = mask_over_time(made(), 2)
    assert np.asarray(figure.data[0].z).shape == (1, 4)
    assert "1 came back" in alt(figure)
    assert [trace.name for trace in figure.data[1:]] == [f"{name}: 1" for name, _ in FATES]
    assert list(figure.data[0].text[0]) == [f"output 0, input {k}" for k in range(4)]
    curve = moments_chart([0.0, 0.5], [0.9, 0.8], [(0.85, 0.94), (0.7, 0.85)], [0.0, 0.7], "w")
    assert [list(trace.y) for trace in curve.data] == [[0, 50], [0, 70], [90, 80]]
    whiskers = curve.data[2].error_y
    assert np.allclose([whiskers.array, whiskers.arrayminus], [[4, 5], [5, 10]])
    assert curve.layout.xaxis2.dtick == 1, "a moment is a whole number"
    assert "50.0% removed and 80.0% right at the last of 1 moments" in alt(curve)
