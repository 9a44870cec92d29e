"""A plan in words, and how two plans differ."""

from explorer.texts.plan_words import differences
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig


def test_differences_of_two_plans_in_words() -> None:
    then = Plan()
    now = Plan(sparsity=0.8, fine_tune=TrainConfig(lr=0.1), overrides=(("a", 0.5),))
    assert differences(then, now) == (
        "sparsity 50%, now 80%",
        "ratios none set by hand, now 1 set by hand",
        "learning rate 0.01, now 0.1",
    )
    assert differences(then, then) == ()
    assert differences(then, now, skip=("sparsity", "overrides", "fine_tune")) == ()
