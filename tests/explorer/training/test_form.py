"""The form of a training, on the page Fine-tune & compare: each choice is in the address."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

Open = Callable[..., AppTest]


def captions(at: AppTest) -> str:
    return "\n".join(caption.value for caption in at.main.caption)


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


def test_values_beyond_the_bounds_of_the_form_are_shown(open_view: Open) -> None:
    at = open_view("finetune", fine_tune="epochs~5000~lr~99~batch_size~100000")
    shown = [
        at.number_input(key=key).value for key in ("tune_epochs", "tune_lr", "tune_batch_size")
    ]
    assert shown == [5000, 99.0, 100000]


def test_all_other_choices_are_in_the_address(open_view: Open) -> None:
    at = open_view("finetune")
    at.selectbox(key="tune_schedule").set_value("agp").run()
    at.number_input(key="tune_rounds").set_value(3).run()
    at.selectbox(key="tune_optimizer").set_value("adamw").run()
    at.toggle(key="tune_augment").set_value(True).run()
    at.toggle(key="tune_cosine").set_value(False).run()
    assert at.query_params["schedule"] == "agp:3"
    assert at.query_params["fine_tune"] == "lr~0.001~optimizer~adamw~cosine~0~augment~1"
    assert at.number_input(key="tune_momentum").disabled


def test_penalty_groups_and_strength_are_in_the_address(open_view: Open) -> None:
    """Groups start with the plan's granularity. A strength is shown only with a penalty."""
    at = open_view("finetune", granularity="filter")
    strength = "tune_penalty_strength"
    assert strength not in {box.key for box in at.number_input}
    at.selectbox(key="tune_penalty_name").set_value("group_lasso").run()
    assert at.query_params["fine_tune"] == "penalty~group_lasso%3Afilter"
    assert "with the penalty Group lasso (Filter)" in captions(at)
    at.selectbox(key="tune_penalty_shape").set_value("2:4").run()
    at.number_input(key=strength).set_value(0.01).run()
    assert not at.exception
    assert at.query_params["fine_tune"] == "penalty~group_lasso%3A2%3A4~penalty_strength~0.01"
    at.selectbox(key="tune_penalty_name").set_value("bn_scale_l1").run()
    assert at.query_params["fine_tune"] == "penalty~bn_scale_l1~penalty_strength~0.01"
    at.selectbox(key="tune_penalty_name").set_value("none").run()
    assert at.query_params["fine_tune"] == "penalty_strength~0.01"


@pytest.mark.parametrize(("schedule", "noted"), [("iterative:3", True), ("one_shot", False)])
def test_a_note_says_where_later_rounds_only_train(
    open_view: Open, schedule: str, noted: bool
) -> None:
    at = open_view("finetune", granularity="2:4", schedule=schedule)
    assert any("the first round prunes to it" in caption.value for caption in at.caption) == noted


def test_a_new_optimizer_sets_its_usual_rate_but_keeps_a_chosen_rate(open_view: Open) -> None:
    at = open_view("finetune")
    at.selectbox(key="tune_optimizer").set_value("adamw").run()
    assert at.number_input(key="tune_lr").value == 0.001
    at.selectbox(key="tune_optimizer").set_value("sgd").run()
    assert at.number_input(key="tune_lr").value == 0.01
    at.number_input(key="tune_lr").set_value(0.05).run()
    at.selectbox(key="tune_optimizer").set_value("adamw").run()
    assert at.number_input(key="tune_lr").value == 0.05
