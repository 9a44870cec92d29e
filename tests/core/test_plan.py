"""Plan <-> JSON is exact; what cannot be meant is refused in one sentence."""

import json
import random
from dataclasses import asdict, fields, replace

import pytest

from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import CRITERIA
from pruning_core.flows import FLOWS
from pruning_core.granularity import GRANULARITIES
from pruning_core.hand_edits import HandEdits
from pruning_core.model.kept_norms import NORMS
from pruning_core.plan import VERSION, Plan
from pruning_core.repairs import REPAIRS
from pruning_core.schedule import SCHEDULES
from pruning_core.start_masks import STARTS
from pruning_core.training.config import OPTIMIZERS, TrainConfig
from tests.core.toy import refusal

NAMES = ["0.weight", "conv.weight", 'a "quoted" name', "größe.weight", "new\nline", ""]


def drawn(seed: int) -> Plan:
    """A plan with a random value in every field, floats with all their digits."""
    rng = random.Random(seed)
    return Plan(
        model=rng.choice(["resnet20", "lenet5", "torchvision:resnet50", "x y"]),
        dataset=rng.choice(["digits", "folder:/some where/ä"]),
        criterion=rng.choice(list(CRITERIA)),
        granularity=rng.choice([*GRANULARITIES, "3:5", "block:2x8"]),
        allocation=rng.choice(list(ALLOCATIONS)),
        sparsity=rng.choice([0.0, 1.0, rng.random(), rng.random() * 1e-12, 0.1 + 0.2]),
        schedule=rng.choice([*SCHEDULES, "iterative:7", "agp:50"]),
        flow=rng.choice([*FLOWS, "seven_dyn:delay=0.25,window=0.3", "lottery:rewind=2,fresh=0"]),
        overrides=tuple(
            (name, rng.random()) for name in rng.sample(NAMES, rng.randint(0, len(NAMES)))
        ),
        edits=drawn_edits(rng),
        allow_collapse=rng.random() < 0.5,
        probe=rng.randint(10, 50_000),
        calibration=rng.randint(1, 50_000),
        fine_tune=drawn_training(rng),
        seed=rng.randint(0, 2**31 - 1),
        start=rng.choice([*STARTS]),
        norms=rng.choice([*NORMS]),
        repair=rng.choice([*REPAIRS]),
        tied=rng.random() < 0.5,
    )


def drawn_edits(rng: random.Random) -> tuple[HandEdits, ...]:
    return tuple(
        HandEdits(
            name,
            g,
            tuple(
                (rng.randint(0, 3), group, rng.random() < 0.5)
                for group in rng.sample(range(99), 20)
            ),
        )
        for name in rng.sample(NAMES, rng.randint(0, 3))
        for g in rng.sample([*GRANULARITIES], 2)
    )


def drawn_training(rng: random.Random) -> TrainConfig:
    lasso = f"group_lasso:{rng.choice([*GRANULARITIES])}"
    return TrainConfig(
        epochs=rng.randint(0, 99),
        lr=rng.random() + 1e-9,
        batch_size=rng.randint(1, 4096),
        optimizer=rng.choice(list(OPTIMIZERS)),
        momentum=rng.random() * 0.99,
        weight_decay=rng.random(),
        cosine=rng.random() < 0.5,
        warmup=rng.random() * 0.99,
        seed=rng.randint(0, 2**31 - 1),
        augment=rng.random() < 0.5,
        label_smoothing=rng.random() * 0.99,
        penalty=rng.choice(["none", "bn_scale_l1", "group_lasso:block:2x8", lasso]),
        penalty_strength=rng.random(),
    )


@pytest.mark.parametrize("seed", range(200))
def test_json_there_and_back_is_exact(seed: int) -> None:
    plan = drawn(seed)
    text = plan.to_json()
    assert Plan.from_json(text) == plan
    assert repr(Plan.from_json(text)) == repr(plan)
    assert Plan.from_json(text).to_json() == text
    assert hash(Plan.from_json(text)) == hash(plan)


def test_the_draws_vary_every_field() -> None:
    plans = [drawn(seed) for seed in range(50)]
    assert all(len({repr(getattr(plan, f.name)) for plan in plans}) > 1 for f in fields(Plan))
    assert all(
        len({getattr(plan.fine_tune, f.name) for plan in plans}) > 1 for f in fields(TrainConfig)
    )


def test_json_holds_every_setting_by_name() -> None:
    raw = json.loads(
        Plan(
            overrides=(("b", 0.25), ("a", 0.5)), start="zeros", norms="kept", repair="bn", tied=True
        ).to_json()
    )
    assert raw.pop("version") == VERSION
    assert raw.keys() == {f.name for f in fields(Plan)}
    assert list(raw["overrides"].items()) == [("b", 0.25), ("a", 0.5)]
    assert raw["fine_tune"] == asdict(TrainConfig())


def test_what_is_left_out_is_the_default() -> None:
    assert Plan.from_json("{}") == Plan()
    assert Plan.from_json('{"sparsity": 0.9, "fine_tune": {"epochs": 7}}') == Plan(
        sparsity=0.9, fine_tune=TrainConfig(epochs=7)
    )


