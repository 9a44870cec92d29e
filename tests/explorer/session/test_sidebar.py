"""The side bar: each widget sets a field of the plan; a note says what cannot be used."""

from dataclasses import replace

import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer.session import cache, network_form
from pruning_core.plan import Plan
from pruning_core.workspaces import open_workspace
from pruning_core.zoo.checkpoints import Card
from tests.explorer.driven import opened, plan, run, side_bar


def script() -> None:
    import streamlit as st

    from explorer.session import state
    from pruning_core.plan import Plan
    from tests.explorer.driven import side_bar

    side_bar()
    unknown = Plan(model="resnet2000", dataset="tea leaves", sparsity=0.7)
    st.button("unknown", key="unknown", on_click=state.set_plan, args=(unknown,))


def started(**address: str) -> AppTest:
    return opened(script, {"model": "lenet5"} | address)


def captions(at: AppTest) -> str:
    return "\n".join(caption.value for caption in at.caption)


def notes(at: AppTest) -> list[str]:
    return [text.value for text in at.text[1:]]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("criterion", "taylor"),
        ("allocation", "global"),
        ("granularity", "row"),
        ("schedule", "agp"),
        ("model", "lenet_300_100"),
    ],
)
def test_each_select_box_sets_its_field(field: str, value: str) -> None:
    at = started()
    at.selectbox(key=field).set_value(value)
    assert getattr(plan(run(at)), field) == value
    assert at.query_params[field] == value


def test_sliders_and_numbers_set_their_fields() -> None:
    at = started()
    at.slider(key="sparsity").set_value(83)
    at.number_input(key="seed").set_value(9)
    at.select_slider(key="probe").set_value(128)
    at.toggle(key="allow_collapse").set_value(True)
    new = plan(run(at))
    assert (new.sparsity, new.seed, new.probe, new.allow_collapse) == (0.83, 9, 128, True)


