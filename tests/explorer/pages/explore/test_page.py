"""The Explore page: moving anything changes everything that depends on it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.proto.Metric_pb2 import Metric
from streamlit.testing.v1 import AppTest

from explorer.components.mask_lab import Edit
from explorer.session import cache
from explorer.texts.formats import interval
from pruning_core.evaluation.accuracy import Judge
from pruning_core.pipeline import choose_masks, masked_copy, probe_split, pruned_copy
from pruning_core.plan import Plan
from pruning_core.tasks import change
from pruning_core.workspaces import Workspace
from tests.explorer.driven import opened, page, run, text, unfolded
from tests.explorer.pages.explore.sent import layer_html, layer_table, part, rows
from tests.explorer.weights import weights_hash

APP = Path(__file__).resolve().parents[4] / "explorer" / "script" / "visit.py"
PLAN = Plan(model="lenet5")


def started(**address: str) -> AppTest:
    return opened(page, {"model": "lenet5"} | address, "explore")


@pytest.fixture(scope="module")
def space() -> Workspace:
    return cache.workspace("lenet5", "digits")


def numbers(at: AppTest) -> dict[str, str]:
    return {metric.label.split(" · ")[0]: metric.value for metric in at.metric}


def lab(at: AppTest) -> dict[str, Any]:
    """What the mask lab receives: ratio and edits."""
    return json.loads(part(at, "pruning_mask_lab").json)


def drawn(at: AppTest) -> dict[str, Any]:
    """The head of the layer that the mask lab draws."""
    data = part(at, "pruning_mask_feed").bytes[8:]  # after the data's number
    return json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])


def kept_share(at: AppTest) -> float:
    """Kept weights of the layer, as its table of numbers says."""
    kept, total = (
        int(part.replace(",", ""))
        for part in re.findall(r"([\d,]+) of ([\d,]+) \(", layer_html(at))[0]
    )
    return kept / total


def test_the_real_app_starts_with_a_story() -> None:
    at = AppTest.from_file(str(APP), default_timeout=90)
    run(at)
    assert not at.error
    assert not at.warning
    assert len(at.metric) == 4
    assert at.selectbox(key="model").value == "resnet20"
    assert numbers(at)["Weights removed"] == "19.9%"
    assert "20% of the prunable weights" in [caption.value for caption in at.caption]
    assert not at.get("plotly_chart"), "its code takes seconds to load"
    assert drawn(at)["name"] == "layer1.0.conv1.weight"


def test_the_numbers_are_the_cores(space: Workspace) -> None:
    at = started(sparsity="0.6")
    plan = replace(PLAN, sparsity=0.6)
    found = cache.accuracy(plan, space)
    dense = cache.dense_accuracy(plan, space)
    report = cache.report(plan, space)
    assert numbers(at)["Accuracy"] == f"{100 * found.value:.1f}%"
    assert at.metric[0].delta == f"{100 * (found.value - dense.value):+.1f} points"
    low, high = (100 * end for end in change(dense, found).interval)
    caption = f"{found.n} probe images; 95%: {interval(found)}; change: {low:+.1f} to {high:+.1f}"
    assert caption in [shown.value for shown in at.caption]
    assert rows(at)["fc1.weight"]["Removed"] == pytest.approx(100 * (1 - report.kept["fc1.weight"]))
    assert at.metric[0].proto.color == Metric.RED
    at.slider(key="sparsity").set_value(5)
    assert run(at).metric[0].proto.color == Metric.GRAY, "the change can be chance"


def test_the_page_gives_the_reason_of_the_side_bar() -> None:
    """Where a criterion cannot rank the groups of a granularity."""
    at = started(model="vgg", granularity="2:4", criterion="bn_scale")
    why = "so it cannot rank the groups of 2:4"
    assert [why in caption.value for caption in at.sidebar.caption].count(True) == 1
    assert why in text(at)


def test_a_teachers_own_lesson_is_shown_as_plain_text_and_made_into_a_link() -> None:
    at = started(sparsity="0.3", lesson_title="*Half* <b>gone</b>", lesson_task="x" * 500)
    assert at.subheader[0].value == r"\*Half\* \<b>gone\</b>"
    assert "x" * 400 in text(at)
    assert "x" * 401 not in text(at)
    unfolded(at, "own_lesson_form")
    at.text_input(key="lesson_question_field").set_value("Why $5?")
    run(at)
    assert at.query_params["lesson_question"] == "Why $5?"
    assert r"Why \$5?" in text(at)
    link = at.code[0].value
    assert "sparsity=0.3" in link
    assert "lesson_question=Why%20%245%3F" in link


def test_the_global_slider_moves_everything() -> None:
    at = started(layer="conv2.weight")
    before = numbers(at), kept_share(at), lab(at)["ratio"]
    at.slider(key="sparsity").set_value(90)
    run(at)
    assert numbers(at)["Weights removed"] == "89%"
    assert "90% of the prunable weights" in [caption.value for caption in at.caption]
    assert all(numbers(at)[name] != before[0][name] for name in before[0])
    assert before[1:] == (pytest.approx(0.5, abs=1e-3), 0.5)
    assert (kept_share(at), lab(at)["ratio"]) == (pytest.approx(0.1, abs=1e-3), 0.9)


def test_a_layers_own_ratio_overrides_and_reset_gives_back() -> None:
    at = started(layer="fc1.weight", overrides="fc1.weight~0.2")
    assert rows(at)["fc1.weight"]["Decided by"] == "you: 20%"
    assert rows(at)["fc2.weight"]["Removed"] == pytest.approx(50, abs=0.1)
    assert "by hand" in at.metric[1].delta
    at.slider(key="sparsity").set_value(70)
    run(at)
    assert (lab(at)["ratio"], rows(at)["fc1.weight"]["Removed"]) == (
        0.2,
        pytest.approx(20, abs=0.1),
    )
    at.button(key="reset").click()
    run(at)
    assert lab(at)["ratio"] == 0.7
    assert "overrides" not in at.query_params


def test_lock_keeps_the_allocations_share() -> None:
    at = started(layer="fc1.weight", allocation="global", sparsity="0.7")
    share = rows(at)["fc1.weight"]["Removed"]
    at.button(key="lock").click()
    run(at)
    assert at.button(key="lock").disabled
    at.slider(key="sparsity").set_value(30)
    run(at)
    assert rows(at)["fc1.weight"]["Removed"] == pytest.approx(share)
    at.button(key="reset_all").click()
    run(at)
    assert rows(at)["fc1.weight"]["Removed"] < share


def test_layer_choice_draws_that_layer_and_is_in_the_address() -> None:
    at = started()
    at.selectbox(key="layer_choice").set_value("fc2.weight")
    run(at)
    assert at.query_params["layer"] == "fc2.weight"
    assert (drawn(at)["name"], drawn(at)["shape"]) == ("fc2.weight", [84, 120, 1, 1])
    assert layer_table(at)["chosen"] == "fc2.weight"


def test_a_layer_that_keeps_a_little_is_not_shown_as_gone() -> None:
    removed = [row["Removed"] for row in rows(started(sparsity="1")).values()]
    assert removed
    assert all(share < 99.95 for share in removed)


def test_a_layer_that_cannot_be_cut_says_why_and_is_all_kept() -> None:
    at = started(granularity="filter", layer="fc3.weight")
    assert drawn(at)["groups"] == 0
    assert any("remove a class" in caption.value for caption in at.caption)
    assert rows(at)["fc3.weight"]["Decided by"] == "output layer"
    assert kept_share(at) == 1


def test_nothing_to_cut_is_a_sentence_and_the_dense_network() -> None:
    at = started(granularity="head")
    assert any(
        "No layer of this network can be pruned by Attention head" in warning.value
        for warning in at.warning
    )
    assert not at.error
    assert numbers(at)["Weights removed"] == "0%"
    assert at.metric[1].delta == "nothing can be pruned"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ({"sparsity": "7"}, "outside"),
        ({"granularity": "kernal"}, "kernal"),
        ({"model": "resnet21"}, "resnet21"),
        ({"dataset": "cifar11"}, "cifar11"),
        ({"model": "lenet_300_100", "granularity": "kernel"}, "1 x 1"),
    ],
)
def test_a_hand_edited_address_is_told_and_the_page_goes_on(
    address: dict[str, str], words: str
) -> None:
    at = started(**address)
    assert any(words in box.value for box in (*at.warning, *at.error, *at.info))
    at.selectbox(key="model").set_value("lenet5")
    assert re.fullmatch(r"[\d.]+%", numbers(run(at))["Accuracy"])


@pytest.mark.parametrize(("n_of_m", "kept"), [("2:4", 2), ("4:8", 4)])
def test_n_of_m_is_cut_or_dense(n_of_m: str, kept: int) -> None:
    address = {"model": "vgg", "granularity": n_of_m, "layer": "block2.conv.weight"}
    at = started(**address)
    assert (drawn(at)["keepOf"], lab(at)["ratio"]) == (kept, 0.5)
    at = started(**address, overrides="block2.conv.weight~0.0")
    assert (lab(at)["ratio"], kept_share(at)) == (0.0, 1)
    assert any(caption.value.startswith("Kept dense by hand.") for caption in at.caption)


@pytest.mark.parametrize(
    ("did", "address"),
    [
        ({"ratio": 0.25}, {"overrides": "conv2.weight~0.25"}),
        ({"edits": (Edit(0, 3, True), Edit(0, 9, False))}, {"edits": "conv2.weight~kernel~k3_p9"}),
        (
            {"ratio": 0.0, "edits": (Edit(0, 9, False),)},
            {"overrides": "conv2.weight~0.0", "edits": "conv2.weight~kernel~p9"},
        ),
        ({"edits": ()}, {}),
    ],
)
def test_what_is_done_in_the_lab_is_in_the_address(
    did: dict[str, Any], address: dict[str, str]
) -> None:
    """Streamlit's test driver cannot press on a component: a button does what the lab's report
    does.
    """

    def script(did: dict) -> None:  # type: ignore[type-arg]
        import streamlit as st

        from explorer.components.mask_lab import Result
        from explorer.pages.explore import layer_panel
        from tests.explorer.driven import page

        st.button("report", on_click=layer_panel._take_over, args=("conv2.weight", Result(**did)))
        page("explore")

    at = opened(script, {"model": "lenet5", "granularity": "kernel", "layer": "conv2.weight"}, did)
    at.button[0].click()
    run(at)
    assert {
        name: at.query_params[name] for name in ("overrides", "edits") if name in at.query_params
    } == address


def test_hand_edits_survive_the_slider_and_wait_for_their_granularity() -> None:
    at = started(granularity="kernel", layer="conv2.weight", edits="conv2.weight~kernel~k3-6_p95")
    assert lab(at)["edits"] == [*([0, group, True] for group in range(3, 7)), [0, 95, False]]
    at.slider(key="sparsity").set_value(100)
    run(at)
    assert rows(at)["conv2.weight"]["Removed"] == pytest.approx(
        100 * (1 - 5 / 96), abs=0.1
    )  # one stays by itself
    assert rows(at)["conv2.weight"]["Decided by"] == "allocation + 5 by hand"
    at.selectbox(key="granularity").set_value("fine")
    run(at)
    assert lab(at)["edits"] == []
    assert any(
        warning.value.startswith("5 hand edits made at another granularity")
        for warning in at.warning
    )
    at.selectbox(key="granularity").set_value("kernel")
    run(at)
    assert len(lab(at)["edits"]) == 5


@pytest.mark.parametrize(
    ("edits", "sentence"),
    [
        (
            "conv2.weight~kernel~k96",
            "1 hand edit of conv2.weight not used: the layer has 1 × 96 groups",
        ),
        ("fc1.weight~kernel~k0", "1 hand edit of fc1.weight not used: fc1.weight"),
        ("nowhere~kernel~k0", "LeNet-5 has no layer 'nowhere'"),
        ("conv2.weight~kernel~x", "is not of the form"),
        ("conv2.weight~kernels~k0", "no granularity 'kernels'"),
    ],
)
def test_edits_that_cannot_be_made_are_told_and_change_nothing(edits: str, sentence: str) -> None:
    at = started(granularity="kernel", layer="conv2.weight", edits=edits)
    assert any(sentence in warning.value for warning in at.warning), [
        warning.value for warning in at.warning
    ]
    assert lab(at)["edits"] == []
    assert kept_share(at) == pytest.approx(0.5)


def test_n_of_m_that_edits_have_changed_is_told() -> None:
    address = {"model": "lenet_300_100", "granularity": "2:4", "layer": "fc2.weight"}
    sentence = "Because of hand edits, 1 scope of this layer does not keep 2:4."
    assert not any(sentence in warning.value for warning in started(**address).warning)
    plan = Plan(model="lenet_300_100", granularity="2:4")
    kept = cache.masks(plan, cache.workspace("lenet_300_100", "digits"))["fc2.weight"].flatten()[:4]
    edit = f"fc2.weight~2:4~{'p' if kept[0] else 'k'}0"
    assert any(sentence in warning.value for warning in started(**address, edits=edit).warning)


def test_another_network_takes_over_no_edits_and_gives_them_back() -> None:
    at = started(granularity="kernel", overrides="conv2.weight~0.6", edits="conv2.weight~kernel~k3")
    at.selectbox(key="model").set_value("mobilenet")
    run(at)
    assert not {"overrides", "edits"} & set(at.query_params)
    at.selectbox(key="model").set_value("lenet5")
    run(at)
    assert (at.query_params["overrides"], at.query_params["edits"]) == (
        "conv2.weight~0.6",
        "conv2.weight~kernel~k3",
    )


def test_kernel_groups_are_drawn_and_counted(space: Workspace) -> None:
    at = started(granularity="kernel", sparsity="0.25", layer="conv2.weight")
    assert "72 of 96" in layer_html(at)
    share = (150 + 2400) / sum(each.numel() for each in space.model.parameters())
    assert f"of the prunable weights, which are {share:.1%} of all" in text(at)
    counts = re.findall(">((?:removed|kept) [^<]+)<", layer_html(at))
    assert counts == ["removed (24)", "kept (72)"]


def test_collapse_is_possible_only_when_asked_for() -> None:
    assert rows(started(sparsity="1.0"))["fc1.weight"]["Removed"] < 100
    assert rows(started(sparsity="1.0", allow_collapse="1"))["fc1.weight"]["Removed"] == 100


def test_two_sessions_never_see_each_others_masks(space: Workspace) -> None:
    before = weights_hash(space)
    first = started(sparsity="0.9", layer="conv2.weight")
    second = started(sparsity="0.1", layer="conv2.weight")
    run(first)
    assert kept_share(first) == pytest.approx(0.1, abs=1e-3)
    assert kept_share(second) == pytest.approx(0.9, abs=1e-3)
    assert numbers(first)["Accuracy"] != numbers(second)["Accuracy"]
    assert weights_hash(space) == before


def test_the_accuracy_as_pruned_and_with_batch_norm_recalibrated_is_above_the_lab() -> None:
    plan = Plan(model="resnet20", granularity="kernel", probe=60, repair="bn")
    address = {"model": "resnet20", "granularity": "kernel", "probe": "60"}
    at = opened(page, address, "explore")
    space = cache.workspace("resnet20", "digits")
    masks = choose_masks(plan, space)[1]
    judge = Judge.of(space.dataset)
    split = probe_split(plan, space)
    pruned = judge.evaluate(masked_copy(plan, space, masks), split).value
    repaired = judge.evaluate(pruned_copy(plan, space, masks), split).value
    (said,) = [text.value for text in at.markdown if "BN recalibrated" in text.value]
    assert f"Accuracy: **{100 * pruned:.1f}%** as pruned" in said
    assert f"**{100 * repaired:.1f}%** BN recalibrated" in said
    assert numbers(at)["Accuracy"] == f"{100 * pruned:.1f}%"
    at.selectbox(key="repair").select("bn")
    run(at)
    assert numbers(at)["Accuracy"] == f"{100 * repaired:.1f}%"
    assert at.query_params["repair"] == "bn"
    lenet = started(repair="bn")
    (only,) = [text.value for text in lenet.markdown if "as pruned" in text.value]
    assert only.startswith(f"Accuracy: **{numbers(lenet)['Accuracy']}** as pruned")
    assert "BN recalibrated" not in only
    assert any("no batch norm, so this repair changes nothing" in t.value for t in lenet.caption)


@pytest.mark.parametrize(
    ("granularity", "layer", "part"),
    [
        ("filter", "blocks.0.mlp.fc2.weight", "A norm averages over its channels"),
        ("filter", "blocks.0.attention.in_proj_weight", "no thinned network is known"),
        ("filter", "blocks.0.mlp.fc1.weight", ""),
        ("fine", "blocks.0.mlp.fc2.weight", ""),
    ],
)
def test_a_layer_says_where_a_thinned_network_would_differ(
    granularity: str, layer: str, part: str
) -> None:
    at = opened(page, {"model": "vit", "granularity": granularity, "layer": layer}, "explore")
    texts = [text.value for text in at.caption if "averages" in text.value or "known" in text.value]
    assert len(texts) == bool(part)
    assert all(part in text for text in texts)
