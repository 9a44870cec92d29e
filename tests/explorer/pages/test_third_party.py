"""Networks of somebody else: scan, fine-tuning and export, each by the value that Python finds. One
of them in a browser, and Explore: tests/browser/test_third_party.py.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer.pages.sensitivity.run import PRESETS
from explorer.session.url import write
from explorer.texts.formats import value_text
from pruning_core import (
    Finished,
    Plan,
    TrainConfig,
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


def plan_of(name: str) -> Plan:
    tune = TrainConfig(epochs=1, batch_size=12, lr=0.01, optimizer="adamw")
    return Plan(name, f"{name}_data", sparsity=0.4, fine_tune=tune)


def test_explore_says_what_python_finds(open_view: Open) -> None:
    """Of the others: tests/browser/test_third_party.py."""
    plan = plan_of("pictures")
    space = open_workspace(plan.model, plan.dataset)
    _, masks = choose_masks(plan, space)
    data = space.dataset
    measured = Judge.of(data).evaluate(masked_copy(plan, space, masks), data.val, "cpu")
    accuracy = open_view("explore", **write(plan)).metric[0]
    assert accuracy.label.startswith("Accuracy")
    assert accuracy.value == value_text(measured.value, data.task)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("pictures", "accuracy"),
        ("looking", "accuracy"),  # torch.fx cannot trace it
        ("series", "RMSE"),
        ("texts", "perplexity"),
    ],
)
def test_each_page_says_what_python_finds(
    open_view: Open, until: Until, tmp_path: Path, name: str, label: str
) -> None:
    """A network without classes has two charts less after its fine-tuning."""
    plan = plan_of(name)
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
    charts = at.get("plotly_chart")
    (bars,) = (chart for chart in charts if "comparison_bars" in chart.proto.id)
    assert value in bars.proto.spec
    classes = label == "accuracy"
    assert text(at).count("shown for classification only") == (0 if classes else 2)
    at = open_view("export", **address)
    assert at.main.code[2].value == value_line(done.tuned)
    assert value_line(done.tuned).startswith(label)
    assert printed(at, tmp_path) == value_line(done.tuned)
