"""What the mask lab sends and which reports it accepts: exact places, small messages, blocks, no
forged reports.
"""

import json
from typing import Any

import numpy as np
import pytest
import torch

from explorer.charts.tiles import flat
from explorer.components.mask_lab import Edit, Result, lab_view
from explorer.components.mask_lab.component import _read
from explorer.components.mask_lab.reduced import QUARTERS, REDUCED_CELLS, factors, reduced_parts
from pruning_core.granularity import GRANULARITIES, Granularity, granularity, group_tables, supports
from pruning_core.hand_edits import MAX_GROUPS
from pruning_core.masks import group_scores, ranks
from pruning_core.types import Layer
from tests.core.toy import layer
from tests.explorer.oracle import group_ids

LAYERS = (
    layer((8, 16, 3, 3)),
    layer((8, 1, 3, 3), "depthwise", groups=8),
    layer((24, 8, 1, 1)),
    layer((24, 8, 1, 1), "attention_in", heads=4),
    layer((8, 8, 1, 1), "attention_out", heads=2),
    layer((8, 8, 1, 3), "conv1d"),
)
CASES = [
    pytest.param(each, g, id=f"{each.kind}-{g.name}")
    for each in LAYERS
    for g in (*GRANULARITIES.values(), granularity("block:2x8"))
    if supports(g, each) is None
]
KINDS = {"u1": np.uint8, "i4": np.int32, "u4": np.uint32, "f4": np.float32, "f2": np.float16}


def opened(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The head and the parts of what is sent."""
    end = 4 + int.from_bytes(data[:4], "little")
    head = json.loads(data[4:end])
    parts = {}
    for name, kind, count in head["parts"]:
        parts[name] = np.frombuffer(data, KINDS[kind], count, end)
        end += parts[name].nbytes
    assert end == len(data)
    return head, parts


@pytest.mark.parametrize(("each", "g"), CASES)
def test_a_groups_number_is_a_sum_over_the_axes(each: Layer, g: Granularity) -> None:
    o, i, h, w = group_tables(g, each)
    assert torch.equal(
        o[:, None, None, None] + i[:, None, None] + h[:, None] + w, group_ids(each, g)
    )


@pytest.mark.parametrize(("each", "g"), CASES)
def test_every_cell_finds_its_value_score_and_place(each: Layer, g: Granularity) -> None:
    weight = torch.randn(each.shape)
    scores = group_scores({each.name: weight}, (each,), g, "l2")[each.name]
    head, parts = opened(lab_view(each, weight, scores, g).data)
    ids = parts["rowGroup"][:, None] + parts["colGroup"]
    assert (ids == flat(group_ids(each, g).numpy())).all()
    assert (parts["ranks"][ids] == ranks(scores).flatten().numpy()[ids]).all()
    assert (parts["scores"][ids] == scores.flatten().numpy()[ids]).all()
    assert (parts["values"].reshape(ids.shape) == flat(weight.numpy())).all()
    assert head["scopes"] * head["groups"] * head["size"] == each.numel
    assert all((np.diff(parts[axis]) >= 1).all() for axis in ("rowAt", "colAt"))


def test_large_layers_send_half_precision_to_three_digits() -> None:
    big = layer((512, 512, 1, 1))
    weight = torch.randn(big.shape, generator=torch.Generator().manual_seed(0)) * 1e-9
    view = lab_view(big, weight, weight.abs().view(1, -1), granularity("fine"))
    _, parts = opened(view.data)
    shown = parts["values"].astype(np.float32) * parts["valuesScale"]
    near = np.abs(flat(weight.numpy()).ravel()) > 1e-12
    assert np.allclose(shown[near], flat(weight.numpy()).ravel()[near], rtol=2e-3)
    assert len(view.data) < 2.2e6


def test_the_same_layer_has_the_same_id_and_another_has_not() -> None:
    each = LAYERS[0]
    g = granularity("kernel")
    weight = torch.randn(each.shape)
    scores = group_scores({each.name: weight}, (each,), g, "l2")[each.name]
    assert lab_view(each, weight, scores, g).id == lab_view(each, weight.clone(), scores, g).id
    assert lab_view(each, weight + 1, scores, g).id != lab_view(each, weight, scores, g).id
    assert (
        lab_view(each, weight, scores, g, allow_collapse=True).id
        != lab_view(each, weight, scores, g).id
    )


def test_a_layer_that_cannot_be_cut_sends_weights_only() -> None:
    _, parts = opened(
        lab_view(LAYERS[2], torch.randn(LAYERS[2].shape), None, granularity("kernel")).data
    )
    assert "values" in parts
    assert "ranks" not in parts


def test_reduced_layers_are_small_and_tell_their_blocks() -> None:
    big = layer((1100, 1000, 1, 1))
    weight = torch.arange(big.numel, dtype=torch.float32).view(big.shape)
    view = lab_view(big, weight, weight.view(1, -1), granularity("fine"))
    assert view.reduced
    assert len(view.data) < 1_000_000
    head, parts = opened(view.data)
    down, across = head["factors"] = list(view.factors)
    rows = -(-1100 // down)
    cols = -(-1000 // across)
    places = parts["places"].reshape(QUARTERS, rows, cols)
    assert (np.diff(places.astype(int), axis=0) >= 0).all()
    assert places[0, 0, 0] == 0
    assert places[-1, -1, -1] == 255
    exact = np.arange(0, 1100, down) * 1000 * 256 // big.numel
    assert (places[0, :, 0] == exact).all()


def test_blocks_at_the_edge_are_means_of_what_is_there() -> None:
    small = layer((5, 7, 2, 2))
    weight = torch.ones(small.shape)
    scores = torch.rand(1, 35)
    _, parts = reduced_parts(small, weight, scores, granularity("kernel"), 1.0)
    assert (parts["values"] == 255).all()
    assert factors(small) == (1, 1)
    assert all(
        -(-o // factors(x)[0]) * -(-i // factors(x)[1]) <= REDUCED_CELLS
        for x in (layer((4096, 25088, 1, 1)),)
        for o, i in (x.shape[:2],)
    )


REPORT = {
    "n": 7,
    "changed": ["ratio", "edits", "selected"],
    "ratio": 0.25,
    "edits": [[0, 3, True]],
    "selected": [0, 3],
}


def test_a_report_is_read_as_far_as_it_makes_sense() -> None:
    each = LAYERS[0]
    g = granularity("kernel")
    view = lab_view(each, torch.randn(each.shape), torch.rand(1, 128), g)
    report = REPORT | {"of": view.id}
    assert _read(report, view) == Result(0.25, (Edit(0, 3, True),), (0, 3))
    assert _read(report | {"changed": ["ratio"]}, view) == Result(ratio=0.25)
    assert _read(report | {"of": "another layer"}, view) == Result()
    for forged in ({"ratio": 2}, {"ratio": "1"}, {"ratio": float("nan")}, {"ratio": True}):
        assert _read(report | forged, view).ratio is None
    for edits in (
        [[0, 128, True]],
        [[1, 0, True]],
        [[0, -1, True]],
        [[0, 0, 1]],
        [[0, True, True]],
        [[0]],
        [3],
        "x",
    ):
        assert _read(report | {"edits": edits}, view).edits is None
    for many, told in (
        (MAX_GROUPS + 1, True),
        (MAX_GROUPS + 2, False),
    ):  # the plan reports the one that is too many
        assert (_read(report | {"edits": [[0, 3, True]] * many}, view).edits is not None) is told
    for selected in ([0], [0, 128], "ab", None):
        assert _read(report | {"selected": selected}, view).selected is None
    assert _read({}, view) == Result()
