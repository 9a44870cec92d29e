"""The main job as a person does it: from the first look to masks that plain PyTorch code loads."""

import io
import re
import runpy
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

import torch
from playwright.sync_api import Page, expect
from safetensors.torch import load as load_safetensors
from torch.nn.utils import prune

from explorer.texts.formats import percent
from pruning_core.zoo import load_data, load_model
from tests.browser.app_page import card, go, metric, no_traceback, pick, slide
from tests.browser.conftest import LONG, Console, OpenPage, settled, shot


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
    page.wait_for_url(re.compile(r"sparsity=0\.55(&|$)"))
    settled(page)
    expect(page.get_by_text("55% of the prunable weights")).to_be_visible()
    expect(card(page, "Accuracy")).not_to_have_text(before)
    macs = metric(page, "MACs left")
    pick(page, "granularity", shape)
    expect(card(page, "MACs left")).not_to_have_text(
        macs
    )  # two cuts may get equally many images right
    expect(page.get_by_test_id("stMetric").filter(has_text="Weights removed")).to_contain_text(
        "55%"
    )


def look_another_way(page: Page) -> tuple[object, ...]:
    """The lab shows its mask alone, closer; the map's first fold is open."""
    page.locator(".lab .shows span[data-words=mask]").click()
    page.locator(".lab [data-do=in]").click()
    page.locator(".net-map .fold").first.click()
    return looks(page)


def looks(page: Page) -> tuple[object, ...]:
    """What the lab shows, its zoom, and the map's boxes."""
    page.locator(".lab[data-drawn]").wait_for()
    page.locator(".net-map[data-drawn]").wait_for()
    return (
        page.locator(".lab [name=show]:checked").get_attribute("value"),
        page.locator(".lab").evaluate("({ lab }) => lab.stage.view.zoom"),
        page.locator(".net-map [role=option]").evaluate_all("all => all.map(e => e.dataset.id)"),
    )


def scan(page: Page) -> None:
    """Curves, their CSV, and ratios per layer taken from them."""
    pick(page, "grid", "Quick")
    page.locator(".st-key-scan_start").get_by_role("button").click()
    apply = page.locator(".st-key-target_apply").get_by_role("button")
    expect(apply).to_be_enabled(timeout=LONG)
    settled(page)
    with page.expect_download() as csv:
        page.locator(".st-key-scan_csv").get_by_role("button").click()
    assert Path(csv.value.path()).read_text().startswith("parameter,granularity,sparsity,loss,top1")
    apply.click()
    page.wait_for_url(re.compile("overrides="))
    settled(page)


def tune(page: Page) -> None:
    """One epoch, and the comparison of before and after."""
    epochs = page.locator(".st-key-tune_epochs input")
    epochs.fill("1")
    epochs.press("Enter")
    page.wait_for_url(re.compile("fine_tune=epochs(~|%7E)1(&|$)"))
    settled(page)
    page.locator(".st-key-tune_start").get_by_role("button").click()
    page.locator(".st-key-comparison_bars").wait_for(timeout=LONG)
    settled(page)


def export(page: Page, model: str, folder: Path) -> None:
    """Plain code and the exported script both find the accuracy that the page shows."""
    page.get_by_text("Fine-tuned network", exact=True).wait_for()
    line = page.get_by_text(re.compile(r"^accuracy [01]\.\d{6} \(")).inner_text().strip()
    expect(card(page, "Accuracy")).to_have_text(percent(float(line.split()[1])))
    with page.expect_download() as download:
        page.locator(".st-key-export_zip").get_by_role("button").click()
    files = zipfile.ZipFile(download.value.path())
    assert f"{plain_accuracy(model, files):.6f}" == line.split()[1]
    files.extractall(folder)
    with redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(str(folder / "load_masks.py"), run_name="__main__")
    assert printed.getvalue().strip() == line


def test_the_main_job(keep_page: OpenPage, console: Console, tmp_path: Path) -> None:
    model = "vit"
    page = keep_page("?model=lenet5&sparsity=0.5")
    explore(page, "ViT", "Attention head")
    looked = look_another_way(page)
    assert looked[:2] == ("mask", 1.5)
    shot(page, f"journey-{model}-explore")
    go(page, "Sensitivity")
    scan(page)
    shot(page, f"journey-{model}-sensitivity")
    go(page, "Fine-tune & compare")
    tune(page)
    shot(page, f"journey-{model}-compare")
    go(page, "Export")
    export(page, model, tmp_path)
    shot(page, f"journey-{model}-export")
    go(page, "Explore")
    assert looks(page) == looked
    no_traceback(page, console)
