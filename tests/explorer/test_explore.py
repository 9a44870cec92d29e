"""The Explore page: moving anything changes everything that depends on it."""

import json
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer import cache
from explorer.text import interval
from pruning_core.pipeline import Workspace
from pruning_core.plan import Plan
from tests.explorer.driven import opened, page, run

APP = Path(__file__).resolve().parents[2] / "app.py"
PLAN = Plan(model="lenet5")


def started(**address: str) -> AppTest:
    return opened(page, {"model": "lenet5"} | address, "explore")


@pytest.fixture(scope="module")
def space() -> Workspace:
    return cache.workspace("lenet5", "digits")


def numbers(at: AppTest) -> dict[str, str]:
    return {metric.label.split(" · ")[0]: metric.value for metric in at.metric}


def figure(at: AppTest, key: str) -> dict[str, Any]:
    charts = {chart.proto.id.split("-")[-1]: chart for chart in at.get("plotly_chart")}
    return json.loads(charts[key].proto.spec)


def kept_share(at: AppTest) -> float:
    """Kept cells of the mask picture, gaps left out."""
    z = next(trace["z"] for trace in figure(at, "mask")["data"] if trace["type"] == "heatmap")
    return float(np.nanmean(np.frombuffer(b64decode(z["bdata"]), dtype=z["dtype"])))


def ratio(at: AppTest) -> Any:
    return at.container(key="ratio").slider[0]


def rows(at: AppTest) -> dict[str, dict[str, Any]]:
    return {row["Layer"]: row for row in at.dataframe[0].value.to_dict("records")}


def test_the_real_app_starts_with_a_story() -> None:
    at = AppTest.from_file(str(APP), default_timeout=90)
    run(at)
    assert not at.error
    assert not at.warning
    assert len(at.metric) == 4
    assert at.selectbox(key="model").value == "resnet20"
    assert numbers(at)["Weights removed"] == "50%"
    assert {chart.proto.id.split("-")[-1] for chart in at.get("plotly_chart")} == {"weights", "mask", "scores"}


def test_the_numbers_are_the_cores(space: Workspace) -> None:
    at = started(sparsity="0.6")
    plan = replace(PLAN, sparsity=0.6)
    found, dense, report = cache.accuracy(plan, space), cache.dense_accuracy(plan, space), cache.report(plan, space)
    assert numbers(at)["Accuracy"] == f"{100 * found.top1:.1f}%"
    assert at.metric[0].delta == f"{100 * (found.top1 - dense.top1):+.1f} points"
    assert f"{found.n} images; 95%: {interval(found)}" in [caption.value for caption in at.caption]
    assert rows(at)["fc1.weight"]["Removed"] == pytest.approx(100 * (1 - report.kept["fc1.weight"]))


def test_the_global_slider_moves_everything() -> None:
    at = started(layer="conv2.weight")
    before = numbers(at), kept_share(at), ratio(at).value
    at.slider(key="sparsity").set_value(90)
    run(at)
    assert numbers(at)["Weights removed"] == "90%"
    assert all(numbers(at)[name] != before[0][name] for name in before[0])
    assert before[1:] == (pytest.approx(0.5, abs=1e-3), 50)
    assert (kept_share(at), ratio(at).value) == (pytest.approx(0.1, abs=1e-3), 90)


def test_a_layers_own_slider_overrides_and_reset_gives_back() -> None:
    at = started(layer="fc1.weight")
    ratio(at).set_value(20)
    run(at)
    assert at.query_params["overrides"] == "fc1.weight~0.2"
    assert rows(at)["fc1.weight"]["Decided by"] == "you: 20%"
    assert rows(at)["fc2.weight"]["Removed"] == pytest.approx(50, abs=0.1)
    assert "shares ask for" in at.metric[1].delta
    at.slider(key="sparsity").set_value(70)
    run(at)
    assert (ratio(at).value, rows(at)["fc1.weight"]["Removed"]) == (20, pytest.approx(20, abs=0.1))
    at.button(key="reset").click()
    run(at)
    assert ratio(at).value == 70
    assert "overrides" not in at.query_params


