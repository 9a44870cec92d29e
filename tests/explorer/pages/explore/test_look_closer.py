"""Look closer: nothing before it is asked for, then the core's own numbers, for every kind of
layer.
"""

import re
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer.charts.raster import map_png, removed_png
from explorer.pages.explore import feature_maps as inside
from explorer.pages.explore import layer_details
from explorer.session import cache
from pruning_core.criteria import CRITERIA
from pruning_core.granularity import GRANULARITIES, supports
from pruning_core.model.activations import attention_maps, feature_maps, relative_change
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace
from tests.explorer.driven import by_key, opened, page, run

PLAN = Plan(model="lenet5", probe=64)


def closer(chosen: str = "") -> None:
    """The side bar and what is below the lab, as the page draws it; chosen: a filter chosen
    elsewhere.
    """
    import streamlit as st

    from explorer.pages.explore.image_panel import answers, image_chooser
    from explorer.pages.explore.look_closer import closer_look
    from explorer.session import cache, sidebar, state
    from explorer.session.notices import show_errors

    state.read_address("explore", sidebar.known_names())
    with st.sidebar:
        choice = sidebar.render("explore")
    plan = choice.plan
    space = choice.space
    assert space is not None
    layer = next(each for each in space.layers if each.name == state.selected_layer())
    place = image_chooser(plan, space)
    with show_errors():
        closer_look(
            plan,
            space,
            layer,
            cache.prunable(plan, space)[1].get(layer.name),
            int(chosen) if chosen else None,
        )
    with place, show_errors():
        answers(plan, space, cache.accuracy(plan, space))


def looked(view: str, layer: str = "conv2.weight", chosen: str = "", **address: str) -> AppTest:
    """That view of a layer, run once."""
    at = opened(closer, {"model": "lenet5", "probe": "64", "layer": layer} | address, chosen)
    by_key(at, "closer").set_value(view)
    return run(at)


def sheet(at: AppTest) -> str:
    htmls: list[Any] = list(at.main.get("html"))
    (found,) = htmls
    return str(found.value)


def cards(at: AppTest) -> list[str]:
    return sheet(at).split('<div role="listitem"')[1:]


def titles(at: AppTest) -> list[str]:
    return re.findall(r"<header><b>(.*?)</b>", sheet(at))


@pytest.fixture(scope="module")
def space() -> Workspace:
    return cache.workspace("lenet5", "digits")


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    with (
        patch.object(layer_details, "compare_granularities", side_effect=AssertionError),
        patch.object(layer_details, "maps", side_effect=AssertionError),
    ):
        at = opened(closer, {"model": "lenet5", "layer": "conv2.weight"}, "")
    assert by_key(at, "closer").value is None
    assert not at.main.get("html")
    assert not at.dataframe


def scrolls(at: AppTest) -> bool:
    htmls: list[Any] = list(at.main.get("html"))
    return any("scrollIntoView" in html.value for html in htmls)


def test_only_a_link_to_a_view_leads_down_to_it() -> None:
    address = {"model": "lenet5", "probe": "64", "layer": "conv2.weight"}
    linked = opened(closer, address | {"closer": "Filters"}, "")
    assert scrolls(linked)
    by_key(linked, "closer").set_value("Dropout")
    assert not scrolls(run(linked)), "the visitor is there already"
    assert not scrolls(looked("Filters"))
    lesson = address | {"closer": "Filters", "lesson_title": "Look here"}
    assert not scrolls(opened(closer, lesson, "")), "a lesson's task is above the page"


def test_every_granularity_is_there_with_its_numbers_or_its_reason(space: Workspace) -> None:
    at = looked("Granularities", sparsity="0.6")
    layer = next(each for each in space.layers if each.name == "conv2.weight")
    plan = replace(PLAN, sparsity=0.6)
    found = layer_details.granularity_results(plan, space, layer, 0.6, cache.probe(plan, space))
    able = [g.label for g in GRANULARITIES.values() if supports(g, layer) is None]
    assert titles(at) == [
        *able,
        *(g.label for g in GRANULARITIES.values() if supports(g, layer) is not None),
    ]
    for card, each in zip(cards(at), found, strict=False):
        assert f"{100 * each.evaluation.value:.1f}% correct" in card
        assert "n = 64" in card
        assert 'alt="Mask of conv2.weight by' in card
        assert ("fixed" in card) is (each.granularity.n_kept is not None)
    assert "in use" in cards(at)[0]
    assert "is not part of an attention layer" in sheet(at)
    assert any("Only this layer is pruned" in caption.value for caption in at.caption)


