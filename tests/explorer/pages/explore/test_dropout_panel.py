"""Dropout and DropConnect below the lab: other masks in every pass, with the accuracy of each one
frozen.
"""

import re

import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer.session import cache, url
from pruning_core.dropout import frozen_masks, sample_mask
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.masks import achieved, apply_masks
from pruning_core.model.coupling.dependent_masks import dependent_masks
from pruning_core.plan import Plan
from tests.explorer.driven import by_key, opened, page, run
from tests.explorer.pages.explore.test_look_closer import PLAN, looked


def cards(at: AppTest) -> list[str]:
    return [
        str(each.value).split('<div role="listitem"')[1]
        for each in at.html
        if 'role="listitem"' in str(each.value)
    ]


def titles(at: AppTest) -> list[str]:
    return [re.findall(r"<header><b>(.*?)</b>", card)[0] for card in cards(at)]


def shown(at: AppTest) -> Plan:
    """The plan of the session."""
    return Plan.from_json(at.session_state["_plan"])


@pytest.mark.parametrize("name", ["dropout", "dropconnect"])
def test_every_pass_is_measured_as_a_frozen_mask(name: str) -> None:
    at = looked("Dropout")
    by_key(at, "drop_kind").set_value(name)
    by_key(at, "drop_rate").set_value(0.3)
    by_key(at, "drop_pass").set_value(5)
    run(at)
    assert titles(at) == [f"Pass {number}" for number in (5, 6, 7, 8)]
    space = cache.workspace("lenet5", "digits")
    layer = next(each for each in space.layers if each.name == "conv2.weight")
    seen = set()
    for number, card in zip((5, 6, 7, 8), cards(at), strict=True):
        masks = frozen_masks(name, (layer,), 0.3, number)
        quiet = dependent_masks(space.model, space.layers, masks) if name == "dropout" else {}
        score = evaluate(
            apply_masks(space.model, masks, space.layers, quiet), cache.probe(PLAN, space)
        )
        assert f"{100 * score.value:.1f}% correct" in card
        seen.add(masks[layer.name].numpy().tobytes())
        assert 0 < achieved(masks)[layer.name] < 1
    assert len(seen) == 4
    assert torch.is_tensor(space.model.get_submodule("conv2").weight)


def test_the_outputs_of_the_network_are_not_dropped_but_their_weights_are() -> None:
    at = looked("Dropout", "fc3.weight")
    assert any("remove a class" in each.value for each in at.info)
    assert not at.error
    by_key(at, "drop_kind").set_value("dropconnect")
    assert len(cards(run(at))) == 4


@pytest.mark.parametrize("name", ["dropout", "dropconnect"])
def test_a_frozen_sample_is_the_plans_mask_bit_for_bit_with_the_accuracy_of_its_card(
    name: str,
) -> None:
    start = {
        "model": "lenet5",
        "probe": "64",
        "layer": "conv2.weight",
        "sparsity": "0.7",
        "overrides": "fc1.weight~0.9",
    }
    at = opened(page, start, "explore")
    by_key(at, "closer").set_value("Dropout")
    by_key(run(at), "drop_kind").set_value(name)
    by_key(at, "drop_rate").set_value(0.3)
    by_key(at, "drop_pass").set_value(5)
    card = cards(run(at))[1]
    at.button(key="freeze_1").click()
    run(at)
    space = cache.workspace("lenet5", "digits")
    plan = shown(at)
    layer = next(each for each in space.layers if each.name == "conv2.weight")
    masks = cache.masks(plan, space)
    assert torch.equal(masks[layer.name], sample_mask(name, layer, 0.3, 6))
    assert not masks[layer.name].all()
    assert all(mask.all() for other, mask in masks.items() if other != layer.name)
    assert f"{at.metric[0].value} correct" in card
    assert at.selectbox(key="criterion").value == "random"
    assert at.number_input(key="seed").value == 6
    assert url.read({key: at.query_params[key] for key in at.query_params})[0] == plan
    assert cards(at)[1] == card
    assert [at.button(key=f"freeze_{place}").disabled for place in range(4)] == [
        False,
        True,
        False,
        False,
    ]
    assert at.button(key="freeze_1").label == "This is the plan's mask"


def test_the_button_says_what_changes_in_the_plan() -> None:
    at = looked("Dropout")
    assert [at.button(key=f"freeze_{place}").label for place in range(4)] == [
        "Freeze this sample as a mask"
    ] * 4
    text = at.button(key="freeze_2").help
    assert "Granularity to Filter" in text
    assert "the seed to 3" in text
    assert "all other layers are kept whole" in text