def test_a_sparse_network_has_a_check_box_to_keep_its_zeros(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not started().checkbox
    space = open_workspace("lenet5", "digits")
    half = {layer.name: torch.arange(layer.numel) % 2 == 0 for layer in space.layers}
    masks = {layer.name: half[layer.name].view(layer.shape) for layer in space.layers}
    sparse = replace(space, start_masks=masks)
    monkeypatch.setattr(cache, "workspace", lambda *_: sparse)
    at = started(sparsity="0.3")
    assert "50.0% of the prunable weights are zero" in captions(at)
    at.checkbox(key="start").set_value(True)
    assert plan(run(at)).start == "zeros"
    assert at.query_params["start"] == "zeros"
    assert "stay removed, more than the target of 30.0%" in captions(at)
    assert started(start="zeros").checkbox(key="start").value
    at.checkbox(key="start").set_value(False)
    assert plan(run(at)).start == "dense"


def test_every_widget_has_help() -> None:
    at = started(granularity="1:4", schedule="iterative:4", model="vgg")
    for kind in ("selectbox", "slider", "number_input", "select_slider", "toggle"):
        assert all(widget.proto.help for widget in getattr(at, kind)), kind


def test_help_of_an_axis_contains_formula_and_source() -> None:
    text = started(allocation="lamp").selectbox(key="allocation").proto.help
    assert "s_u^2" in text
    assert "arXiv:2010.07611" in text


def test_n_of_m_disables_the_slider_and_says_why() -> None:
    at = started(model="vgg", sparsity="0.3")
    at.selectbox(key="granularity").set_value("n_of_m")
    run(at)
    assert plan(at).granularity == "2:4"
    assert at.slider(key="sparsity").disabled
    assert at.slider(key="sparsity").value == 50
    assert "2:4 removes 50% of every layer" in captions(at)
    at.number_input(key="m").set_value(8)
    run(at)
    assert plan(at).granularity == "2:8"
    assert at.slider(key="sparsity").value == 75
    at.selectbox(key="granularity").set_value("fine")
    run(at)
    assert plan(at).sparsity == 0.3
    assert at.slider(key="sparsity").value == 30


def test_the_sizes_of_a_block_set_the_granularity() -> None:
    at = started(model="vgg", granularity="block:4x4")
    at.number_input(key="q").set_value(8)
    assert plan(run(at)).granularity == "block:4x8"


def test_impossible_sizes_add_a_note_and_change_nothing() -> None:
    at = started(model="vgg", granularity="2:4")
    at.number_input(key="n").set_value(4)
    run(at)
    assert any("N must be at least 1 and below M" in note for note in notes(at))
    assert plan(at).granularity == "2:4"
    assert at.number_input(key="n").value == 2


def test_the_allocation_manual_disables_the_slider() -> None:
    at = started(allocation="manual")
    assert at.slider(key="sparsity").disabled
    assert "Manual" in captions(at)


def test_what_the_network_cannot_use_is_marked_with_a_reason() -> None:
    at = started()
    assert "Attention head · unusable" in at.selectbox(key="granularity").options
    longest = max(at.selectbox(key="granularity").options, key=len)
    assert len(longest) <= 30, "longer ones are cut off"
    assert "BN scale · unusable" in at.selectbox(key="criterion").options
    assert "Random" in at.selectbox(key="criterion").options
    at.selectbox(key="granularity").set_value("row")
    at.selectbox(key="criterion").set_value("fpgm")
    run(at)
    assert "FPGM (geometric median) · unusable" in at.selectbox(key="criterion").options
    assert "cannot rank the groups of Row in" in captions(at)
    at.selectbox(key="criterion").set_value("wanda")
    run(at)
    assert "passes: 1 forward" in at.selectbox(key="criterion").help
    at.selectbox(key="granularity").set_value("head")
    run(at)
    assert "No layer of this network can be pruned at this granularity" in captions(at)
    assert "not part of an attention layer" in captions(at)


def test_marks_depend_on_the_network() -> None:
    at = started(granularity="head")
    at.selectbox(key="model").set_value("vit")
    run(at)
    assert plan(at) == Plan(model="vit", granularity="head")
    assert "Attention head" in at.selectbox(key="granularity").options
    assert at.selectbox(key="granularity").value == "head"


def test_only_images_that_the_network_was_trained_on_are_offered() -> None:
    assert set(started().selectbox(key="dataset").options) == {"Digits"}
    at = started(model="resnet18", dataset="imagenette")
    assert at.selectbox(key="dataset").options[0] == "Imagenette"


def test_a_damaged_model_card_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_form, "card", lambda *names: Card.from_json("[]"))
    assert "A model card is damaged" in captions(started(dataset="digits"))


def test_a_pair_without_a_checkpoint_says_how_to_make_one() -> None:
    at = started(dataset="cifar10")
    assert at.text[0].value == "closed"
    assert any(
        "python -m pruning_core train lenet5 --dataset cifar10" in note for note in notes(at)
    )
    at.selectbox(key="dataset").set_value("digits")
    assert run(at).text[0].value == "open"


def test_ratios_of_unknown_layers_are_dropped_and_unused_ones_kept() -> None:
    at = started(
        overrides="nosuch.weight~0.5~conv1.weight~0.25~fc3.weight~0.1",
        granularity="filter",
        layer="nowhere",
    )
    assert plan(at).overrides == (("conv1.weight", 0.25),)
    assert any("no layer 'nosuch.weight'" in note for note in notes(at))
    assert any("no layer 'nowhere'" in note for note in notes(at))
    assert any("fc3.weight is not used" in note and "remove a class" in note for note in notes(at))
    assert at.query_params["overrides"] == "conv1.weight~0.25~fc3.weight~0.1"
    assert "layer" not in at.query_params


def test_wrong_values_in_the_address_leave_a_working_side_bar() -> None:
    at = started(sparsity="-3", criterion="best", granularity="block:0x0")
    assert plan(at) == Plan(model="lenet5")
    assert len(notes(at)) == 3
    at.slider(key="sparsity").set_value(40)
    run(at)
    assert notes(at) == []
    assert plan(at).sparsity == 0.4


def test_a_plan_of_unknown_names_is_shown_with_the_defaults() -> None:
    at = started()
    at.button(key="unknown").click()
    run(at)
    assert plan(at) == Plan(sparsity=0.7)
    assert any("no model 'resnet2000'" in note for note in notes(at)), notes(at)
    assert any("no dataset 'tea leaves'" in note for note in notes(at)), notes(at)


