"""The panel "How far can this plan go?": its run, its figure, and the sparsity that it sets."""

from collections.abc import Callable
from unittest.mock import patch

import pytest
from streamlit.testing.v1 import AppTest

from explorer.charts.farthest import farthest_chart
from explorer.session import cache
from pruning_core.compress import time_target
from pruning_core.compress.byte_target import Fitted, dense_bytes, fit_bytes
from pruning_core.compress.time_target import TriedTime
from pruning_core.plan import Plan
from pruning_core.sensitivity.farthest import CURVE, Farthest, curve, farthest
from tests.explorer.driven import opened, run, unfolded

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]


def ended(at: AppTest) -> bool:
    return any("can be removed" in text.value for text in at.markdown)


def test_the_panel_draws_the_curve_finds_a_sparsity_and_sets_it(
    open_view: Open, until: Until
) -> None:
    at = unfolded(open_view("explore", model="lenet5", probe="60", sparsity="0.05"), "how_far")
    assert not ended(at)
    at.number_input(key="farthest_lose").set_value(5.0)
    at.button(key="farthest_start").click()
    until(run(at), ended)
    plan = Plan(model="lenet5", probe=60)
    *_, found = farthest(plan, cache.workspace("lenet5", "digits"), 0.05)
    assert isinstance(found, Farthest)
    said = next(text.value for text in at.markdown if "can be removed" in text.value)
    assert said.startswith(f"**{found.plan.sparsity:.0%}** of the prunable weights can be removed")
    assert "60 probe images" in said
    at.button(key="farthest_use").click()
    run(at)
    assert at.slider(key="sparsity").value == round(100 * found.plan.sparsity)
    assert at.button(key="farthest_use").disabled
    assert at.button(key="farthest_start").disabled, "the curve is kept at every sparsity"
    at.toggle(key="farthest_sure").set_value(True)
    run(at)
    assert not ended(at)
    assert any("Click a point" in text.value for text in at.caption), "the curve stays"


def panel_alone() -> None:
    from explorer.pages.explore.how_far import how_far_panel
    from explorer.session import cache, state
    from pruning_core.plan import Plan

    if state.plan().model != "lenet5":
        state.set_plan(Plan(model="lenet5", dataset="digits", granularity="filter", probe=60))
    plan = state.plan()
    how_far_panel(plan, cache.workspace(plan.model, plan.dataset))


@pytest.mark.usefixtures("open_view")
def test_a_file_size_and_a_time_set_the_sparsity(until: Until) -> None:
    at = unfolded(opened(panel_alone, {}), "how_far")

    def found(at: AppTest) -> list[str]:
        return [text.value for text in at.markdown if "must be removed" in text.value]

    def ended(at: AppTest) -> bool:
        return bool(found(at))

    at.segmented_control(key="farthest_limit").set_value("File size")
    run(at)
    at.number_input(key="smallest_share").set_value(30.0)
    run(at)
    at.button(key="smallest_start").click()
    until(run(at), ended)
    plan = Plan(model="lenet5", probe=60, granularity="filter")
    space = cache.workspace("lenet5", "digits")
    *_, fits = fit_bytes(plan, space, int(0.3 * dense_bytes(space)))
    assert isinstance(fits, Fitted)
    (said,) = found(at)
    share = f"**{fits.plan.sparsity:.0%}** of the prunable weights"
    assert said.startswith(f"{share} must be removed: {fits.bytes:,} bytes, ")
    at.button(key="smallest_use").click()
    run(at)
    assert at.button(key="smallest_use").label == f"The plan removes {fits.plan.sparsity:.0%}"
    at.segmented_control(key="farthest_limit").set_value("Time")
    run(at)
    assert not found(at)

    def quick(search: time_target._Search, step: int) -> TriedTime:
        search.tried[step] = TriedTime(step / 100, 0.3, (0.29, 0.31), True, None)
        return search.tried[step]

    with patch.object(time_target._Search, "try_at", quick):
        at.button(key="smallest_start").click()
        until(run(at), ended)
    assert "30% of the dense time (29% to 31%" in found(at)[0]


def test_a_click_on_a_point_sets_the_sparsity() -> None:
    def script() -> None:
        import streamlit as st

        from explorer.pages.explore.how_far import set_from_chart
        from explorer.session import state

        st.session_state["farthest_chart"] = {"selection": {"points": [{"x": 35.0}]}}
        set_from_chart()
        st.text(state.plan().sparsity)

    assert opened(script, {}).text[0].value == "0.35"


def test_the_figure_has_every_measured_sparsity_the_plan_and_the_limit() -> None:
    space = cache.workspace("lenet5", "digits")
    plan = Plan(model="lenet5", probe=60)
    points = tuple(curve(plan, space))
    assert sorted(round(100 * point.sparsity) for point in points) == sorted(CURVE)
    assert {point.repair for point in points} == {"none"}, "there is no batch norm"
    *_, found = farthest(plan, space, 0.05)
    assert isinstance(found, Farthest)
    dense = found.dense.value
    figure = farthest_chart(points, found, dense, dense - 0.05, (0.5, 0.9))
    drawn = {
        (round(x), round(y, 6))
        for trace in figure.data
        for x, y in zip(trace.x, trace.y, strict=True)
    }
    measured = [(point.sparsity, point.evaluation) for point in points]
    measured += [(trial.sparsity, trial.evaluation) for trial in found.tried]
    assert drawn == {(50, 90.0)} | {
        (round(100 * sparsity), round(100 * evaluation.value, 6))
        for sparsity, evaluation in measured
    }
    assert [shape.type for shape in figure.layout.shapes] == ["line"] * 3
    assert f"up to {found.plan.sparsity:.0%} is within the limit" in figure.layout.meta["alt"]