def test_a_layer_that_the_plan_leaves_whole_is_shown_at_the_global_share() -> None:
    at = looked("Granularities", layer="fc3.weight", granularity="filter", sparsity="0.7")
    assert any("target of 70%" in caption.value for caption in at.caption)
    assert "would remove a class" in sheet(at)


def test_another_choice_of_granularity_measures_nothing_again() -> None:
    with patch(
        "explorer.pages.explore.granularity_panel.granularity_results",
        wraps=layer_details.granularity_results,
    ) as measured:
        at = looked("Granularities", sparsity="0.37")
        at.selectbox(key="granularity").set_value("kernel")
        run(at)
    assert measured.call_count == 1
    assert "in use" in cards(at)[titles(at).index("Kernel")]


def test_large_networks_are_asked_before_every_shape_is_measured() -> None:
    with patch("explorer.pages.explore.granularity_panel.QUICK", 0):
        at = looked("Granularities")
        assert not at.main.get("html")
        at.toggle(key="measure_shapes").set_value(True)
        run(at)
    assert len(titles(at)) == len(GRANULARITIES)


def test_a_criterion_without_scores_for_the_layer_says_so() -> None:
    at = looked("Granularities", criterion="bn_scale")
    assert any("not followed by a batch norm" in error.value for error in at.error)
    assert not at.main.get("html")


@pytest.mark.parametrize("layer", ["conv2.weight", "conv1.weight"])
def test_feature_maps_are_sorted_by_their_change(space: Workspace, layer: str) -> None:
    at = looked("Activations", layer=layer, sparsity="0.8")
    plan = replace(PLAN, sparsity=0.8)
    (x,) = [x for x, _ in cache.probe(plan, space).subset([0]).batches(1)]
    found = next(each for each in space.layers if each.name == layer)
    dense, pruned = (
        feature_maps(model, found, x) for model in (space.model, cache.pruned_model(plan, space))
    )
    order = np.argsort(-relative_change(dense, pruned).numpy(), kind="stable")
    assert titles(at) == [f"Channel {channel}" for channel in order]
    assert any("Validation image 0," in text.value for text in at.caption)


@pytest.mark.parametrize(
    ("view", "key", "most"), [("Activations", "image", 63), ("Filters", "filter", 15)]
)
def test_the_number_of_image_and_filter_comes_from_the_address(
    view: str, key: str, most: int
) -> None:
    at = opened(
        closer,
        {"model": "lenet5", "probe": "64", "layer": "conv2.weight", "closer": view, key: "5"},
        "",
    )
    assert at.number_input(key=key).value == 5
    assert run(at).number_input(key=key).value == 5
    at.number_input(key=key).set_value(6)
    assert run(at).number_input(key=key).value == 6
    beyond = opened(
        closer,
        {"model": "lenet5", "probe": "64", "layer": "conv2.weight", "closer": view, key: "999"},
        "",
    )
    value = beyond.number_input(key=key).value
    assert value is not None
    assert 0 <= value <= most


def test_another_image_and_a_removed_filter() -> None:
    at = looked("Activations", granularity="filter", sparsity="0.5")
    before = sheet(at)
    assert before.count("filter removed") == 8
    at.number_input(key="image").set_value(3)
    run(at)
    assert sheet(at) != before
    assert any("Validation image 3," in text.value for text in at.caption)


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_the_map_of_a_removed_filter_is_not_the_colour_of_zero(bias: float) -> None:
    """Which is nearly white, in the dark theme too. What a bias gives is drawn as it is."""
    ones = np.ones((1, 2, 2), np.float32)
    pair = layer_details.Maps(ones, bias * ones, np.ones(1), (2, 2), "")
    card = inside._card("Channel 0", pair, 0, 1.0, 8, signed=True, removed=True)
    assert (card.shots[1].png == removed_png(8, 8)) == (not bias)
    assert card.shots[0].png == map_png(ones[0], 1.0, signed=True)