def test_lock_keeps_the_allocations_share() -> None:
    at = started(layer="fc1.weight", allocation="global", sparsity="0.7")
    share = rows(at)["fc1.weight"]["Removed"]
    at.button(key="lock").click()
    run(at)
    assert at.button(key="lock").disabled
    at.slider(key="sparsity").set_value(30)
    run(at)
    assert rows(at)["fc1.weight"]["Removed"] == pytest.approx(share)
    at.button(key="reset_all").click()
    run(at)
    assert rows(at)["fc1.weight"]["Removed"] < share


def test_layer_choice_draws_that_layer_and_is_in_the_address() -> None:
    at = started()
    at.selectbox(key="layer_choice").set_value("fc2.weight")
    run(at)
    assert at.query_params["layer"] == "fc2.weight"
    assert "84 filters by 120 channels" in figure(at, "weights")["layout"]["meta"]["alt"]
    assert at.session_state["layer_table"]["selection"]["rows"] == [3]


def test_a_layer_that_keeps_a_little_is_not_shown_as_gone() -> None:
    removed = [row["Removed"] for row in rows(started(sparsity="1")).values()]
    assert removed
    assert all(share < 99.95 for share in removed)


def test_a_layer_that_cannot_be_cut_says_why_and_is_all_kept() -> None:
    at = started(granularity="filter", layer="fc3.weight")
    assert ratio(at).disabled
    assert any("remove a class" in caption.value for caption in at.caption)
    assert rows(at)["fc3.weight"]["Decided by"] == "output layer"
    assert kept_share(at) == 1


def test_nothing_to_cut_is_a_sentence_and_the_dense_network() -> None:
    at = started(granularity="head")
    assert any("No layer of lenet5 can be pruned by Attention head" in warning.value for warning in at.warning)
    assert not at.error
    assert numbers(at)["Weights removed"] == "0%"
    assert at.metric[1].delta == "nothing can be cut"


def test_n_of_m_offers_only_cut_or_dense() -> None:
    at = started(model="vgg", granularity="2:4", layer="block2.conv.weight")
    toggle = at.container(key="ratio").toggle[0]
    assert toggle.value
    toggle.set_value(False)
    run(at)
    assert at.query_params["overrides"] == "block2.conv.weight~0.0"
    assert kept_share(at) == 1


def test_kernel_groups_are_drawn_and_counted() -> None:
    at = started(granularity="kernel", sparsity="0.25", layer="conv2.weight")
    assert "72 of 96" in str(at.table[0].value)
    names = [trace.get("name", "") for trace in figure(at, "scores")["data"]]
    assert names == ["pruned (24)", "kept (72)"]


def test_large_layers_are_labelled_and_have_a_close_up() -> None:
    at = started(model="vgg", layer="block5.conv.weight")
    assert any(caption.value.startswith("Downsampled: a cell is") for caption in at.caption)
    at.get_by_key("view").set_value("Close-up")
    run(at)
    assert any("Filters 0 to 19 of 128" in caption.value for caption in at.caption)
    at.number_input(key="from_filter").set_value(5)
    run(at)
    assert any("Filters 5 to 24 of 128" in caption.value for caption in at.caption)


def test_collapse_is_possible_only_when_asked_for() -> None:
    assert rows(started(sparsity="1.0"))["fc1.weight"]["Removed"] < 100
    assert rows(started(sparsity="1.0", allow_collapse="1"))["fc1.weight"]["Removed"] == 100


def test_two_sessions_never_see_each_others_masks(space: Workspace) -> None:
    before = cache.weights_hash(space)
    first, second = started(sparsity="0.9", layer="conv2.weight"), started(sparsity="0.1", layer="conv2.weight")
    run(first)
    assert kept_share(first) == pytest.approx(0.1, abs=1e-3)
    assert kept_share(second) == pytest.approx(0.9, abs=1e-3)
    assert numbers(first)["Accuracy"] != numbers(second)["Accuracy"]
    assert cache.weights_hash(space) == before
