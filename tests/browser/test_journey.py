"""The main job as a person does it: from the first look to masks that plain PyTorch code loads."""

import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect
from safetensors.torch import load as load_safetensors
from torch.nn.utils import prune

from explorer.text import percent
from pruning_core.zoo import load_data, load_model
from tests.browser.conftest import ROOT, Console, settled, shot

JOURNEYS = [
    pytest.param("resnet20", "ResNet-20", "Kernel", id="resnet20"),
    pytest.param("vit", "ViT", "Attention head", id="vit"),
]
LONG = 180_000
OpenPage = Callable[..., Page]


def pick(page: Page, key: str, label: str) -> None:
    """Chooses from a select box, as with the mouse."""
    page.locator(f".st-key-{key}").get_by_role("combobox").click()
    page.get_by_role("option", name=label, exact=True).click()
    settled(page)


def slide(page: Page, key: str, presses: int) -> None:
    """Moves a slider with the arrow keys, until the address says so: the browser reports a move only a while after it."""
    before = page.url
    thumb = page.locator(f".st-key-{key}").get_by_role("slider")
    goal = int(thumb.input_value()) + presses
    for _ in range(200):  # a slider that is drawn anew is there twice for a moment, and loses the focus
        expect(thumb).to_have_count(1)
        if (left := goal - int(thumb.input_value())) == 0:
            break
        thumb.focus()
        page.keyboard.press("ArrowRight" if left > 0 else "ArrowLeft")
    expect(page).not_to_have_url(before, timeout=LONG)
    settled(page)


def go(page: Page, title: str) -> None:
    """To another page; a narrow window keeps the last ones in a menu, and shows neither for a moment."""
    link, menu = page.get_by_role("link", name=title), page.get_by_test_id("stTopNavSection")
    expect(link.or_(menu).first).to_be_visible(timeout=LONG)
    page.wait_for_timeout(500)
    if link.count():
        link.click()
    else:
        menu.click()
        page.get_by_role("menuitem", name=title).click()
    settled(page)


def metric(page: Page, label: str) -> str:
    """The value of the number card with that label."""
    card = page.get_by_test_id("stMetric").filter(has_text=label)
    return card.get_by_test_id("stMetricValue").inner_text()


def no_traceback(page: Page, console: Console) -> None:
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert console == []


def plain_accuracy(model_name: str, files: zipfile.ZipFile) -> float:
    """Plain PyTorch: weights, then masks by custom_from_mask, then argmax over the test images."""
    data = load_data("digits")
    model = load_model(model_name, "digits", data=data)
    model.load_state_dict(load_safetensors(files.read("weights.safetensors")))
    masks = torch.load(io.BytesIO(files.read("masks.pt")), weights_only=True)
    for name, mask in masks.items():
        path, _, parameter = name.rpartition(".")
        prune.custom_from_mask(model.get_submodule(path), parameter, mask)
        assert not getattr(model.get_submodule(path), parameter)[~mask].any()
    with torch.inference_mode():
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in data.test.batches(256))
    return right / len(data.test)


def explore(page: Page, label: str, shape: str) -> None:
    """Every choice moves the measured accuracy."""
    pick(page, "model", label)
    before = metric(page, "Accuracy")
    slide(page, "sparsity", 5)
    expect(page).to_have_url(re.compile(r"sparsity=0\.55(&|$)"), timeout=LONG)
    settled(page)
    assert metric(page, "Weights removed") == "55%"
    fine = metric(page, "Accuracy")
    assert fine != before
    macs = metric(page, "MACs left")
    pick(page, "granularity", shape)
    assert metric(page, "MACs left") != macs  # two cuts may get equally many images right
    assert "55%" in page.get_by_test_id("stMetric").filter(has_text="Weights removed").inner_text()


def scan(page: Page) -> None:
    """Curves, their CSV, and ratios per layer taken from them."""
    page.locator(".st-key-scan_start").get_by_role("button").click()
    apply = page.locator(".st-key-target_apply").get_by_role("button")
    expect(apply).to_be_enabled(timeout=LONG)
    settled(page)
    with page.expect_download() as csv:
        page.locator(".st-key-scan_csv").get_by_role("button").click()
    assert Path(csv.value.path()).read_text().startswith("parameter,granularity,sparsity,loss,top1")
    apply.click()
    settled(page)
    assert "overrides=" in page.url


def export(page: Page, model: str, folder: Path) -> None:
    """Plain code and the exported script both find the accuracy that the page shows."""
    expect(page.get_by_text("Fine-tuned network", exact=True)).to_be_visible()
    line = page.get_by_text(re.compile(r"^accuracy [01]\.\d{6} \(")).inner_text().strip()
    assert percent(float(line.split()[1])) == metric(page, "Accuracy")
    with page.expect_download() as download:
        page.locator(".st-key-export_zip").get_by_role("button").click()
    files = zipfile.ZipFile(download.value.path())
    assert f"{plain_accuracy(model, files):.6f}" == line.split()[1]
    files.extractall(folder)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, folder / "load_masks.py"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout.strip() == line


