"""Layers that a granularity does not support, and the reason as one sentence."""

import pytest
import torch

from pruning_core.granularity import GRANULARITIES, granularity, supports, to_groups
from pruning_core.granularity_refusals import all_supported
from pruning_core.types import Layer
from tests.core.toy import is_sentence, layer, refusal

REFUSED = [
    ("row", layer((4, 1, 1, 1), name="a.weight"), "one weight per output"),
    ("2:4", layer((8, 3, 3, 3), name="stem.weight"), "3 input channels"),
    ("1:4", layer((8, 6, 3, 3), name="stem.weight"), "6 input channels"),
    ("4:8", layer((8, 12, 3, 3), name="stem.weight"), "12 input channels"),
    ("2:4", layer((8, 1, 3, 3), "depthwise", name="dw.weight", groups=8), "1 input channel"),
    ("vector_row", layer((8, 8, 1, 1), "conv2d", name="p.weight"), "1 x 1"),
    ("vector_row", layer((8, 8, 3, 1), name="p.weight"), "3 x 1"),
    ("vector_col", layer((8, 8, 1, 1), "conv2d", name="p.weight"), "1 x 1"),
    ("vector_col", layer((8, 8, 1, 3), "conv1d", name="p.weight"), "1 x 3"),
    ("kernel", layer((8, 8, 1, 1), "conv2d", name="p.weight"), "1 x 1"),
    ("kernel", layer((8, 8, 1, 1), name="fc.weight"), "single weight"),
    ("filter", layer((10, 8, 1, 1), name="fc.weight", is_output=True), "class"),
    ("filter", layer((1, 8, 3, 3), name="c.weight"), "single filter"),
    ("channel", layer((8, 1, 3, 3), "depthwise", name="dw.weight", groups=8), "depthwise"),
    ("channel", layer((8, 4, 3, 3), name="gr.weight", groups=2), "grouped"),
    ("channel", layer((8, 1, 3, 3), name="stem.weight"), "single input channel"),
    ("shape", layer((8, 1, 1, 1), name="s.weight"), "one weight per output"),
    ("block:4x4", layer((10, 8, 1, 1), name="fc.weight"), "do not divide"),
    ("block:4x4", layer((8, 3, 3, 3), name="stem.weight"), "do not divide"),
    ("block:4x4", layer((4, 4, 3, 3), name="c.weight"), "single block"),
    ("head", layer((8, 8, 1, 1), name="fc.weight"), "not part of an attention"),
    ("head", layer((24, 8, 1, 1), "attention_in", name="a.in_proj_weight", heads=1), "single head"),
]


@pytest.mark.parametrize(("name", "refused", "part"), REFUSED)
def test_refusals_name_the_layer_in_one_sentence(name: str, refused: Layer, part: str) -> None:
    g = granularity(name)
    reason = supports(g, refused)
    assert reason is not None
    assert part in reason
    assert refused.name in reason
    assert is_sentence(reason)
    assert reason.count(". ") == 0
    assert refusal(lambda: to_groups(torch.zeros(refused.shape), g, refused)) == reason


def test_every_granularity_that_refuses_layers_is_tried_here() -> None:
    refusing = {name for name, g in GRANULARITIES.items() if g.refuses is not all_supported}
    assert refusing <= {name for name, _, _ in REFUSED}
    assert len(refusing) > 10
    assert "fine" not in refusing
