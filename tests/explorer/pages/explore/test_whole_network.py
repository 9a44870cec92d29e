"""Tiles of all granularities on the whole network, with the numbers of the core."""

import re
from dataclasses import replace
from typing import Any

from streamlit.testing.v1 import AppTest

from explorer.charts.patterns import pattern_png
from explorer.session.axis_forms import families
from pruning_core import Plan, choose_masks, evaluate, masked_copy, open_workspace
from pruning_core.granularity import granularity
from pruning_core.pipeline import probe_split
from tests.explorer import driven


def tiles() -> None:
    """The panel alone, for a network that opens at once."""
    import streamlit as st

    from explorer.pages.explore.whole_network import whole_network_panel
    from explorer.session import cache, page_language, sidebar, state

    page_language.read_language()
    state.read_address("explore", sidebar.known_names())
    state.write_address()
    plan = state.plan()
    whole_network_panel(plan, cache.workspace(plan.model, plan.dataset))
    st.text(plan.granularity)


def cards(at: AppTest) -> dict[str, str]:
    """Title -> text of each tile, in their order."""
    elements: list[Any] = list(at.get("html"))
    values = [re.sub(r"<style>.*?</style>", "", each.value, flags=re.DOTALL) for each in elements]
    titles = [re.findall(r"<b>(.*?)</b>", value)[0] for value in values]
    return {
        title: re.sub(r"<[^>]+>", " ", value) for title, value in zip(titles, values, strict=True)
    }


def test_every_granularity_has_a_tile_and_a_click_uses_it() -> None:
    plan = Plan(model="lenet5", dataset="digits", sparsity=0.3, probe=64)
    address = {"model": plan.model, "sparsity": "0.3", "probe": "64"}
    at = driven.opened(tiles, address)
    assert not at.get("html"), "nothing is measured before it is asked for"
    at.toggle(key="whole_network").set_value(True).run()
    shown = cards(at)
    assert set(shown) == {g.label for g in families().values()}
    space = open_workspace(plan.model, plan.dataset)
    kernel = replace(plan, granularity="kernel")
    masks = choose_masks(kernel, space)[1]
    value = evaluate(masked_copy(kernel, space, masks), probe_split(kernel, space)).value
    assert f"{value:.1%}" in shown["Kernel"]
    removed = sum(int((~mask).sum()) for mask in masks.values())
    share = removed / sum(each.numel() for each in space.model.parameters())
    assert f"{share:.1%} of all weights removed" in shown["Kernel"], "not of those it can prune"
    assert "fixed 50%" in shown["2:4"]
    assert "refused" in shown["Attention head"]
    accuracies = [
        float(number) for number in re.findall(r"([\d.]+)% correct", " ".join(shown.values()))
    ]
    assert accuracies == sorted(accuracies, reverse=True)
    at.button(key="use_kernel").click().run()
    assert at.text[-1].value == "kernel"
    assert at.query_params["granularity"] == "kernel"


def test_a_granularity_without_a_convolution_has_no_picture() -> None:
    assert pattern_png(granularity("head")) is None
    picture = pattern_png(granularity("filter"))
    assert picture is not None
    assert picture[0].startswith(b"\x89PNG")