def test_whole_numbers_are_welcome_where_a_fraction_is_meant() -> None:
    plan = Plan.from_json('{"sparsity": 1, "overrides": {"a": 0}, "fine_tune": {"lr": 1}}')
    assert plan == Plan(sparsity=1.0, overrides=(("a", 0.0),), fine_tune=TrainConfig(lr=1.0))
    assert all(
        type(value) is float for value in (plan.sparsity, plan.overrides[0][1], plan.fine_tune.lr)
    )


BAD = {
    "not json": ("{", "not valid JSON"),
    "nothing": ("", "not valid JSON"),
    "a list": ("[1]", "must be a JSON object"),
    "a number": ("3", "must be a JSON object"),
    "null": ("null", "must be a JSON object"),
    "other version": ('{"version": 2}', "version 2"),
    "version text": ('{"version": "1"}', "version 1"),
    "unknown key": ('{"sparcity": 0.5}', "did you mean 'sparsity'"),
    "unknown key in fine_tune": ('{"fine_tune": {"epoch": 1}}', "did you mean 'epochs'"),
    "text for a number": ('{"sparsity": "0.5"}', "'sparsity' in the plan must be a number"),
    "bool for a number": ('{"sparsity": true}', "'sparsity' in the plan must be a number"),
    "null for a number": ('{"sparsity": null}', "'sparsity' in the plan must be a number"),
    "fraction for a whole": ('{"seed": 1.5}', "'seed' in the plan must be a whole number"),
    "bool for a whole": ('{"probe": true}', "'probe' in the plan must be a whole number"),
    "number for a text": ('{"model": 3}', "'model' in the plan must be text"),
    "number for a bool": (
        '{"allow_collapse": 1}',
        "'allow_collapse' in the plan must be true or false",
    ),
    "list for a text": ('{"criterion": ["random"]}', "'criterion' in the plan must be text"),
    "sparsity above": ('{"sparsity": 1.01}', "outside [0, 1]"),
    "sparsity below": ('{"sparsity": -0.5}', "outside [0, 1]"),
    "sparsity nan": ('{"sparsity": NaN}', "outside [0, 1]"),
    "sparsity infinite": ('{"sparsity": 1e999}', "outside [0, 1]"),
    "sparsity huge": ('{"sparsity": 1' + "0" * 400 + "}", "outside [0, 1]"),
    "a number too long": ('{"seed": 1' + "0" * 5000 + "}", "too long"),
    "too deep": ("[" * 100_000, "too deep"),
    "override above": ('{"overrides": {"fc.weight": 2}}', "2.0 of fc.weight is outside"),
    "override huge": ('{"overrides": {"fc.weight": -1' + "0" * 400 + "}}", "outside [0, 1]"),
    "override text": ('{"overrides": {"fc.weight": "x"}}', "layer names to ratios"),
    "override bool": ('{"overrides": {"fc.weight": true}}', "layer names to ratios"),
    "overrides list": ('{"overrides": [["fc.weight", 0.5]]}', "layer names to ratios"),
    "fine_tune list": ('{"fine_tune": [1]}', "must be a JSON object"),
    "fine_tune rate": ('{"fine_tune": {"lr": -1}}', "learning rate"),
    "fine_tune optimizer": ('{"fine_tune": {"optimizer": "sgdd"}}', "did you mean 'sgd'"),
    "unknown criterion": ('{"criterion": "magnitude"}', "no criterion 'magnitude'"),
    "unknown allocation": ('{"allocation": "globe"}', "no allocation 'globe'"),
    "unknown granularity": ('{"granularity": "fines"}', "no granularity 'fines'"),
    "no n of m": ('{"granularity": "4:4"}', "not an N:M pattern"),
    "unknown schedule": ('{"schedule": "agp:0"}', "not a schedule"),
    "unknown flow": ('{"flow": "seven"}', "no flow 'seven'"),
    "unknown setting": ('{"flow": "seven_dyn:delays=1"}', "did you mean 'delay'"),
    "setting out of range": ('{"flow": "seven_dyn:delay=2"}', "outside 0 to 0.9"),
    "setting no number": ('{"flow": "lottery:rewind=x"}', "must be a whole number"),
    "probe small": ('{"probe": 9}', "probe of 9"),
    "probe large": ('{"probe": 50001}', "probe of 50001"),
    "calibration": ('{"calibration": 0}', "0 calibration images"),
    "seed": ('{"seed": -1}', "seed -1"),
    "seed large": ('{"seed": 2147483648}', "seed 2147483648"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_plans_are_told_in_one_sentence(case: str) -> None:
    text, part = BAD[case]
    assert part in refusal(lambda: Plan.from_json(text))


def test_a_layer_set_twice_is_refused() -> None:
    """JSON could not carry it."""
    assert "twice" in refusal(lambda: Plan(overrides=(("a", 0.1), ("a", 0.2))))


def test_a_plan_built_or_changed_in_code_is_checked_too() -> None:
    assert "outside [0, 1]" in refusal(lambda: replace(Plan(), sparsity=2.0))
    assert "no criterion" in refusal(lambda: Plan(criterion="nothing like it"))
