"""Dropout and DropConnect below the lab: other masks in every pass, with the accuracy of each one frozen."""

import pytest
import torch

from explorer import cache
from pruning_core.coupling import silenced
from pruning_core.dropout import frozen
from pruning_core.masks import achieved, apply_masks
from pruning_core.train import evaluate
from tests.explorer.driven import run
from tests.explorer.test_closer import PLAN, cards, looked, titles


@pytest.mark.parametrize("name", ["dropout", "dropconnect"])
def test_every_pass_is_measured_as_a_frozen_mask(name: str) -> None:
    at = looked("Dropout")
    at.get_by_key("drop_kind").set_value(name)
    at.get_by_key("drop_rate").set_value(0.3)
    at.get_by_key("drop_pass").set_value(5)
    run(at)
    assert titles(at) == [f"Pass {number}" for number in (5, 6, 7, 8)]
    space = cache.workspace("lenet5", "digits")
    layer = next(each for each in space.layers if each.name == "conv2.weight")
    seen = set()
    for number, card in zip((5, 6, 7, 8), cards(at), strict=True):
        masks = frozen(name, (layer,), 0.3, number)
        quiet = silenced(space.model, space.layers, masks) if name == "dropout" else {}
        score = evaluate(apply_masks(space.model, masks, space.layers, quiet), cache.probe(PLAN, space))
        assert f"{100 * score.top1:.1f}% right" in card
        seen.add(masks[layer.name].numpy().tobytes())
        assert 0 < achieved(masks)[layer.name] < 1
    assert len(seen) == 4
    assert torch.is_tensor(space.model.conv2.weight)


def test_the_outputs_of_the_network_are_not_dropped_but_their_weights_are() -> None:
    at = looked("Dropout", "fc3.weight")
    assert any("remove a class" in each.value for each in (*at.warning, *at.error, *at.info))
    at.get_by_key("drop_kind").set_value("dropconnect")
    assert len(cards(run(at))) == 4
