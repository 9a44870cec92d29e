"""Scan, ratios from its curves, fine-tuning and export, one after the other, on one plan."""

from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pruning_core.plan import Plan
from pruning_core.subjects import subject_files
from tests.explorer.driven import run, text
from tests.explorer.pages.test_third_party import names, run_script
from tests.third_party import write_package

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]
JOBS = {
    "lenet5": ({"granularity": "kernel", "sparsity": "0.55"}, "conv2.weight"),
    "pictures": (names("pictures"), "conv.weight"),
}


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The classifier of somebody else."""
    with subject_files([write_package(tmp_path_factory.mktemp("job"), "main_job_third")]):
        yield


def csv(at: AppTest) -> str:
    """What the page's only download button gives."""
    with patch.object(st, "download_button") as button:
        run(at)
    content: str = button.call_args.args[1]()
    return content


@pytest.mark.parametrize("model", JOBS)
def test_the_main_job(
    model: str, open_view: Open, until: Until, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, layer = JOBS[model]
    chosen = {"model": model, "fine_tune": "epochs~1~batch_size~12~lr~0.01"} | own
    at = open_view("sensitivity", **chosen, grid="Quick")
    at.button(key="scan_start").click().run()
    until(at, lambda at: "Scanned" in text(at))
    head, *points = csv(at).splitlines()
    assert head.startswith("parameter,granularity,sparsity,loss,top1")
    assert any(point.startswith(f"{layer},") for point in points)
    at.button(key="target_apply").click()
    chosen["overrides"] = run(at).query_params["overrides"]
    at = open_view("finetune", **chosen)
    at.button(key="tune_start").click().run()
    until(at, lambda at: ": finished in" in text(at))
    assert not at.error
    at = open_view("export", **chosen)
    assert layer in dict(Plan.from_json(at.session_state["_plan"]).overrides)
    assert "1 epoch after each pruning step" in text(at)
    assert "weights.safetensors" in at.main.code[0].value
    line = run_script(at, tmp_path, capsys)
    assert line == at.main.code[1].value
    assert line.startswith("accuracy ")
