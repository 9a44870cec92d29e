"""A plan in words, and the differences of two plans."""

from dataclasses import fields, replace

from explorer.texts.plan_words import (
    TRAINING_WORDS,
    WORDS,
    cut_words,
    differences,
    flow_tune_words,
    penalty_words,
    ranked_by,
    schedule_words,
    tune_words,
)
from pruning_core.criteria import CRITERIA
from pruning_core.hand_edits import HandEdits
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig


def test_every_field_has_words() -> None:
    assert WORDS.keys() == {field.name for field in fields(Plan)} - {"fine_tune"}
    assert TRAINING_WORDS.keys() == {field.name for field in fields(TrainConfig)}


def test_differences_of_two_plans_in_words() -> None:
    then = Plan()
    now = Plan(sparsity=0.8, fine_tune=TrainConfig(lr=0.1), overrides=(("a", 0.5),))
    assert differences(then, now) == (
        "sparsity 50%, now 80%",
        "ratios none set by hand, now 1 set by hand",
        "learning rate 0.01, now 0.1",
    )
    assert differences(then, replace(then, probe=70))[0] == f"probe samples {then.probe}, now 70"
    assert differences(then, then) == ()
    assert differences(then, now, skip=("sparsity", "overrides", "fine_tune")) == ()


def test_values_with_equal_words_have_changed() -> None:
    then = Plan(overrides=(("a", 0.5),))
    assert differences(then, Plan(overrides=(("a", 0.6),))) == ("ratios changed",)


def test_what_a_plan_removes() -> None:
    plan = Plan(sparsity=0.8)
    start = "ResNet-20 on Digits: Fine-grained by Magnitude (L1), Uniform, "
    assert cut_words(plan) == f"{start}80% requested."
    one = replace(plan, overrides=(("conv1.weight", 0.5),))
    assert cut_words(one) == f"{start}80% requested, but 1 layer set by hand."
    assert cut_words(one, 0.79) == f"{start}1 layer's ratio set by hand, 79% requested in total."
    edited = replace(plan, edits=(HandEdits("conv1.weight", "fine", ((0, 1, True),)),))
    assert cut_words(edited) == f"{start}80% requested, 1 group kept or removed by hand."
    manual = replace(plan, allocation="manual")
    assert cut_words(manual).endswith("Manual, each layer's ratio set by hand.")
    assert ", 50% requested." in cut_words(replace(plan, granularity="2:4"))


def test_how_a_plan_trains() -> None:
    optimizer = "SGD, learning rate 0.01 with cosine decay, batches of 32"
    assert tune_words(Plan()) == f"One-shot; 3 epochs after each pruning step, {optimizer}."
    assert tune_words(Plan(fine_tune=TrainConfig(epochs=0))) == "One-shot, without fine-tuning."
    assert schedule_words("agp:4") == "Gradual (AGP cubic), 4 rounds"
    assert penalty_words("group_lasso:filter") == "Group lasso (Filter)"
    assert penalty_words("none") == "none"


def test_how_a_flow_trains() -> None:
    rounds = Plan(schedule="iterative:2")
    assert flow_tune_words(rounds).startswith("schedule Iterative, 2 rounds; 2 trainings of 3 ")
    own = Plan(flow="rigl", fine_tune=TrainConfig(epochs=0))
    assert flow_tune_words(own) == "its own schedule, not the plan's; no training."


def test_what_ranks_the_weights() -> None:
    assert ranked_by(Plan(criterion="taylor")) == CRITERIA["taylor"].label
    assert ranked_by(Plan(criterion="taylor", flow="seven_dyn")) == "the flow's own score"
