"""Scan, ratios from its curves, fine-tuning and export, one after the other, on one plan.

Networks of somebody else: tests/browser/test_third_party.py.
"""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import streamlit as st
from streamlit.testing.v1 import AppTest

from explorer.pages.export import page as export
from explorer.session import cache
from pruning_core.plan import Plan
from pruning_core.types import Finished
from tests.explorer.driven import run, text
from tests.third_party import run_script

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]
LAYER = "conv2.weight"


def csv(at: AppTest) -> str:
    """What the page's only download button gives."""
    with patch.object(st, "download_button") as button:
        run(at)
    content: str = button.call_args.args[1]()
    return content


def printed(at: AppTest, folder: Path) -> str:
    """What the script among the page's downloads prints."""
    plan = Plan.from_json(at.session_state["_plan"])
    space = cache.workspace(plan.model, plan.dataset)
    done = cache.jobs().snapshots("test session id", "train")[0].result
    assert isinstance(done, Finished)
    with zipfile.ZipFile(io.BytesIO(export.subject_of(plan, space, done).files.zip())) as archive:
        archive.extractall(folder)
    return run_script(folder)


def test_the_main_job(open_view: Open, until: Until, tmp_path: Path) -> None:
    chosen = {"model": "lenet5", "granularity": "kernel", "sparsity": "0.55"}
    chosen["fine_tune"] = "epochs~1~batch_size~12~lr~0.01"
    at = open_view("sensitivity", **chosen, grid="Quick")
    at.button(key="scan_start").click().run()
    until(at, lambda at: "Scanned" in text(at))
    head, *points = csv(at).splitlines()
    assert head.startswith("parameter,granularity,sparsity,loss,top1")
    assert any(point.startswith(f"{LAYER},") for point in points)
    at.button(key="target_apply").click()
    chosen["overrides"] = run(at).query_params["overrides"]
    at = open_view("finetune", **chosen)
    at.button(key="tune_start").click().run()
    until(at, lambda at: ": finished in" in text(at))
    assert not at.error
    at = open_view("export", **chosen)
    assert LAYER in dict(Plan.from_json(at.session_state["_plan"]).overrides)
    assert "1 epoch after each pruning step" in text(at)
    assert "weights.safetensors" in at.main.code[1].value
    line = printed(at, tmp_path)
    assert line == at.main.code[2].value
    assert line.startswith("accuracy ")