def test_both_answers_to_the_image_and_the_next_that_changed(space: Workspace) -> None:
    at = looked("Filters", sparsity="0.8")
    plan = replace(PLAN, sparsity=0.8)
    dense = cache.dense_accuracy(plan, space).classes
    pruned = cache.accuracy(plan, space).classes
    assert dense is not None
    assert pruned is not None
    changed = (dense.predictions != pruned.predictions).nonzero().flatten().tolist()
    assert len(changed) > 1
    label = int(cache.probe(plan, space).labels[0])
    (said,) = [text.value for text in at.markdown if text.value.startswith("This is")]
    assert said == (
        f"This is **{label}**.  \nDense answers **{int(dense.predictions[0])}**.  \n"
        f"Pruned answers **{int(pruned.predictions[0])}**."
    )
    for number in changed[:2]:
        at.button(key="next_changed").click()
        run(at)
        assert at.number_input(key="image").value == number
        assert any("answer changed" in caption.value for caption in at.caption)


def test_more_maps_are_shown_when_asked_for() -> None:
    with patch.object(inside, "PAGE", 10):
        at = looked("Activations")
        assert len(titles(at)) == 10
        at.button(key="more_maps").click()
        run(at)
        assert len(titles(at)) == 16


def test_attention_is_shown_head_by_head() -> None:
    vit = cache.workspace("vit", "digits")
    layer = next(each for each in vit.layers if each.kind == "attention_in")
    plan = Plan(model="vit", probe=64)
    (x,) = [x for x, _ in cache.probe(plan, vit).subset([0]).batches(1)]
    dense, pruned = (
        attention_maps(model, layer, x) for model in (vit.model, cache.pruned_model(plan, vit))
    )
    order = np.argsort(-relative_change(dense, pruned).numpy(), kind="stable")
    at = looked("Activations", layer=layer.name, model="vit")
    assert titles(at) == [f"Head {head}" for head in order]
    assert any("16 tokens: the 4 × 4 patches" in caption.value for caption in at.caption)
    tokens = looked("Activations", layer="blocks.0.mlp.fc1.weight", model="vit")
    assert titles(tokens)[0].startswith("Output ")
    assert any("4 × 4 patches" in caption.value for caption in tokens.caption)


def test_single_outputs_are_bars_named_by_their_class() -> None:
    at = looked("Activations", layer="fc3.weight")
    (chart,) = at.get("plotly_chart")
    assert '"name":"pruned"' in chart.proto.spec
    assert not at.main.get("html")


def test_a_filter_is_ranked_by_every_criterion(space: Workspace) -> None:
    at = looked("Filters", criterion="taylor")
    at.toggle(key="costly").set_value(True)
    run(at)
    table = at.dataframe[0].value
    refused = [
        how
        for how in CRITERIA.values()
        if how.supports(next(x for x in space.layers if x.name == "conv2.weight"))
    ]
    assert len(table) + len(refused) == len(CRITERIA)
    assert table["Criterion"][0] == CRITERIA["taylor"].label
    weight = space.model.get_parameter("conv2.weight").detach().abs().flatten(1).mean(1)
    row = table[table["Criterion"] == "Magnitude (L1)"].iloc[0]
    assert row["Score"] == pytest.approx(float(weight[0]))
    assert row["Rank"] == f"{int((weight < weight[0]).sum()) + 1} of 16"
    assert row["Above"] == pytest.approx(100 * int((weight < weight[0]).sum()) / 15)
    assert any("read data use 256 training images" in caption.value for caption in at.caption)
    assert any("BN scale: conv2.weight is not followed" in caption.value for caption in at.caption)


def test_the_filter_chosen_elsewhere_is_shown_until_the_user_takes_another() -> None:
    at = looked("Filters", chosen="5")
    assert at.number_input(key="filter").value == 5
    assert "Weights of filter 5 of conv2.weight" in sheet(at)
    at.number_input(key="filter").set_value(7)
    run(at)
    assert "Weights of filter 7 of conv2.weight" in sheet(at)


def test_a_group_selected_in_the_lab_is_the_filter_looked_at() -> None:
    at = opened(
        page, {"model": "lenet5", "layer": "conv2.weight", "granularity": "filter"}, "explore"
    )
    at.session_state["_stored"]["group"] = ("conv2.weight", "filter", 0, 4)
    by_key(at, "closer").set_value("Filters")
    run(at)
    assert at.number_input(key="filter").value == 4


def test_criteria_that_run_the_network_start_on_request() -> None:
    at = looked("Filters")
    assert not at.toggle(key="costly").value
    assert not any("training images" in caption.value for caption in at.caption), "none is read"
    free = [how.label for how in CRITERIA.values() if not how.runs_network]
    assert set(at.dataframe[0].value["Criterion"]) < set(free)
