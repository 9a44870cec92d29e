"""A plan as the parameters of an address, and back."""

import pytest

from explorer.session.url import PARAMS, pairs, read, unpaired, write
from pruning_core.hand_edits import HandEdits
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig

PLANS = {
    "default": Plan(),
    "every field": Plan(
        model="vit",
        dataset="fashion_mnist",
        criterion="taylor",
        granularity="block:2x8",
        allocation="lamp",
        sparsity=0.1 + 0.2,
        schedule="agp:5",
        flow="seven_dyn:delay=0.25,signed_moment=1",
        overrides=(("blocks.0.attention.in_proj_weight", 1 / 3), ("head.weight", 0.0)),
        edits=(HandEdits("head.weight", "block:2x8", ((0, 3, True), (0, 4, True), (2, 5, False))),),
        allow_collapse=True,
        probe=64,
        calibration=17,
        fine_tune=TrainConfig(
            epochs=0,
            lr=0.0123,
            optimizer="adamw",
            cosine=False,
            weight_decay=1e-7,
            seed=5,
            penalty="group_lasso:2:4",
        ),
        seed=123,
        start="zeros",
        norms="kept",
        repair="bn",
        tied=True,
    ),
    "strange names": Plan(
        overrides=(("a~b.c d/é%7E", 0.5), ("", 1.0)),
        edits=(HandEdits("a~b.c@d/é%7E", "fine", ((0, 0, True),)),),
    ),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_plan_is_read_back_from_the_address_exactly(plan: Plan) -> None:
    assert read(write(plan)) == (plan, ())


def test_defaults_are_not_in_the_address() -> None:
    assert write(Plan()) == {}
    assert write(Plan(sparsity=0.8, granularity="2:4")) == {"sparsity": "0.8", "granularity": "2:4"}


def test_all_fields_have_a_parameter() -> None:
    assert set(write(PLANS["every field"])) == set(PARAMS) - {"layer"}


def test_pairs_need_no_escaping() -> None:
    text = pairs({"conv1.weight": 0.5, "fc.weight": 0.25})
    assert text == "conv1.weight~0.5~fc.weight~0.25"
    assert unpaired(text) == {"conv1.weight": "0.5", "fc.weight": "0.25"}
    assert unpaired("") == {}


@pytest.mark.parametrize(
    ("field", "text", "word"),
    [
        ("sparsity", "2", "outside"),
        ("sparsity", "nan", "outside"),
        ("sparsity", "lots", "a number"),
        ("seed", "1.5", "whole number"),
        ("seed", "-1", "outside"),
        ("probe", "1e99", "whole number"),
        ("allow_collapse", "maybe", "1 or 0"),
        ("granularity", "5:4", "N:M"),
        ("granularity", "<script>", "granularity"),
        ("criterion", "magnitud_l1", "did you mean 'magnitude_l1'?"),
        ("criterion", "os:system", "which the pages never run"),
        ("allocation", "", "allocation"),
        ("schedule", "iterative:0", "schedule"),
        ("overrides", "conv1.weight", "pairs"),
        ("overrides", "conv1.weight~7", "outside"),
        ("overrides", "conv1.weight~x", "a number"),
        ("edits", "conv1.weight~fine", "layer~granularity~edits"),
        ("edits", "conv1.weight~fine~k3-9999", "More than 2,000"),
        ("fine_tune", "epochs~-1", "must be from 0 to"),
        ("fine_tune", "epoch~1", "did you mean 'epochs'?"),
        ("model", "resnet2", "did you mean 'resnet20'?"),
        ("seed", "9" * 40_000, "longer than"),
    ],
)
def test_a_wrong_value_gives_one_sentence_and_keeps_the_other_fields(
    field: str, text: str, word: str
) -> None:
    address = {"calibration": "32", field: text}
    plan, sentences = read(address, {"model": ("resnet20", "vit")})
    assert plan == Plan(calibration=32)
    assert len(sentences) == 1
    assert word in sentences[0]
    assert field in sentences[0]
    assert len(sentences[0]) < 400
