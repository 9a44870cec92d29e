"""The noise factor of a layer: as arrays, as charts, and on the page Flows."""

from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer.charts import alt
from explorer.charts.noise import noise_histogram, noise_map, rank_moves
from explorer.pages.flows.noise import Noise, noise
from pruning_core.criteria import criterion
from pruning_core.plan import Plan
from pruning_core.types import Layer
from pruning_core.workspaces import calibration, open_workspace

PLAN = Plan(model="lenet5", calibration=128)


@pytest.fixture(scope="module")
def fc1() -> tuple[Noise, Layer]:
    space = open_workspace("lenet5", "digits")
    layer = next(layer for layer in space.layers if layer.name == "fc1.weight")
    return noise(PLAN, space, layer, 0.8, 0.9, False), layer


def test_ranks_are_those_of_the_two_criteria(fc1: tuple[Noise, Layer]) -> None:
    space = open_workspace("lenet5", "digits")
    measured, layer = fc1
    assert measured.batches == 4
    assert measured.factor.shape == measured.taylor.shape == measured.seven.shape == layer.shape
    for name, ranks in (("taylor", measured.taylor), ("seven", measured.seven)):
        scores = (
            criterion(name)(space.model, (layer,), calibration(space, 128))[layer.name]
            .numpy()
            .ravel()
        )
        order = ranks.ravel().argsort()
        assert np.array_equal(scores[order], np.sort(scores))
    assert 0 < measured.agreement(measured.taylor) < measured.agreement(measured.plain) < 1
    assert 0 < measured.exchanged(0.5) < 0.5


def test_equal_rankings_exchange_no_weight() -> None:
    same = np.arange(8).reshape(2, 4, 1, 1) / 8
    assert Noise(same, same, same, same, 1).exchanged(0.5) == 0
    reversed_ranks = same[::-1, ::-1]
    assert Noise(same, same, same, reversed_ranks, 1).exchanged(0.5) == 1
    assert Noise(same, same, same, reversed_ranks, 1).agreement(same) == pytest.approx(-1)


def test_charts_count_every_weight(fc1: tuple[Noise, Layer]) -> None:
    measured, layer = fc1
    assert sum(noise_histogram(measured.factor).data[0].y) == layer.numel
    assert (
        np.nansum(np.asarray(rank_moves(measured.taylor, measured.seven).data[0].z, float))
        == layer.numel
    )
    assert np.isfinite(np.asarray(noise_map(measured.factor).data[0].z)).sum() == layer.numel
    assert "moves by 0%" in alt(rank_moves(measured.taylor, measured.taylor))


def test_only_the_flows_of_seven_show_it(open_view: Callable[..., AppTest]) -> None:
    at = open_view("flows", flow="seven_pre", calibration="128", layer="fc1.weight")
    at.toggle(key="seven_noise").set_value(True).run()
    assert not at.exception
    assert any("Spearman rank correlation" in caption.value for caption in at.main.caption)
    keys = ("seven_histogram", "seven_ranks", "seven_map")
    assert {
        key for chart in at.get("plotly_chart") for key in keys if key in chart.proto.id
    } == set(keys)
    at.selectbox(key="seven_layer").set_value("fc2.weight").run()
    assert not at.exception
    assert at.query_params["layer"] == "fc2.weight"
    assert not [
        toggle for toggle in open_view("flows", flow="rigl").toggle if toggle.key == "seven_noise"
    ]
