"""Networks of one's own in the app: a checkpoint and a zip of images, through the dialog."""

import re
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect

from pruning_core.evaluation.accuracy import evaluate
from pruning_core.workspaces import open_workspace
from pruning_core.zoo.request import VARIABLE
from tests.browser.app_page import card, no_traceback
from tests.browser.conftest import SHOTS_ASKED_FOR, Console, OpenPage, dressed, settled, shot
from tests.core.zoo.uploads.files import flowers, named, network, pt, zipped


def choose(page: Page, key: str, label: str) -> None:
    """Chooses from a select box of the dialog."""
    page.locator(f".st-key-{key}").get_by_role("combobox").click()
    page.get_by_role("option", name=label, exact=True).click()
    settled(page)


def write(page: Page, key: str, text: str) -> None:
    field = page.locator(f".st-key-{key} input")
    field.fill(text)
    field.press("Enter")
    settled(page)


def attach(page: Page, key: str, name: str, content: bytes) -> None:
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.locator(f".st-key-{key} input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    page.locator(f".st-key-{key}").get_by_text(name).wait_for()
    settled(page)


def in_both_lights(page: Page, name: str) -> None:
    """Screenshots, where they are asked for."""
    looks = (("dark", 800), ("light", 800), ("dark", 1440), ("light", 1440))
    for theme, width in looks if SHOTS_ASKED_FOR else ():
        shot(settled(dressed(page, theme, width)), f"{name}-{theme}-{width}")


def open_ones_own(page: Page) -> None:
    page.get_by_role("button", name="Open your own").click()
    page.get_by_role("dialog").wait_for()
    choose(page, "own_architecture", "VGG (batch norm)")
    state = named("module.", network().state_dict())
    attach(page, "own_checkpoint", "best.pt", pt({"state_dict": state, "epoch": torch.tensor(3)}))
    choose(page, "own_normalisation", "Mean 0.5, deviation 0.5: pixels in [-1, 1]")
    choose(page, "own_channels", "3, colour")
    write(page, "own_size", "8")
    page.get_by_text("32 of 32 tensors fit; the head has 3 outputs.").wait_for()
    attach(page, "own_zip", "flowers.zip", zipped(flowers(12)))
    in_both_lights(page, "own-upload")
    page.locator(".st-key-own_submit button").click()
    page.wait_for_url(re.compile("model=vgg%40[0-9a-f]{6}"))
    settled(page)
    expect(page.get_by_role("dialog")).to_have_count(0)
    model, dataset = re.findall(r"(?:model|dataset)=([\w%-]+)", page.url)
    space = open_workspace(model.replace("%40", "@"), dataset.replace("%40", "@"))
    measured = evaluate(space.model, space.dataset.val)
    expect(card(page, "Accuracy")).to_have_text(f"{100 * measured.value:.1f}%")
    in_both_lights(page, "own-upload-opened")


def test_a_checkpoint_and_a_zip_are_opened(
    keep_page: OpenPage, data_folder: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(data_folder))
    page = keep_page("?model=lenet5&sparsity=0.0")
    open_ones_own(page)
    no_traceback(page, console)
