"""The panel "How far can this plan go?": its search, its figure, and the sparsity that it sets."""

from explorer.charts.farthest import farthest_chart
from explorer.session import cache
from pruning_core.plan import Plan
from pruning_core.sensitivity.farthest import Farthest, farthest
from tests.explorer.driven import opened, page, run


def test_the_panel_finds_a_sparsity_and_sets_it() -> None:
    at = opened(page, {"model": "lenet5", "probe": "60", "sparsity": "0.05"}, "explore")
    assert not any("can be removed" in text.value for text in at.markdown)
    at.number_input(key="farthest_lose").set_value(5.0)
    at.button(key="farthest_start").click()
    run(at)
    plan = Plan(model="lenet5", probe=60)
    *_, found = farthest(plan, cache.workspace("lenet5", "digits"), 0.05)
    assert isinstance(found, Farthest)
    said = next(text.value for text in at.markdown if "can be removed" in text.value)
    assert said.startswith(f"**{found.plan.sparsity:.0%}** can be removed")
    assert "60 images" in said
    at.button(key="farthest_use").click()
    run(at)
    assert at.slider(key="sparsity").value == round(100 * found.plan.sparsity)
    assert at.button(key="farthest_use").disabled
    at.toggle(key="farthest_sure").set_value(True)
    run(at)
    assert not any("can be removed" in text.value for text in at.markdown)


def test_the_figure_has_every_measured_sparsity_and_the_limit() -> None:
    plan = Plan(model="lenet5", probe=60)
    *_, found = farthest(plan, cache.workspace("lenet5", "digits"), 0.05)
    assert isinstance(found, Farthest)
    figure = farthest_chart(found.tried, found.dense.value, found.dense.value - 0.05, 0.4)
    drawn = {
        (round(x), round(y, 6))
        for trace in figure.data
        for x, y in zip(trace.x, trace.y, strict=True)
    }
    assert drawn == {
        (round(100 * tried.sparsity), round(100 * tried.evaluation.value, 6))
        for tried in found.tried
    }
    assert [shape.type for shape in figure.layout.shapes] == ["line"] * 3
    assert "up to 40% is within the limit" in figure.layout.meta["alt"]
