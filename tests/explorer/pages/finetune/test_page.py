"""The page Fine-tune & compare: a run in the background, its status, and its results."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer.jobs.job import Snapshot
from explorer.session import cache
from explorer.training.engine import steps_of
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Epoch, Finished, PruningError, Step
from pruning_core.workspaces import Workspace
from tests.core.events import last_of
from tests.core.toy import answers
from tests.explorer.driven import text

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]
CHARTS = ("training_curves", "comparison_bars", "class_change", "weight_histograms")
LONG = "epochs~200~batch_size~16"


def run_of() -> Snapshot:
    return cache.jobs().snapshots("test session id", "train")[0]


def finished(at: AppTest) -> bool:
    return ": finished in" in text(at)


def charts(at: AppTest) -> dict[str, list[dict[str, Any]]]:
    shown = {
        name: chart for chart in at.get("plotly_chart") for name in CHARTS if name in chart.proto.id
    }
    return {name: json.loads(chart.proto.spec)["data"] for name, chart in shown.items()}


@pytest.fixture
def after_run(open_view: Open, until: Until) -> AppTest:
    at = open_view("finetune", sparsity="0.8", schedule="iterative:2", fine_tune="epochs~1")
    at.button(key="tune_start").click().run()
    return until(at, finished)


def test_an_empty_page_says_what_to_do(open_view: Open) -> None:
    at = open_view("finetune")
    assert "No run yet" in at.info[0].value
    assert "LeNet-5 on Digits: Fine-grained by Magnitude (L1)" in text(at)
    assert (
        "3 epochs after each pruning step, SGD, learning rate 0.01 with cosine decay, batches of 32"
        in text(at)
    )
    assert "99 steps on 1,079 training images" in text(at)
    assert not at.get("plotly_chart")


def test_few_steps_get_a_note_that_names_batch_norm_only_where_there_is_some(
    open_view: Open,
) -> None:
    shown = text(open_view("finetune", fine_tune="epochs~1"))
    assert "33 steps per round are too few: the weights may not settle" in shown
    assert "batch norms" not in shown
    assert "few: batch norms and weights may not settle" in text(
        open_view("finetune", model="vgg", fine_tune="epochs~1")
    )


def test_a_run_compares_the_states_that_the_core_measures(after_run: AppTest) -> None:
    at = after_run
    run = run_of()
    assert isinstance(run.result, Finished)
    bars = [trace["x"][0] for trace in charts(at)["comparison_bars"]]
    assert [re.sub("<.*", "", label) for label in bars] == ["dense", "pruned", "fine-tuned"]
    assert set(charts(at)) == set(CHARTS)
    assert "all 359 test images" in text(at)
    assert "All of them are exactly 0 in the final network" in text(at)
    assert "no batch norm" in text(at)
    table = at.main.dataframe[0].value
    assert table["Correct"].tolist()[0] == f"{round(run.result.dense.value * 359)} of 359"


def test_the_page_runs_exactly_the_cores_pipeline(after_run: AppTest) -> None:
    short = TrainConfig(epochs=1)
    plan = Plan(model="lenet5", sparsity=0.8, schedule="iterative:2", fine_tune=short)
    assert run_of().about == plan
    expected = last_of(Finished, prune(plan, cache.workspace("lenet5", "digits")))
    shown = run_of().result
    assert isinstance(shown, Finished)
    assert shown.tuned is not None
    assert expected.tuned is not None
    assert answers(shown.tuned).predictions.tolist() == answers(expected.tuned).predictions.tolist()
    assert all(torch.equal(mask, expected.masks[name]) for name, mask in shown.masks.items())


def test_only_the_last_event_holds_a_model(after_run: AppTest) -> None:
    kinds = [type(event).__name__ for event in run_of().events]
    assert kinds[0] == "Reference"
    assert kinds.count("MaskUpdate") == 2
    assert kinds.count("Epoch") == 2
    assert kinds[-1] == "Finished"
    assert not {"Pruned", "Tuned"} & set(kinds)


def test_changed_answers_are_counted_in_both_directions(after_run: AppTest) -> None:
    done = run_of().result
    assert isinstance(done, Finished)
    assert done.tuned is not None
    labels = cache.workspace("lenet5", "digits").dataset.test.labels
    was = answers(done.dense).predictions
    now = answers(done.tuned).predictions
    broken = int(((was == labels) & (now != labels)).sum())
    fixed = int(((was != labels) & (now == labels)).sum())
    assert f"{broken} newly wrong, {fixed} newly right" in text(after_run)
    after_run.selectbox(key="before").set_value("pruned").run()
    assert not after_run.exception
    assert "From pruned to fine-tuned" in text(after_run)


def test_results_stay_and_name_their_plan_when_the_plan_changes(after_run: AppTest) -> None:
    at = after_run
    at.slider(key="sparsity").set_value(50).run()
    assert "results are for another plan: sparsity 80%, now 50%" in at.main.warning[0].value
    assert "comparison_bars" in charts(at)
    at.selectbox(key="model").set_value("lenet_300_100").run()
    assert not at.exception
    assert "another network or other images" in text(at)
    assert "comparison_bars" not in charts(at)


def test_probe_images_do_not_matter_for_small_pictures(after_run: AppTest) -> None:
    at = after_run
    at.select_slider(key="probe").set_value(64).run()
    assert not at.main.warning


def test_without_epochs_it_only_measures(open_view: Open, until: Until) -> None:
    at = open_view("finetune", fine_tune="epochs~0")
    assert "The run only prunes and measures." in text(at)
    at.button(key="tune_start").click().run()
    until(at, finished)
    assert "no fine-tuned state" in text(at)
    assert len(charts(at)["comparison_bars"]) == 2


@pytest.mark.usefixtures("after_run")
def test_other_pages_do_not_affect_a_run_and_stop_ends_it(open_view: Open, until: Until) -> None:
    at = open_view("finetune", fine_tune=LONG)
    at.button(key="tune_start").click().run()
    until(at, lambda at: any(isinstance(event, Step) for event in run_of().events))
    started = run_of().id
    at.slider(key="sparsity").set_value(70).run()
    other = open_view("sensitivity")
    assert not other.exception
    at = open_view_again(at)
    assert run_of().id == started
    assert run_of().active
    assert at.button(key="tune_start").disabled
    assert "estimated" in at.progress[0].text
    at.button(key="tune_stop").click().run()
    until(at, lambda at: "was stopped" in text(at))
    assert run_of().status == "cancelled"
    assert "training_curves" in charts(at)
    assert not at.button(key="tune_start").disabled
    assert "These curves are for another plan: sparsity 50%, now 70%." in text(at)


def test_a_run_that_never_started_has_no_curves(open_view: Open, until: Until) -> None:
    other = open_view("flows", fine_tune=LONG)
    other.button(key="flow_start").click().run()
    at = open_view("finetune", fine_tune=LONG)
    at.button(key="tune_start").click().run()
    assert run_of().status == "queued"
    at.slider(key="sparsity").set_value(70).run()
    at.button(key="tune_stop").click().run()
    until(at, lambda at: "was stopped before it started" in text(at))
    assert "These curves are for another plan" not in text(at)


def test_the_results_of_an_earlier_run_are_named_so(after_run: AppTest, until: Until) -> None:
    last = "The results below are of the last run that finished."
    assert last not in text(after_run)
    at = after_run
    at.number_input(key="tune_epochs").set_value(200).run()
    at.button(key="tune_start").click().run()
    at.button(key="tune_stop").click().run()
    until(at, lambda at: "was stopped" in text(at))
    assert last not in text(at), "these are of another plan, which is said"
    at.number_input(key="tune_epochs").set_value(1).run()
    assert last in text(at)


def test_a_run_is_shown_and_stopped_without_its_network_and_images(
    open_view: Open, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be deleted. Its steps are those of its own images, not of the present ones."""
    own = cache.workspace("lenet5", "digits")
    few = replace(own.dataset, train=own.dataset.train.subset(range(64)))
    steps = steps_of(Plan(fine_tune=TrainConfig(epochs=200, batch_size=16)), own)
    at = open_view("finetune", fine_tune=LONG)
    at.button(key="tune_start").click().run()
    until(at, lambda at: any(isinstance(event, Epoch) for event in run_of().events))

    def only_present(model: str, dataset: str, *_: object) -> Workspace:
        if model != "lenet_300_100":
            raise PruningError("The network was deleted.")
        return replace(own, dataset=few)

    monkeypatch.setattr(cache, "workspace", only_present)
    at.query_params["model"] = "lenet_300_100"
    at.run()
    assert not at.error
    assert "This run is for another plan: network" in text(at)
    assert f"of {steps:,}" in at.main.get("progress")[0].proto.text
    assert "present_training_curves" in str(at.get("plotly_chart"))
    at.button(key="tune_stop").click().run()
    until(at, lambda at: "was stopped" in text(at))


def open_view_again(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception
    return at


def test_a_loss_that_is_not_finite_is_one_sentence(open_view: Open, until: Until) -> None:
    at = open_view("finetune", fine_tune="lr~10.0~momentum~0.99~epochs~30~batch_size~16")
    at.button(key="tune_start").click().run()
    until(at, lambda at: not run_of().active)
    at.run()
    assert not at.exception
    assert run_of().status in {"failed", "done"}
    if run_of().status == "failed":
        assert at.main.error[0].value.startswith("The run failed: The ")
