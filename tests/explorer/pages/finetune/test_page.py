"""The Fine-tune & compare page: a run in the background that nothing disturbs, and what it came to."""

import json
import re
from collections.abc import Callable

import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer.jobs.job import Snapshot
from explorer.pages.finetune import run as tuning
from explorer.session import cache
from explorer.texts.plan_words import differences
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.training.fine_tune import TrainConfig, summarise
from pruning_core.types import Epoch, Finished, Step

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]
CHARTS = ("training_curves", "comparison_bars", "class_change", "weight_histograms")
LONG = "epochs~200~batch_size~16"


def text(at: AppTest) -> str:
    return "\n".join(
        element.value
        for kind in ("caption", "info", "warning", "error", "markdown")
        for element in at.main.get(kind)
    )


def run_of() -> Snapshot:
    return cache.jobs().snapshots("test session id", "train")[0]


def finished(at: AppTest) -> bool:
    return ": finished in" in text(at)


def charts(at: AppTest) -> dict[str, list[dict]]:
    shown = {
        name: chart for chart in at.get("plotly_chart") for name in CHARTS if name in chart.proto.id
    }
    return {name: json.loads(chart.proto.spec)["data"] for name, chart in shown.items()}


@pytest.fixture
def after_run(open_view: Open, until: Until) -> AppTest:
    at = open_view("finetune", sparsity="0.8", schedule="iterative:2")
    at.button(key="tune_start").click().run()
    return until(at, finished)


def test_an_empty_page_says_what_to_do_and_why(open_view: Open) -> None:
    at = open_view("finetune")
    assert "No run yet" in at.info[0].value
    assert "LeNet-5 on Digits: Fine-grained by Magnitude (L1)" in text(at)
    assert (
        "3 epochs after each cut, SGD, learning rate 0.01 with cosine decay, batches of 32"
        in text(at)
    )
    assert "99 steps on 1,079 training images" in text(at)
    assert not at.get("plotly_chart")


@pytest.mark.parametrize(
    ("key", "value", "address"),
    [
        ("tune_epochs", 5, "epochs~5"),
        ("tune_lr", 0.05, "lr~0.05"),
        ("tune_batch_size", 64, "batch_size~64"),
        ("tune_weight_decay", 0.0, "weight_decay~0.0"),
        ("tune_seed", 7, "seed~7"),
        ("tune_label_smoothing", 0.1, "label_smoothing~0.1"),
    ],
)
def test_each_number_is_in_the_address(
    open_view: Open, key: str, value: float, address: str
) -> None:
    at = open_view("finetune")
    at.number_input(key=key).set_value(value).run()
    assert not at.exception
    assert at.query_params["fine_tune"] == address


def test_a_plan_beyond_the_forms_bounds_is_shown_as_it_is(open_view: Open) -> None:
    at = open_view("finetune", fine_tune="epochs~5000~lr~99~batch_size~100000")
    shown = [
        at.number_input(key=key).value for key in ("tune_epochs", "tune_lr", "tune_batch_size")
    ]
    assert shown == [5000, 99.0, 100000]


def test_the_other_choices_are_in_the_address_too(open_view: Open) -> None:
    at = open_view("finetune")
    at.selectbox(key="tune_schedule").set_value("agp").run()
    at.number_input(key="tune_rounds").set_value(3).run()
    at.selectbox(key="tune_optimizer").set_value("adamw").run()
    at.toggle(key="tune_augment").set_value(True).run()
    at.toggle(key="tune_cosine").set_value(False).run()
    assert at.query_params["schedule"] == "agp:3"
    assert at.query_params["fine_tune"] == "lr~0.001~optimizer~adamw~cosine~0~augment~1"
    assert at.number_input(key="tune_momentum").disabled


def test_training_with_a_penalty_is_a_choice(open_view: Open) -> None:
    """Groups have the plan's shape of a cut at first; the strength is there only where there is a
    penalty.
    """
    at = open_view("finetune", granularity="filter")
    strength = "tune_penalty_strength"
    assert strength not in {each.key for each in at.number_input}
    at.selectbox(key="tune_penalty_name").set_value("group_lasso").run()
    assert at.query_params["fine_tune"] == "penalty~group_lasso%3Afilter"
    assert "with the penalty Group lasso (Filter)" in text(at)
    at.selectbox(key="tune_penalty_shape").set_value("2:4").run()
    at.number_input(key=strength).set_value(0.01).run()
    assert not at.exception
    assert at.query_params["fine_tune"] == "penalty~group_lasso%3A2%3A4~penalty_strength~0.01"
    at.selectbox(key="tune_penalty_name").set_value("bn_scale_l1").run()
    assert at.query_params["fine_tune"] == "penalty~bn_scale_l1~penalty_strength~0.01"
    at.selectbox(key="tune_penalty_name").set_value("none").run()
    assert at.query_params["fine_tune"] == "penalty_strength~0.01"


@pytest.mark.parametrize(("schedule", "told"), [("iterative:3", True), ("one_shot", False)])
def test_rounds_that_only_train_are_told(open_view: Open, schedule: str, told: bool) -> None:
    at = open_view("finetune", granularity="2:4", schedule=schedule)
    assert any("the first round cuts everything" in caption.value for caption in at.caption) == told


