"""The page Methods: a study in the background, its runs on disk, its charts and table."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from explorer.charts.methods import AXES
from explorer.jobs.job import Snapshot
from explorer.pages.methods.choices import Choices, choices, study_of
from explorer.session import cache
from pruning_core import studies
from pruning_core.plan import Plan
from pruning_core.studies import (
    RunFinished,
    Study,
)
from pruning_core.training.config import TrainConfig
from pruning_core.workspaces import Workspace
from pruning_core.zoo.request import VARIABLE
from tests.core.events import stop
from tests.explorer.driven import by_key, text

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]
CHOSEN = Choices(("wanda",), compressions=(2.0, 8.0), seeds=2, images=500)
TUNE = "epochs~1~batch_size~128"
PLAN = Plan(model="lenet5", fine_tune=TrainConfig(epochs=1, batch_size=128))


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has its own folder of studies. Digits and LeNet-5 are part of the package."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path / "studies"


@pytest.fixture
def space() -> Workspace:
    return cache.workspace("lenet5", "digits")


def opened(open_view: Open, chosen: Choices = CHOSEN, **address: str) -> AppTest:
    return open_view("methods", fine_tune=TUNE, study=chosen.to_text(), **address)


def figures(at: AppTest) -> dict[str, dict[str, Any]]:
    shown = {
        name: chart
        for chart in at.get("plotly_chart")
        for name in ("methods_chart",)
        if name in chart.proto.id
    }
    return {name: json.loads(chart.proto.spec) for name, chart in shown.items()}


def job() -> Snapshot:
    return cache.jobs().snapshots("test session id", "study")[0]


def all_measured(at: AppTest) -> bool:
    return "runs, all measured." in text(at)


def asked_of(space: Workspace, chosen: Choices = CHOSEN) -> Study:
    return study_of(PLAN, chosen, space)


def measure_some(asked: Study, space: Workspace, at_least: int) -> Path:
    """Leaves on disk what an interrupted app leaves there."""
    folder = studies.study_folder(asked, cache.fingerprint(PLAN, space))
    events = studies.run_study(asked, space, folder)
    while studies.count_saved_runs(folder) < at_least:
        next(events)
    stop(events)
    return folder


def test_an_empty_page_says_what_to_do_and_the_estimated_time(open_view: Open) -> None:
    at = opened(open_view)
    assert "Nothing is measured yet" in at.main.info[0].value
    assert "Random and Magnitude (L1) are always included" in text(at)
    assert "3 criteria × 2 compressions × 2 seeds: 12 runs. About" in text(at)
    assert "of computing (estimated)" in text(at)
    assert at.button(key="methods_start").label == "Start"
    assert not at.get("plotly_chart")


def test_a_study_runs_in_the_background_and_shows_what_the_core_measures(
    open_view: Open, until: Until, space: Workspace, tmp_path: Path
) -> None:
    at = opened(open_view)
    at.button(key="methods_start").click().run()
    until(at, all_measured)
    assert at.button(key="methods_start").disabled
    asked = job().about
    assert asked == asked_of(space)
    list(studies.run_study(asked, space, tmp_path / "oracle"))
    rows = studies.summary(studies.load_results(asked, tmp_path / "oracle"))
    drawn = figures(at)
    assert "beyond chance" in text(at)
    assert {trace["name"] for trace in drawn["methods_chart"]["data"]} == {
        "Magnitude (L1)",
        "Random",
        "Wanda |w| ‖x‖",
    }
    table = at.main.dataframe[0].value
    assert table["After, %"].tolist() == pytest.approx([100 * row.after for row in rows])
    assert table["± after"].tolist() == pytest.approx(
        [100 * row.spread for row in rows if row.spread is not None]
    )
    assert table["Compression"].tolist() == pytest.approx([row.compression for row in rows])
    assert (
        "Each run is measured on 359 test images; the 95% interval of one run is at most ±"
        in text(at)
    )
    reports = [each for each in at.main.expander if each.label == "What this comparison reports"]
    said = reports[0].markdown[0].value
    for part in (
        "LeNet-5, Digits",
        "359 test images",
        "500 training images",
        "2×, 8×",
        "over 2 seeds",
        "97.5%",
    ):
        assert part in said


def test_a_study_interrupted_by_a_restart_continues(
    open_view: Open, until: Until, space: Workspace
) -> None:
    folder = measure_some(asked_of(space), space, 5)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*-*.json")}
    at = opened(open_view)
    assert "12 runs, 5 of them measured. About" in text(at)
    assert "5 of 12 runs are measured" in text(at)
    assert set(figures(at)) == {"methods_chart"}
    by_key(at, "methods_axis").set_value("Storage").run()
    assert figures(at)["methods_chart"]["layout"]["xaxis"]["title"]["text"] == AXES["storage"]
    by_key(at, "methods_axis").set_value("Speed-up").run()
    (chart,) = figures(at).values()
    assert chart["layout"]["xaxis"]["title"]["text"].startswith("theoretical speed-up")
    assert at.button(key="methods_start").label == "Continue"
    at.button(key="methods_start").click().run()
    until(at, all_measured)
    assert [event.from_disk for event in job().events if isinstance(event, RunFinished)] == [
        True
    ] * 5 + [False] * 7
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_stop_keeps_finished_runs_and_other_choices_do_not_affect_the_study(
    open_view: Open, until: Until
) -> None:
    at = opened(open_view, replace(CHOSEN, seeds=20, images=0))
    at.button(key="methods_start").click().run()
    until(at, lambda at: runs_on_disk() >= 2)
    at.number_input(key="study_seeds").set_value(3).run()
    assert not at.exception
    assert job().active
    assert (
        "Another study than the chosen one is running: 3 criteria × 2 compressions × 20 seeds"
        in text(at)
    )
    at.button(key="methods_show").click().run()
    assert at.number_input(key="study_seeds").value == 20
    assert "estimated" in at.progress[0].text
    at.button(key="methods_stop").click().run()
    until(at, lambda at: "The study was stopped. Finished runs are on disk" in text(at))
    assert at.button(key="methods_start").label == "Continue"


def runs_on_disk() -> int:
    return sum(1 for _ in studies.studies_root().glob("*/*-*.json"))


def test_choices_are_in_the_address_and_survive_a_page_switch(open_view: Open) -> None:
    at = opened(open_view, Choices())
    assert "study" not in at.query_params
    at.multiselect(key="study_criteria").set_value(["snip", "seven"]).run()
    at.multiselect(key="study_compressions").set_value([4.0, 64.0]).run()
    at.multiselect(key="study_granularities").set_value(["fine", "filter"]).run()
    at.number_input(key="study_seeds").set_value(1).run()
    at.selectbox(key="study_images").set_value(500).run()
    at.toggle(key="study_time").set_value(True).run()
    wanted = Choices(("snip", "seven"), ("fine", "filter"), (4.0, 64.0), 1, 500, True)
    assert choices(at.query_params["study"]) == wanted
    del at.query_params["study"]  # as a switch to another page and back does
    at.run()
    assert not at.exception
    assert choices(at.query_params["study"]) == wanted
    at.query_params["study"] = "seeds~2"
    at.run()
    assert at.number_input(key="study_seeds").value == 2


def test_an_earlier_study_is_shown_again_with_its_training(
    open_view: Open, space: Workspace
) -> None:
    asked = study_of(replace(PLAN, allocation="global"), CHOSEN, space)
    measure_some(asked, space, 3)
    at = open_view("methods")
    box = at.selectbox(key="study_earlier")
    assert "3 of 12 runs done" in box.options[0]
    box.select_index(0).run()
    assert not at.exception
    assert at.query_params["fine_tune"] == TUNE
    assert at.query_params["allocation"] == "global"
    assert "12 runs, 3 of them measured" in text(at)


@pytest.mark.parametrize(
    "study",
    ["seeds~many", "seads~3", "criteria~snap", "granularities~x", "criteria", "compressions~x"],
)
def test_an_invalid_address_gets_a_warning(open_view: Open, study: str) -> None:
    at = open_view("methods", study=study)
    assert "The address's 'study' was ignored." in text(at)
    assert at.number_input(key="study_seeds").value == 3


def test_an_impossible_study_is_one_sentence(open_view: Open) -> None:
    at = opened(open_view, allocation="manual")
    assert "manual" in at.main.error[0].value
    at = opened(open_view, Choices(granularities=()))
    assert "no granularity" in at.main.error[0].value


def test_impossible_pairs_are_listed(open_view: Open) -> None:
    at = opened(open_view, Choices(("bn_scale",), ("fine", "head"), (2.0,), 1))
    assert any("pairs cannot prune this network" in expander.label for expander in at.main.expander)
    assert "2 runs" in text(at)
