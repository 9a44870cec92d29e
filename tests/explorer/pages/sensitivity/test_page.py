"""The Sensitivity page: a scan in the background, its curves, and ratios made from them."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from streamlit.proto.Metric_pb2 import Metric
from streamlit.testing.v1 import AppTest

from explorer.pages.sensitivity import run as scanning
from explorer.pages.sensitivity.ratios_panel import partners
from explorer.pages.sensitivity.together import at_chance
from explorer.session import cache
from explorer.texts.formats import percent, value_text
from pruning_core.allocation import total_ratio
from pruning_core.plan import Plan
from pruning_core.sensitivity.corrected import Joint
from pruning_core.sensitivity.preview import Preview
from pruning_core.sensitivity.preview_bands import Band
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.tasks import change
from pruning_core.types import SensitivityPoint
from tests.core.events import of_kind
from tests.explorer.driven import text

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]


def scanned(at: AppTest) -> bool:
    return ":material/check: Scanned" in text(at)


def measured_together(at: AppTest) -> bool:
    return any(each.key == "together_apply" and not each.disabled for each in at.button)


def curves(at: AppTest, key: str = "sensitivity_curves") -> list[dict[str, Any]]:
    chart = next(chart for chart in at.get("plotly_chart") if key in chart.proto.id)
    return json.loads(chart.proto.spec)["data"]


def names(at: AppTest) -> set[str]:
    return {trace["name"] for trace in curves(at) if trace["mode"] == "lines+markers"}


@pytest.fixture
def after_scan(open_view: Open, until: Until) -> AppTest:
    at = open_view("sensitivity", grid="Quick")
    at.button(key="scan_start").click().run()
    return until(at, scanned)


def test_an_empty_page_says_what_to_do_and_why(open_view: Open) -> None:
    at = open_view("sensitivity")
    assert "No curves yet" in at.info[0].value
    assert at.button(key="scan_start").label == "Scan"
    assert not at.get("plotly_chart")
    assert "5 layers × 8 sparsities" in text(at)


def test_a_scan_shows_every_layer_its_marks_and_the_measured_accuracy(after_scan: AppTest) -> None:
    at = after_scan
    space = cache.workspace("lenet5", "digits")
    assert names(at) == {layer.name for layer in space.layers}
    assert sum(str(trace["name"]).endswith("chosen") for trace in curves(at)) == len(space.layers)
    dense = cache.dense_accuracy(Plan(model="lenet5"), space)
    assert f"{100 * dense.value:.1f}%" in text(at)
    assert f"{dense.n:,} probe images" in text(at)
    assert "together" in text(at)


def test_curves_equal_the_cores_own_scan(after_scan: AppTest) -> None:
    plan = Plan(model="lenet5")
    space = cache.workspace("lenet5", "digits")
    expected = list(
        scanning.scan_events(scanning.request(plan, space.layers, scanning.PRESETS["Quick"]), space)
    )
    shown = cache.jobs().snapshots("test session id", "scan")[0].events
    assert shown == tuple(expected)


def test_a_changed_plan_keeps_the_curves_and_says_so(after_scan: AppTest) -> None:
    at = after_scan
    at.selectbox(key="granularity").set_value("filter").run()
    assert not at.exception
    assert (
        "curves are for another plan: granularity Fine-grained, now Filter"
        in at.main.warning[0].value
    )
    assert names(at)
    assert "target_apply" not in [button.key for button in at.button]
    at.selectbox(key="granularity").set_value("fine").run()
    assert not at.main.warning


def test_what_curves_do_not_depend_on_leaves_them_current(after_scan: AppTest) -> None:
    at = after_scan
    at.slider(key="sparsity").set_value(90).run()
    at.selectbox(key="allocation").set_value("lamp").run()
    assert not at.exception
    assert not at.main.warning


def test_ratios_for_a_target_become_overrides_and_are_measured(after_scan: AppTest) -> None:
    at = after_scan
    at.slider(key="target").set_value(60).run()
    at.slider(key="sparsity").set_value(65).run()
    ratios = at.dataframe[0].value["Ratio"].tolist()
    assert len(set(ratios)) > 1
    assert ratios == sorted(ratios)
    assert at.slider(key="target").value == 60
    at.button(key="target_apply").click().run()
    assert not at.exception
    assert at.query_params["overrides"]
    plan = Plan.from_json(at.session_state["_plan"])
    space = cache.workspace("lenet5", "digits")
    assert cache.report(plan, space).sparsity_masked == pytest.approx(0.6, abs=0.01)
    shown = {metric.label: metric.value for metric in at.metric}
    now = value_text(cache.accuracy(plan, space).value, space.dataset.task)
    assert shown["Accuracy together · measured"] == now
    removed = percent(cache.report(plan, space).sparsity_model)
    assert shown["Weights removed · computed"] == removed, "the number that Explore shows"
    certain = change(cache.dense_accuracy(plan, space), cache.accuracy(plan, space)).certain
    assert at.metric[0].proto.color == (Metric.RED if certain else Metric.GRAY)
    share = total_ratio(cache.prunable(plan, space)[0], dict(plan.overrides))
    uniform = cache.accuracy(replace(plan, overrides=(), sparsity=share), space).value
    values = f"{value_text(uniform, space.dataset.task)} → {now}"
    assert f"**Uniform → these ratios**, at the same sparsity: {values}" in text(at)
    assert any("Not used now: every layer's ratio" in words.value for words in at.sidebar.caption)
    assert at.button(key="back_to_allocation").label == "Back to Uniform"
    at.button(key="target_reset").click().run()
    assert "overrides" not in at.query_params


def test_the_way_from_curves_to_ratios_is_a_choice(after_scan: AppTest) -> None:
    at = after_scan
    found = {}
    for how in SENSITIVITY_RULES:
        at.selectbox(key="ratios_how").set_value(how).run()
        assert not at.exception
        assert any(SENSITIVITY_RULES[how].help in caption.value for caption in at.caption)
        at.button(key="target_apply").click().run()
        found[how] = dict(Plan.from_json(at.session_state["_plan"]).overrides)
    assert len({tuple(ratios.values()) for ratios in found.values()}) == len(SENSITIVITY_RULES)
    at.selectbox(key="ratios_of").set_value("macs").run()
    assert not at.button(key="target_apply").disabled


def test_the_rules_are_measured_together_and_the_best_ratios_applied(
    after_scan: AppTest, until: Until
) -> None:
    at = after_scan
    at.button(key="together_start").click()
    until(at.run(), measured_together)
    table = at.dataframe[-1].value
    assert {"Uniform", "Global", "Least loss in sum"} <= set(table["Ratios by"])
    assert list(table["Loss"]) == sorted(table["Loss"])
    assert at.selectbox(key="ratios_how").value == "corrected"
    assert f"Measured together on 359 probe images: **{table['Accuracy'][0]}**" in text(at)
    at.button(key="target_apply").click()
    at.run()
    assert at.button(key="together_apply").disabled
    assert at.button(key="together_start").disabled
    plan = Plan.from_json(at.session_state["_plan"])
    space = cache.workspace(plan.model, plan.dataset)
    assert cache.accuracy(plan, space).loss == pytest.approx(table["Loss"][0])
    at.slider(key="target").set_value(90).run()
    assert at.selectbox(key="ratios_how").value == "least_loss"


def test_a_rule_says_where_its_accuracy_is_that_of_chance() -> None:
    plan = Plan(model="lenet5", probe=64)
    space = cache.workspace("lenet5", "digits")
    good = Joint("uniform", {}, cache.dense_accuracy(plan, space))
    lost = Joint("uniform", {}, cache.accuracy(replace(plan, sparsity=0.99), space))
    assert not at_chance(good, 10)
    assert at_chance(lost, 10)


@pytest.mark.usefixtures("after_scan")
def test_the_target_starts_at_the_plans_sparsity(open_view: Open) -> None:
    started = [
        open_view("sensitivity", sparsity=share).slider(key="target").value
        for share in ("0.72", "0.999", "0")
    ]
    assert started == [72, 95, 5]


def test_a_target_beyond_the_curves_is_one_sentence(open_view: Open, until: Until) -> None:
    at = open_view("sensitivity", grid="Own choice")
    at.multiselect(key="grid_values").set_value([20]).run()
    at.button(key="scan_start").click().run()
    until(at, scanned)
    at.slider(key="target").set_value(90).run()
    assert not at.exception
    assert "the target is 90.0%" in at.error[0].value


def test_ratios_keep_to_the_limits(after_scan: AppTest) -> None:
    at = after_scan
    at.slider(key="bounds").set_value((50, 70))
    at.number_input(key="multiple").set_value(8)
    assert "Limits are set" not in text(at)
    at.slider(key="target").set_value(60).run()
    assert (
        "Limits are set: remove 50% to 70% of each layer, keep groups in multiples of 8."
        in text(at)
    )
    at.button(key="target_apply").click().run()
    assert not at.exception
    ratios = dict(Plan.from_json(at.session_state["_plan"]).overrides)
    layers = {layer.name: layer.numel for layer in cache.workspace("lenet5", "digits").layers}
    stay = {name: layers[name] - round(ratio * layers[name]) for name, ratio in ratios.items()}
    assert all(count % 8 == 0 for count in stay.values()), stay
    assert all(0.5 <= 1 - count / layers[name] <= 0.7 for name, count in stay.items())
    at.slider(key="target").set_value(90).run()
    assert "widen the limits" in at.error[0].value


def test_a_preview_estimates_the_curves_and_ranks_nothing(open_view: Open, until: Until) -> None:
    at = open_view("sensitivity")
    at.button(key="preview_start").click().run()
    until(at, lambda at: "Previewed 5 layers" in text(at))
    last = cache.jobs().snapshots("test session id", "scan")[0].events[-1]
    assert isinstance(last, Preview)
    assert last.evaluations <= round(0.1 * last.full_evaluations)
    assert f"Estimated from {last.evaluations:,} of {last.full_evaluations:,} evaluations" in text(
        at
    )
    assert "should lie inside the band at 90% of points or more" in text(at)
    shown = {trace["name"] for trace in curves(at, "preview_curves")}
    layers = {layer.name for layer in cache.workspace("lenet5", "digits").layers}
    assert layers <= shown
    assert len({f"{name} band" for name in layers} & shown) == 3, "of the steepest curves"
    assert "need a full scan" in text(at)
    assert not [
        widget for widget in (*at.select_slider, *at.slider) if widget.key in ("slice", "target")
    ]
    at.button(key="scan_start").click().run()
    until(at, scanned)
    assert "Estimated from" not in text(at)
    assert at.button(key="preview_start").disabled, "all that it could estimate is measured"
    assert at.button(key="scan_start").label == "Scan again"
    at.selectbox(key="criterion").set_value("random").run()
    assert not at.button(key="preview_start").disabled


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("scan", ("was stopped",)),
        (
            "preview",
            ("The preview was stopped after 10 evaluations (2.5% of the full scan's)", "(2.5%)"),
        ),
    ],
)
def test_what_was_measured_before_a_stop_is_kept(
    open_view: Open,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    words: tuple[str, ...],
) -> None:
    def endless(asked: scanning.ScanRequest, space: object) -> Iterator[object]:
        assert asked.preview is (kind == "preview")
        layer = asked.layers[0]
        band = Band(layer, "fine", 0.0, 0.0, 0.9, (0.9, 0.9), 10, 10, in_full="It looks.")
        point = SensitivityPoint(
            layer, "fine", 0.0, 0.0, 0.1, 0.9, 100, (0.8, 0.95), in_full="It looks."
        )
        yield Preview((band,), 10, 400, 0.02, 0.1) if asked.preview else point
        while True:
            time.sleep(0.01)
            yield None

    monkeypatch.setattr("explorer.pages.sensitivity.form.scan_events", endless)
    at = open_view("sensitivity")
    at.button(key=f"{kind}_start").click().run()
    until(at, lambda at: bool(at.get("plotly_chart")))
    assert at.button(key=f"{kind}_start").disabled
    at.button(key="scan_stop").click().run()
    until(at, lambda at: all(each in text(at) for each in words))
    assert curves(at, {"scan": "sensitivity_curves", "preview": "preview_curves"}[kind])
    assert at.button(key="scan_start").label == {"scan": "Scan again", "preview": "Scan"}[kind]
    assert not at.button(key="scan_start").disabled
    assert "Every point took a full forward pass: It looks." in text(at)


def test_no_sparsity_chosen_leaves_nothing_to_scan(open_view: Open) -> None:
    at = open_view("sensitivity", grid="Own choice")
    at.multiselect(key="grid_values").set_value([]).run()
    assert at.button(key="scan_start").disabled
    assert at.button(key="preview_start").disabled


def test_layers_that_cannot_be_cut_are_named_not_ranked(open_view: Open, until: Until) -> None:
    at = open_view("sensitivity", granularity="2:4")
    assert "has a fixed ratio" in text(at)
    at.button(key="scan_start").click().run()
    until(at, scanned)
    assert any("not prunable here" in expander.label for expander in at.expander)
    assert "there is no ratio to choose" in text(at)


def test_a_failed_scan_is_one_sentence(
    open_view: Open, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "explorer.pages.sensitivity.form.scan_events", lambda asked, space: iter([1 / 0])
    )
    at = open_view("sensitivity")
    at.button(key="scan_start").click().run()
    until(at, lambda at: bool(at.error))
    assert "The scan failed: It failed unexpectedly (ZeroDivisionError)" in at.error[0].value
    assert not at.button(key="scan_start").disabled


def test_filters_of_tied_layers_are_cut_together_and_no_ops_are_not_ranked(
    open_view: Open, until: Until
) -> None:
    at = open_view(
        "sensitivity", model="mobilenet", granularity="filter", probe="32", grid="Own choice"
    )
    at.multiselect(key="grid_values").set_value([50]).run()
    assert at.toggle(key="tied").value is True
    assert "11 layers in 6 parts × 1 sparsities: at most 7 measurements" in text(at)
    at.button(key="scan_start").click().run()
    until(at, scanned)
    assert "pruned together and share a curve" in text(at)
    assert {"stem.conv.weight + 1 tied", "pair5.pointwise.conv.weight"} <= names(at)
    assert "pruned with pair1.depthwise.conv.weight" in at.dataframe[-1].value["Note"].tolist()
    assert "masks stay per layer" in text(at)
    at.toggle(key="tied").set_value(False).run()
    assert "11 layers × 1 sparsities: at most 12 measurements" in text(at)
    at.button(key="scan_start").click().run()
    until(at, lambda at: scanned(at) and "stem.conv.weight" in names(at))
    assert "share a curve" not in text(at)


def test_layers_that_lose_nothing_are_named_with_the_reason(open_view: Open, until: Until) -> None:
    at = open_view("sensitivity", model="vit", granularity="filter", probe="32", grid="Own choice")
    at.multiselect(key="grid_values").set_value([50]).run()
    at.button(key="scan_start").click().run()
    until(at, scanned)
    assert "not ranked: blocks.0.attention.in_proj_weight, blocks.1" in text(at)
    assert "use head granularity" in text(at)
    events = cache.jobs().snapshots("test session id", "scan")[0].events
    lost, _ = scanning.accuracy_lost_alone(of_kind(SensitivityPoint, events))
    assert "blocks.0.attention.in_proj_weight" not in lost
    assert "blocks.0.mlp.fc1.weight" in lost


def point(name: str, sparsity: float, achieved: float, top1: float) -> SensitivityPoint:
    return SensitivityPoint(name, "fine", sparsity, achieved, 0.0, top1, 10, (0.0, 1.0))


def test_accuracy_alone_is_read_linearly_between_points() -> None:
    curve = (point("a", 0.0, 0.0, 1.0), point("a", 0.5, 0.5, 0.8), point("a", 0.9, 0.9, 0.0))
    assert scanning.accuracy_alone(curve, 0.25) == pytest.approx(0.9)
    assert scanning.accuracy_alone(curve, 0.7) == pytest.approx(0.4)
    assert scanning.accuracy_alone(curve, 1.0) == 0.0


def test_rounded_ratios_remove_exactly_the_groups_meant() -> None:
    groups = {"a": 48_000, "b": 16}
    assert scanning.rounded({"a": 12_344 / 48_000}) == {"a": 0.257}
    found = scanning.rounded({"a": 12_344 / 48_000, "b": 11 / 16}, groups)
    assert {name: round(ratio * groups[name]) for name, ratio in found.items()} == {
        "a": 12_344,
        "b": 11,
    }


def test_untouched_layers_are_those_that_lost_nothing_where_something_was_asked() -> None:
    points = [
        point("a", 0.0, 0.0, 1.0),
        point("a", 0.5, 0.0, 1.0),
        point("b", 0.0, 0.0, 1.0),
        point("b", 0.5, 0.5, 1.0),
    ]
    assert scanning.unprunable_layers([*points, point("c", 0.0, 0.0, 1.0)]) == ("a",)


def test_a_note_names_one_partner_and_counts_the_others() -> None:
    """More names would be cut off in the table."""
    curve = [replace(point("b", 0.5, 0.5, 1.0), group=("a", "b", "c", "d"))]
    assert partners(curve) == "pruned with a and 2 more"
    assert partners([replace(curve[0], group=("a", "b"))]) == "pruned with a"
    assert partners([point("b", 0.5, 0.5, 1.0)]) == ""