@pytest.mark.parametrize(("model", "label", "shape"), JOURNEYS)
def test_the_main_job(model: str, label: str, shape: str, page: Page, console: Console, tmp_path: Path) -> None:
    explore(page, label, shape)
    shot(page, f"journey-{model}-explore")
    go(page, "Sensitivity")
    scan(page)
    shot(page, f"journey-{model}-sensitivity")
    go(page, "Fine-tune & compare")
    page.locator(".st-key-tune_start").get_by_role("button").click()
    expect(page.locator(".st-key-comparison_bars")).to_be_visible(timeout=LONG)
    settled(page)
    shot(page, f"journey-{model}-compare")
    go(page, "Export")
    export(page, model, tmp_path)
    shot(page, f"journey-{model}-export")
    no_traceback(page, console)


def test_a_copied_link_opens_the_same_view_in_another_browser(open_page: OpenPage) -> None:
    first = open_page()
    pick(first, "model", "LeNet-5")
    pick(first, "granularity", "Filter")
    slide(first, "sparsity", -20)
    expect(first).to_have_url(re.compile(r"sparsity=0\.3(&|$)"), timeout=LONG)
    settled(first)
    first.locator(".lab .slider input").press("ArrowRight")
    expect(first).to_have_url(re.compile("overrides="), timeout=LONG)
    settled(first)
    assert "model=lenet5" in first.url
    second = open_page(first.url.split("/", 3)[3])
    for label in ("Accuracy", "Weights removed", "Parameters left", "MACs left"):
        assert metric(second, label) == metric(first, label)
    for part in (".asked", ".counts"):
        assert second.locator(f".lab {part}").inner_text() == first.locator(f".lab {part}").inner_text()


def test_two_sessions_never_see_each_other(open_page: OpenPage) -> None:
    first, second = open_page("?model=lenet5&sparsity=0.9"), open_page("?model=lenet5&sparsity=0.2")
    low, high = metric(first, "Parameters left"), metric(second, "Parameters left")
    assert low != high
    slide(first, "sparsity", -5)
    assert metric(second, "Parameters left") == high
    second.reload()
    assert metric(settled(second), "Parameters left") == high


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("?sparsity=7", "outside"),
        ("?granularity=kernal", "kernal"),
        ("?model=resnet21", "resnet21"),
        ("?dataset=cifar11", "cifar11"),
        ("?model=lenet_300_100&granularity=kernel", "1 x 1"),
    ],
)
def test_a_hand_edited_address_is_told_and_the_app_goes_on(
    open_page: OpenPage, console: Console, address: str, words: str
) -> None:
    page = open_page(address)
    expect(page.get_by_text(re.compile(re.escape(words))).first).to_be_visible()
    no_traceback(page, console)
    pick(page, "model", "LeNet-5")
    assert re.fullmatch(r"[\d.]+%", metric(page, "Accuracy"))


def test_a_run_can_be_stopped_while_other_widgets_are_touched(page: Page, console: Console) -> None:
    go(page, "Fine-tune & compare")
    epochs = page.locator(".st-key-tune_epochs input")
    epochs.fill("200")
    epochs.press("Enter")
    settled(page)
    page.locator(".st-key-tune_start").get_by_role("button").click()
    stop = page.locator(".st-key-tune_stop").get_by_role("button")
    expect(stop).to_be_visible(timeout=LONG)
    page.locator(".st-key-sparsity").get_by_role("slider").press("ArrowRight")
    go(page, "Explore")
    go(page, "Fine-tune & compare")
    expect(stop).to_be_visible()
    stop.click()
    expect(page.get_by_text("The run was stopped")).to_be_visible(timeout=LONG)
    no_traceback(page, console)


@pytest.mark.parametrize("title", ["Explore", "Sensitivity", "Fine-tune & compare", "Export"])
@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 800)])
def test_no_page_is_wider_than_its_window(open_page: OpenPage, console: Console, title: str, theme: str, width: int) -> None:
    page = open_page(theme=theme, width=width)
    if title != "Explore":
        go(page, title)
    main = page.get_by_test_id("stMain")
    assert main.evaluate("node => node.scrollWidth <= node.clientWidth + 1")
    shot(page, f"{title.split()[0].lower()}-{theme}-{width}")
    no_traceback(page, console)


def test_a_reload_finds_the_run_again_and_another_browser_does_not(open_page: OpenPage) -> None:
    page = open_page("finetune?model=lenet5&fine_tune=epochs~200~batch_size~16")
    page.locator(".st-key-tune_start").get_by_role("button").click()
    stop = page.locator(".st-key-tune_stop").get_by_role("button")
    expect(stop).to_be_visible(timeout=LONG)
    page.reload()
    expect(stop).to_be_visible(timeout=LONG)
    reopened = page.context.new_page()
    reopened.goto(page.url)
    page.close()
    stop = reopened.locator(".st-key-tune_stop").get_by_role("button")
    expect(stop).to_be_visible(timeout=LONG)
    other = open_page("finetune?" + reopened.url.partition("?")[2])
    expect(other.get_by_text("No run yet")).to_be_visible(timeout=LONG)
    stop.click()
    expect(reopened.get_by_text("The run was stopped")).to_be_visible(timeout=LONG)
    expect(other.get_by_text("No run yet")).to_be_visible()
    expect(other.get_by_test_id("stException")).to_have_count(0)
