"""Networks of somebody else in a browser: each is pruned on Explore, and one is scanned, fine-tuned
and exported, by the value that Python finds. The other pages of the others:
tests/explorer/pages/test_third_party.py; by Python and commands:
tests/core/subjects/test_third_party.py.
"""

import zipfile
from pathlib import Path
from urllib.parse import urlencode

import torch
from playwright.sync_api import Page, expect

from explorer.pages.sensitivity.run import PRESETS
from explorer.session.url import write
from explorer.texts.formats import title, value_text
from pruning_core import (
    Finished,
    Plan,
    TrainConfig,
    Workspace,
    choose_masks,
    masked_copy,
    open_workspace,
    prune,
    scan_plan,
)
from pruning_core.evaluation.accuracy import Judge
from pruning_core.export import value_line
from pruning_core.sensitivity.scan import to_csv
from pruning_core.subjects import subject_files
from tests.browser.app_page import card, go, no_traceback, pick
from tests.browser.conftest import LONG, Console, OpenPage, change_address, settled, shot
from tests.third_party import run_script

VALUES = {
    "series": "RMSE",
    "texts": "perplexity",
    "looking": "accuracy",  # torch.fx cannot trace it
    "scenes": "mean IoU",
}
"""Network -> its value. Those beside each other differ in their number of layers."""
EVERY_PAGE = "scenes"
"""The network that is taken to the other pages as well."""
TUNE = TrainConfig(epochs=1, batch_size=12, lr=0.01, optimizer="adamw")


def address(plan: Plan) -> str:
    return f"/?{urlencode(write(plan))}"


def pruned_on_explore(page: Page, plan: Plan, space: Workspace) -> None:
    _, masks = choose_masks(plan, space)
    data = space.dataset
    measured = Judge.of(data).evaluate(masked_copy(plan, space, masks), data.val, "cpu")
    assert measured.task.value_label == VALUES[plan.model]
    expect(card(page, title(measured.task))).to_have_text(value_text(measured.value, data.task))


def scanned(page: Page, plan: Plan, space: Workspace) -> None:
    """The table is Python's."""
    go(page, "Sensitivity")
    pick(page, "grid", "Quick")
    page.locator(".st-key-scan_start").get_by_role("button").click()
    page.get_by_text(f"Scanned {len(space.layers)} layers").wait_for(timeout=LONG)
    settled(page)
    with page.expect_download() as download:
        page.locator(".st-key-scan_csv").get_by_role("button").click()
    grid = [share / 100 for share in PRESETS["Quick"]]
    points = list(scan_plan(plan, space, grid, device=torch.device("cpu")))
    assert Path(download.value.path()).read_bytes() == to_csv(points).encode()


def tuned(page: Page, plan: Plan, space: Workspace) -> str:
    """The bar has Python's value. Gives the line of the script."""
    *_, done = prune(plan, space, torch.device("cpu"))
    assert isinstance(done, Finished)
    assert done.tuned
    go(page, "Fine-tune & compare")
    page.locator(".st-key-tune_start").get_by_role("button").click()
    value = value_text(done.tuned.value, space.dataset.task)
    bars = page.locator(".st-key-comparison_bars")
    bars.get_by_text(value).first.wait_for(timeout=LONG)
    settled(page)
    expect(page.get_by_text("shown for classification only")).to_have_count(2)
    return value_line(done.tuned)


def exported(page: Page, line: str, folder: Path) -> None:
    """The script prints what the page says, without our package."""
    go(page, "Export")
    page.get_by_text(line, exact=True).wait_for()
    with page.expect_download() as download:
        page.locator(".st-key-export_zip").get_by_role("button").click()
    zipfile.ZipFile(download.value.path()).extractall(folder)
    assert run_script(folder) == line


def test_networks_of_somebody_else(
    keep_page: OpenPage, console: Console, third_party: Path, tmp_path: Path
) -> None:
    plans = [Plan(name, f"{name}_data", sparsity=0.4, fine_tune=TUNE) for name in VALUES]
    page = keep_page(address(plans[0]))
    with subject_files([third_party]):
        for plan in plans:
            name = plan.model
            if plan is not plans[0]:
                change_address(page, address(plan))
            space = open_workspace(plan.model, plan.dataset)
            pruned_on_explore(page, plan, space)
            shot(page, f"third-{name}-explore")
            if name == EVERY_PAGE:
                scanned(page, plan, space)
                shot(page, f"third-{name}-sensitivity")
                line = tuned(page, plan, space)
                shot(page, f"third-{name}-compare")
                exported(page, line, tmp_path / name)
                shot(page, f"third-{name}-export")
            no_traceback(page, console)
