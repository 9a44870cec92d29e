"""The network map: short names, few bytes, the same bytes again, the plan's own numbers, no forged
choices.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest
from torchvision.models import get_model

from explorer.components.choice import chosen_name
from explorer.components.net_map import MapView, map_view, message
from explorer.pages.sensitivity.run import accuracy_lost_alone
from explorer.session import cache
from pruning_core.model.inventory import inventory
from pruning_core.model.layer_graph import network_map
from pruning_core.plan import Plan
from pruning_core.types import SensitivityPoint
from tests.explorer.driven import opened, page, run

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]


def view_of(name: str) -> MapView:
    space = cache.workspace(name, "digits")
    return map_view(cache.layer_map(Plan(model=name), space), space.layers)


def sent(at: AppTest) -> dict[str, Any]:
    """What the page sends to the browser."""
    return json.loads(element(at).json)


def element(at: AppTest) -> Any:
    return next(
        each.proto
        for each in at.get("bidi_component")
        if each.proto.component_name == "pruning_net_map"
    )


def labels(view: MapView, block: str) -> list[str]:
    number = view.data["blocks"].index(block)
    return [node[1] for node in view.data["nodes"] if node[6] == number]


def test_boxes_have_short_names_of_their_own() -> None:
    assert labels(view_of("resnet20"), "layer2.0") == ["conv1", "conv2", "shortcut", "+"]
    assert labels(view_of("mobilenet"), "pair3") == ["depthwise", "pointwise"]
    assert labels(view_of("vit"), "blocks.2") == ["in_proj", "out_proj", "+", "fc1", "fc2", "+"]
    assert [node[1] for node in view_of("vgg").data["nodes"]][:3] == [
        "input",
        "block1.conv",
        "block2.conv",
    ]


def test_a_box_shows_name_kind_shape_weights_and_macs() -> None:
    first_of_block = next(
        node for node in view_of("resnet20").data["nodes"] if node[7] == "layer1.0.conv1.weight"
    )
    assert (
        first_of_block[2]
        == "layer1.0.conv1.weight · Convolution · 16 × 16 × 3 × 3 · 2,304 weights · 147 k MACs"
    )
    assert first_of_block[3] == 2304


def test_resnet50_is_sent_in_few_bytes() -> None:
    with torch.random.fork_rng([]):
        model = get_model("resnet50", weights=None).eval()
    layers = inventory(model, (3, 32, 32))
    view = map_view(network_map(model, layers), layers)
    share = {layer.name: 1 / 3 for layer in layers}
    data = message(view, layers[0].name, share, share, "80%")
    assert len(json.dumps(data)) < 20_000
    assert len(view.names) == 54


def test_what_is_missing_is_none() -> None:
    view = view_of("lenet5")
    data = message(view, "fc1.weight", {"fc1.weight": 0.25}, {"fc2.weight": -0.01}, "80%")
    assert data["kept"] == [None, None, 0.25, None, None]
    assert data["hurts"] == [None, None, None, -0.01, None]
    assert data["outputs"] == [None] * 5
    assert message(view, "fc1.weight", {}, None, "")["hurts"] is None


@pytest.mark.parametrize(
    "report",
    [
        None,
        {},
        {"selected": None},
        {"selected": "fc9.weight"},
        {"selected": ["fc1.weight"]},
        "fc1.weight",
    ],
)
def test_a_choice_that_the_network_does_not_have_is_none(report: object) -> None:
    assert chosen_name(report, view_of("lenet5").names) is None


def test_a_choice_is_a_layers_name() -> None:
    assert chosen_name({"selected": "fc1.weight"}, view_of("lenet5").names) == "fc1.weight"


def test_the_page_sends_the_plans_own_shares_and_the_chosen_layer() -> None:
    at = opened(
        page,
        {"model": "lenet5", "granularity": "filter", "sparsity": "0.6", "layer": "fc2.weight"},
        "explore",
    )
    plan = Plan(model="lenet5", granularity="filter", sparsity=0.6)
    space = cache.workspace("lenet5", "digits")
    kept = cache.report(plan, space).kept
    names = view_of("lenet5").names
    data = sent(at)
    assert data["chosen"] == "fc2.weight"
    assert data["kept"] == [
        pytest.approx(kept[name]) if name != "fc3.weight" else None for name in names
    ]
    assert data["hurts"] is None
    assert [node[8] for node in data["map"]["nodes"][1:]] == [6, 16, 120, 84, 10]
    assert data["outputs"] == [2, 6, 48, 34, 10]


def test_the_same_page_sends_the_same_bytes_and_another_plan_others() -> None:
    at = opened(page, {"model": "lenet5"}, "explore")
    first = element(at).SerializeToString()
    assert element(run(at)).SerializeToString() == first
    at.slider(key="sparsity").set_value(70)
    assert element(run(at)).SerializeToString() != first


def test_where_nothing_can_be_cut_no_box_has_a_share() -> None:
    assert set(
        sent(opened(page, {"model": "lenet5", "granularity": "head"}, "explore"))["kept"]
    ) == {None}


def test_the_map_is_traced_once() -> None:
    plan = Plan(model="lenet5")
    space = cache.workspace("lenet5", "digits")
    first = cache.layer_map(plan, space)
    assert cache.layer_map(replace(plan, sparsity=0.9, granularity="kernel"), space) is first


def point(
    name: str, sparsity: float, top1: float, achieved: float | None = None
) -> SensitivityPoint:
    return SensitivityPoint(
        name,
        "fine",
        sparsity,
        sparsity if achieved is None else achieved,
        1.0,
        top1,
        100,
        (0.0, 1.0),
    )


def test_the_loss_of_each_layer_alone_near_four_fifths() -> None:
    curves = [
        point("a", 0.0, 0.9),
        point("a", 0.5, 0.8),
        point("a", 0.75, 0.4),
        point("b", 0.0, 0.9),
        point("b", 0.75, 0.95),
    ]
    idle = [point("c", 0.0, 0.9), point("c", 0.75, 0.9, 0.0)]
    lost, at = accuracy_lost_alone([*curves, *idle, point("d", 0.0, 0.9)])
    assert at == 0.75
    assert lost == {"a": pytest.approx(0.5), "b": pytest.approx(-0.05)}
    assert accuracy_lost_alone([point("a", 0.0, 0.9)]) == ({}, 0.0)


def test_layers_that_were_cut_together_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = ("conv1.weight", "conv2.weight")
    points = tuple(
        replace(point(name, share, 0.9 - share / 2), group=pair)
        for name in pair
        for share in (0.0, 0.5)
    )
    monkeypatch.setattr(
        "explorer.pages.explore.network_map_panel.measured_for", lambda plan: points
    )
    data = sent(opened(page, {"model": "lenet5"}, "explore"))
    assert data["hurts"] == [pytest.approx(0.25), pytest.approx(0.25), None, None, None]
    assert data["cutAt"] == "50%, tied layers together"


def test_a_scan_of_this_plan_is_marked_and_one_of_another_is_not(
    open_view: Open, until: Until
) -> None:
    at = open_view("sensitivity", grid="Quick")
    at.button(key="scan_start").click().run()
    until(at, lambda at: any("Scanned" in caption.value for caption in at.caption))
    points = cache.jobs().snapshots("test session id", "scan")[0].events
    lost, _ = accuracy_lost_alone(
        [event for event in points if isinstance(event, SensitivityPoint)]
    )
    data = sent(opened(page, {"model": "lenet5"}, "explore"))
    assert data["hurts"] == [pytest.approx(lost[name]) for name in view_of("lenet5").names]
    assert data["cutAt"] == "80%"
    assert (
        sent(opened(page, {"model": "lenet5", "granularity": "filter"}, "explore"))["hurts"] is None
    )
