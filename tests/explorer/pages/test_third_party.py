"""Networks of somebody else that are classifiers as the built-in ones are: scan, fine-tuning and
export, each by the value that Python finds. In a browser, and others: tests/browser.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer.pages.sensitivity.run import PRESETS
from explorer.session.url import write
from explorer.texts.formats import value_text
from pruning_core import Finished, Plan, TrainConfig, open_workspace, prune, scan_plan
from pruning_core.export import value_line
from pruning_core.sensitivity.scan import to_csv
from pruning_core.subjects import subject_files
from tests.explorer.driven import text
from tests.explorer.pages.test_main_job import csv, printed
from tests.third_party import write_package

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]


@pytest.fixture(scope="module", autouse=True)
def _file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    file = write_package(tmp_path_factory.mktemp("third"), "pages_of_others", every=True)
    with subject_files([file]):
        yield


@pytest.mark.parametrize("name", ["pictures", "looking"])
def test_each_page_says_what_python_finds(
    open_view: Open, until: Until, tmp_path: Path, name: str
) -> None:
    """torch.fx cannot trace the second one."""
    tune = TrainConfig(epochs=1, batch_size=12, lr=0.01, optimizer="adamw")
    plan = Plan(name, f"{name}_data", sparsity=0.4, fine_tune=tune)
    address = dict(write(plan))
    space = open_workspace(plan.model, plan.dataset)
    at = open_view("sensitivity", **address, grid="Quick")
    at.button(key="scan_start").click().run()
    until(at, lambda at: f"Scanned {len(space.layers)} layers" in text(at))
    grid = [share / 100 for share in PRESETS["Quick"]]
    assert csv(at) == to_csv(list(scan_plan(plan, space, grid, device=torch.device("cpu"))))
    *_, done = prune(plan, space, torch.device("cpu"))
    assert isinstance(done, Finished)
    assert done.tuned
    at = open_view("finetune", **address)
    at.button(key="tune_start").click().run()
    until(at, lambda at: ": finished in" in text(at))
    value = value_text(done.tuned.value, space.dataset.task)
    assert any(value in chart.proto.spec for chart in at.get("plotly_chart"))
    assert "shown for classification only" not in text(at)
    at = open_view("export", **address)
    assert at.main.code[2].value == value_line(done.tuned)
    assert printed(at, tmp_path) == value_line(done.tuned)
