"""The dialog "Open your own …": what it needs, what it found, and whose lists it changes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer.session.upload_form import NORMALISATIONS, OWN_NUMBERS, PRESET
from pruning_core.plan import Plan
from pruning_core.zoo.uploads import Statement, store_images, store_network, uploads
from tests.core.zoo.uploads.files import TRANSFORM, flowers, named, network, pt, zipped
from tests.explorer.driven import opened, plan, run, side_bar

ME = "test session id"
"""The owner of a page without a browser."""


@pytest.fixture(autouse=True)
def _data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))


def started(**address: str) -> AppTest:
    return opened(side_bar, {"model": "lenet5"} | address)


def dialog(**address: str) -> AppTest:
    at = started(**address)
    at.button(key="own_button").click()
    return run(at)


def words(at: AppTest) -> str:
    elements: list[Any] = [*at.success, *at.warning, *at.error, *at.caption]
    return "\n".join(element.value for element in elements)


def fill(at: AppTest, content: bytes, architecture: str = "vgg", archive: bytes = b"") -> AppTest:
    """Fills all fields; without an archive it takes tiny flowers."""
    at.selectbox(key="own_architecture").set_value(architecture)
    at.file_uploader(key="own_checkpoint").upload("best.pt", content)
    at.file_uploader(key="own_zip").upload("my *flowers*.zip", archive or zipped(flowers()))
    at.selectbox(key="own_normalisation").set_value(OWN_NUMBERS)
    run(at)
    at.selectbox(key="own_channels").set_value(3)
    at.number_input(key="own_size").set_value(8)
    at.text_input(key="own_mean").set_value("0.5, 0.4 0.3")
    at.text_input(key="own_std").set_value("0.2")
    return run(at)


def submit(at: AppTest) -> AppTest:
    at.button(key="own_submit").click()
    return run(at)


def test_a_checkpoint_and_a_zip_become_the_plans_network_and_images() -> None:
    at = dialog(sparsity="0.7")
    assert "Still missing: the architecture, the checkpoint, the input, the images." in words(at)
    assert at.button(key="own_submit").disabled
    fill(at, pt({"state_dict": named("module.", network().state_dict())}))
    assert "32 of 32 tensors fit; the head has 3 outputs." in words(at)
    assert "prefix 'module.' was removed" in words(at)
    assert "Still missing" not in words(at)
    submit(at)
    chosen = plan(at)
    assert (chosen.model[:4], chosen.dataset[:14]) == (
        "vgg@",
        "my-flowers@" + chosen.dataset[11:14],
    )
    assert chosen.sparsity == 0.7
    assert at.text[0].value == "open"
    assert at.query_params["model"] == chosen.model
    assert chosen.model in at.selectbox(key="model").options
    assert at.selectbox(key="dataset").options == [chosen.dataset]
    assert r"my \*flowers" in at.selectbox(key="dataset").proto.help
    assert [each.name for each in uploads(ME)] == sorted((chosen.model, chosen.dataset))
    assert "own_submit" not in [button.key for button in at.button]
    assert opened(side_bar, dict(at.query_params)).text[0].value == "open"  # another session


def test_differences_are_shown_and_an_error_changes_nothing() -> None:
    at = dialog(sparsity="0.7")
    before = plan(at)
    state_dict = network().state_dict() | {"fc.bias": torch.ones(7)}
    fill(at, pt(state_dict))
    assert "31 of 32 tensors fit; the head has 3 outputs. These differ:" in words(at)
    assert at.dataframe[0].value.to_numpy().tolist() == [["fc.bias", "other shape", "7", "3"]]
    submit(at)
    assert "does not fit vgg" in words(at)
    assert "The plan is as it was." in words(at)
    assert plan(at) == before
    at.file_uploader(key="own_checkpoint").upload("best.pt", b"no weights")
    run(at)
    assert "no safetensors, .pt or .npz file" in words(at)
    assert "The plan is as it was." not in words(at)  # it was about the other file


def test_every_upload_that_is_refused_gives_one_sentence() -> None:
    at = dialog()
    fill(at, pt(network().state_dict()), archive=zipped({"a.txt": b""}))
    submit(at)
    assert "The zip file has no images. The plan is as it was." in words(at)
    assert uploads(ME) == []
    at.text_input(key="own_mean").set_value("half")
    run(at)
    assert "Write numbers such as 0.485" in words(at)
    assert "Still missing: the input." in words(at)
    at.text_input(key="own_mean").set_value("0.1 0.2")
    run(at)
    assert "there are 2 and 3" in words(at)


def test_torchvisions_own_transform_is_offered_for_its_networks_only() -> None:
    at = dialog()
    at.selectbox(key="own_architecture").set_value("vgg")
    run(at)
    assert at.selectbox(key="own_normalisation").options == [*NORMALISATIONS, OWN_NUMBERS]
    at.selectbox(key="own_architecture").set_value("resnet18")
    run(at)
    assert at.selectbox(key="own_normalisation").options[0] == PRESET
    at.selectbox(key="own_normalisation").set_value(PRESET)
    run(at)
    assert "the input" not in words(at).partition("Still missing")[2]


def stored(owner: str, masks: bytes | None = None) -> Plan:
    images = store_images(zipped(flowers()), "flowers.zip", owner).name
    asked = Statement("vgg", images, TRANSFORM)
    name = store_network(pt(network().state_dict()), "x.pt", asked, owner, masks).name
    return Plan(model=name, dataset=images)


def test_another_visitors_uploads_are_in_no_list_but_open_by_name() -> None:
    theirs = stored("somebody else")
    at = dialog()
    assert theirs.model not in at.selectbox(key="model").options
    wrong = started(model=theirs.model[:-1] + ("0" if theirs.model[-1] != "0" else "1"))
    assert plan(wrong).model == "resnet20"
    assert theirs.model not in "".join(text.value for text in wrong.text)
    at.text_input(key="own_name").set_value(f" {theirs.model} ")
    at.button(key="own_by_name").click()
    run(at)
    assert (plan(at).model, plan(at).dataset) == (theirs.model, theirs.dataset)
    assert theirs.model not in started().selectbox(key="model").options
    assert stored(ME).model in started().selectbox(key="model").options


def test_masks_are_where_the_plan_starts() -> None:
    keep = torch.ones(64, 32, 3, 3)
    keep[:16] = 0
    name = stored(ME, pt({"block2.conv.weight": keep})).model
    at = dialog()
    at.text_input(key="own_name").set_value(name)
    at.button(key="own_by_name").click()
    run(at)
    assert plan(at).start == "zeros"
    assert at.text[0].value == "open"


def test_an_unknown_name_is_refused() -> None:
    at = dialog()
    at.text_input(key="own_name").set_value("vgg@000000")
    at.button(key="own_by_name").click()
    run(at)
    assert "There is no upload 'vgg@000000' on this machine" in words(at)
    assert plan(at).model == "lenet5"