def test_another_optimizer_brings_its_usual_rate_but_keeps_a_chosen_one(open_view: Open) -> None:
    at = open_view("finetune")
    at.selectbox(key="tune_optimizer").set_value("adamw").run()
    assert at.number_input(key="tune_lr").value == 0.001
    at.selectbox(key="tune_optimizer").set_value("sgd").run()
    assert at.number_input(key="tune_lr").value == 0.01
    at.number_input(key="tune_lr").set_value(0.05).run()
    at.selectbox(key="tune_optimizer").set_value("adamw").run()
    assert at.number_input(key="tune_lr").value == 0.05


def test_few_steps_are_told_and_batch_norm_only_where_there_is_some(open_view: Open) -> None:
    told = text(open_view("finetune", fine_tune="epochs~1"))
    assert "33 steps after a cut are few: the weights may not settle" in told
    assert "batch norms" not in told
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
    assert "all of them are exactly 0 in the final network" in text(at)
    assert "no batch norm" in text(at)
    table = at.main.dataframe[0].value
    assert table["Right"].tolist()[0] == f"{round(run.result.dense.top1 * 359)} of 359"


def test_the_page_runs_exactly_the_cores_pipeline(after_run: AppTest) -> None:
    plan = Plan(model="lenet5", sparsity=0.8, schedule="iterative:2")
    assert run_of().about == plan
    *_, expected = prune(plan, cache.workspace("lenet5", "digits"))
    shown = run_of().result
    assert isinstance(shown, Finished)
    assert shown.tuned.predictions.tolist() == expected.tuned.predictions.tolist()
    assert all(torch.equal(mask, expected.masks[name]) for name, mask in shown.masks.items())


def test_only_the_last_event_holds_a_model(after_run: AppTest) -> None:
    kinds = [type(event).__name__ for event in run_of().events]
    assert kinds[0] == "Reference"
    assert kinds.count("Cut") == 2
    assert kinds.count("Epoch") == 6
    assert kinds[-1] == "Finished"
    assert not {"Pruned", "Tuned"} & set(kinds)


def test_flipped_images_are_counted_both_ways(after_run: AppTest) -> None:
    done = run_of().result
    labels = cache.workspace("lenet5", "digits").dataset.test.labels
    broken = int(((done.dense.predictions == labels) & (done.tuned.predictions != labels)).sum())
    fixed = int(((done.dense.predictions != labels) & (done.tuned.predictions == labels)).sum())
    assert f"{broken} broken, {fixed} fixed" in text(after_run)
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
    assert "only cutting and measuring" in text(at)
    at.button(key="tune_start").click().run()
    until(at, finished)
    assert "no fine-tuned state" in text(at)
    assert len(charts(at)["comparison_bars"]) == 2


def test_nothing_disturbs_a_run_and_stop_ends_it(open_view: Open, until: Until) -> None:
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


def open_view_again(at: AppTest) -> AppTest:
    at.run()
    assert not at.exception
    return at


def test_a_loss_that_explodes_is_one_sentence(open_view: Open, until: Until) -> None:
    at = open_view("finetune", fine_tune="lr~10.0~momentum~0.99~epochs~30~batch_size~16")
    at.button(key="tune_start").click().run()
    until(at, lambda at: not run_of().active)
    at.run()
    assert not at.exception
    assert run_of().status in {"failed", "done"}
    if run_of().status == "failed":
        assert at.main.error[0].value.startswith("The run failed: The ")


def test_epochs_count_on_through_the_rounds() -> None:
    e = summarise(torch.eye(2), torch.tensor([0, 1]))
    events = (
        tuning.Cut(1, 2, 0.5, e),
        Step(1, 1, 1, 0.1),
        Epoch(1, 1, 0.1, e, True),
        tuning.Cut(2, 2, 0.8, e),
        Step(1, 1, 1, 0.2),
    )
    moved, cuts = tuning.continuous(events, 1)
    assert [event.epoch for event in moved] == [1, 1, 2]
    assert list(cuts) == [0.0, 1.0]


def test_progress_counts_all_steps_of_all_rounds() -> None:
    plan = Plan(schedule="iterative:2", fine_tune=TrainConfig(epochs=2))
    e = summarise(torch.eye(2), torch.tensor([0, 1]))
    cut = tuning.Cut(2, 2, 0.5, e)
    now = tuning.progress((cut, Step(1, 5, 10, 0.1)), plan, 50.0)
    assert now.share == pytest.approx(25 / 40)
    assert now.left == pytest.approx(30.0)
    assert tuning.progress((), plan, 1.0).share == 0.0
    assert (
        tuning.progress((cut, Step(2, 10, 10, 0.1), Epoch(2, 2, 0.1, e, True)), plan, 80.0).share
        == 1.0
    )


@pytest.mark.parametrize(
    ("broken", "fixed", "p"),
    [(0, 0, 1.0), (5, 1, 14 / 64), (1, 5, 14 / 64), (3, 3, 1.0), (0, 10, 2 / 1024)],
)
def test_the_sign_test_is_exact(broken: int, fixed: int, p: float) -> None:
    assert tuning.sign_test(broken, fixed) == pytest.approx(p)


def test_differences_are_told_in_words() -> None:
    then = Plan()
    now = Plan(sparsity=0.8, fine_tune=TrainConfig(lr=0.1), overrides=(("a", 0.5),))
    assert differences(then, now) == (
        "sparsity 50%, now 80%",
        "ratios none set by hand, now 1 set by hand",
        "learning rate 0.01, now 0.1",
    )
    assert differences(then, then) == ()
    assert differences(then, now, skip=("sparsity", "overrides", "fine_tune")) == ()