def test_a_probe_cannot_have_more_images_than_there_are() -> None:
    at = started(probe="5000")
    assert at.select_slider(key="probe").options[-1] == "359"
    assert at.select_slider(key="probe").value == 359
    assert plan(at).probe == 5000


LENET = ("conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight", "fc3.weight")


def test_the_slider_is_disabled_when_every_layer_is_set_by_hand() -> None:
    at = started(sparsity="0.91", overrides="~".join(f"{name}~0.5" for name in LENET))
    assert at.slider(key="sparsity").disabled
    assert at.slider(key="sparsity").value == 50
    assert "Together they request 50%, so this slider has no effect" in captions(at)
    assert plan(at).sparsity == 0.91
    at = started(sparsity="0.91", overrides="~".join(f"{name}~0.5" for name in LENET[1:]))
    assert not at.slider(key="sparsity").disabled
    assert at.slider(key="sparsity").value == 91


def test_a_layer_that_cannot_be_pruned_needs_no_ratio_to_disable_the_slider() -> None:
    at = started(granularity="filter", overrides="~".join(f"{name}~0.5" for name in LENET[:-1]))
    assert at.slider(key="sparsity").disabled


def test_a_sparsity_below_100_percent_is_never_shown_as_100_percent() -> None:
    at = started(sparsity="0.999")
    assert at.slider(key="sparsity").value == 99
    assert "The plan requests 99.9%" in captions(at)
    assert plan(at).sparsity == 0.999
    assert started(sparsity="1").slider(key="sparsity").value == 100


def test_ratios_of_every_layer_say_what_decides_and_lead_back_to_the_allocation() -> None:
    names = ("conv1", "conv2", "fc1", "fc2", "fc3")
    at = started(overrides="~".join(f"{name}.weight~0.5" for name in names))
    assert at.slider(key="sparsity").disabled
    assert any("Not used now: every layer's ratio" in text.value for text in at.caption)
    assert at.button(key="back_to_allocation").label == "Back to Uniform"
    at.button(key="back_to_allocation").click()
    at.run()
    assert not at.exception
    assert not at.slider(key="sparsity").disabled
    assert "overrides" not in at.query_params


FIELDS = ("granularity", "criterion", "allocation", "sparsity", "schedule", "seed")
IGNORED = {
    ("explore", "movement"): (),
    ("finetune", "movement"): (),
    ("sensitivity", "rounds"): ("schedule",),
    ("search", "rounds"): ("allocation", "sparsity", "schedule"),
    ("methods", "rounds"): ("granularity", "criterion", "sparsity", "seed"),
    ("flows", "rounds"): (),
    ("flows", "movement"): ("criterion", "schedule"),
    ("flows", "magnitude_quantile"): ("granularity", "criterion", "allocation", "schedule"),
}
"""Page and flow -> the choices that it does not use."""


def test_a_choice_that_the_page_or_its_flow_ignores_is_disabled_and_says_why() -> None:
    wrong = []
    address = {"model": "lenet5", "sparsity": "0.7", "criterion": "taylor", "schedule": "agp:4"}
    for (view, flow), ignored in IGNORED.items():
        at = opened(side_bar, address | {"flow": flow}, view)
        widgets = [*at.selectbox, *at.slider, *at.number_input]
        disabled = {widget.key for widget in widgets if widget.disabled} & {*FIELDS}
        reasons = captions(at).count("Not used") + captions(at).count("This flow prunes single")
        kept = plan(at)
        values = (kept.sparsity, kept.criterion, kept.schedule) == (0.7, "taylor", "agp:4")
        if not (disabled == {*ignored} and reasons == len(ignored) and values):
            wrong.append((view, flow, disabled, reasons, kept))
    assert not wrong


def test_a_criterion_that_keeps_a_flow_from_running_can_be_changed() -> None:
    address = {"model": "lenet5", "criterion": "bn_scale", "flow": "movement"}
    assert not opened(side_bar, address, "flows").selectbox(key="criterion").disabled


def test_the_switch_of_tied_layers_is_in_the_address() -> None:
    at = started(granularity="filter")
    at.toggle(key="same_channels").set_value(True)
    assert run(at).query_params["same_channels"] == "1"
    assert plan(at).tied
