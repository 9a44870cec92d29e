"""A network whose images are missing: the page names the images it can be opened with."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.session import cache
from tests.explorer.driven import run

Open = Callable[..., AppTest]


def buttons(at: AppTest) -> list[str]:
    return [button.label for button in at.main.button]


def test_a_pretrained_network_alone_in_the_address_offers_its_images_and_the_default(
    open_view: Open,
) -> None:
    at = open_view("explore", model="resnet50")
    assert "trained on ImageNet" in at.main.error[0].value
    assert at.main.markdown[0].value == "ResNet-50 can be opened with Imagenette or Image folder."
    assert buttons(at) == [
        "Open ResNet-50 with Imagenette",
        "Open ResNet-50 with Image folder",
        "Back to ResNet-20 on Digits",
    ]
    at.button(key="back_home").click()
    run(at)
    assert "model" not in at.query_params
    assert not at.main.error
    assert at.main.subheader


def test_images_that_are_missing_can_be_tried_again_or_changed(
    open_view: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_IMAGES", str(tmp_path / "nowhere"))
    cache.retry_missing()
    at = open_view("explore", model="resnet50")
    at.button(key="open_imagefolder").click()
    run(at)
    assert "nowhere" in at.main.error[0].value
    assert buttons(at) == [
        "Open ResNet-50 with Imagenette",
        "Try again",
        "Back to ResNet-20 on Digits",
    ]


def test_for_images_without_a_checkpoint_the_page_offers_those_with_one(
    open_view: Open,
) -> None:
    at = open_view("explore", model="lenet5", dataset="fashion_mnist")
    assert "There is no checkpoint" in at.main.error[0].value
    at.button(key="open_digits").click()
    run(at)
    assert not at.main.error
    assert at.query_params["model"] == "lenet5"
