"""The thinned network on the page Export: built on a click, with its files in the archive."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from streamlit.testing.v1 import AppTest

from explorer.pages.export import thinned as panel
from explorer.pages.export.page import subject_of
from explorer.session import cache
from pruning_core.export import thinned as export
from pruning_core.export.thinned import ThinnedExport
from pruning_core.plan import Plan
from pruning_core.types import PruningError
from tests.explorer.driven import text

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]


def _unwritten(*_: Any) -> bytes:
    raise PruningError("It cannot be written here.")


def test_a_thinned_network_is_built_on_click_and_offered_for_download(
    open_view: Open, until: Until
) -> None:
    at = open_view("export", sparsity="0.2")
    assert panel.WHY_NOT in text(at)
    at = open_view("export", granularity="filter", sparsity="0.5")
    at.segmented_control(key="round_to").set_value(16).run()
    with patch.multiple(export, program_file=_unwritten, onnx_file=_unwritten):
        at.button(key="thin_start").click().run()
        until(at, lambda at: not any(b.key == "thin_stop" for b in at.button))
    (job,) = cache.jobs().snapshots("test session id", panel.JOB)
    made = job.result
    assert isinstance(made, ThinnedExport)
    assert "It cannot be written here." in text(at)
    rows = next(own.value for own in at.dataframe if "Multiply-adds" in own.value)
    assert list(rows["Network"]) == ["Dense", "Thinned", "Thinned, not rounded"]
    parameters = made.thinned.parameters[1]
    assert rows["Parameters"][1].startswith(f"{parameters:,} (")
    assert made.unrounded is not None
    assert parameters > made.unrounded.parameters[1]
    plan = Plan.from_json(at.session_state["_plan"])
    files = subject_of(plan, cache.workspace("lenet5", "digits"), None).files
    archive = zipfile.ZipFile(io.BytesIO(replace(files, thinned=made.files).zip()))
    named = {f"thinned/{name}" for name in ("thinned.safetensors", "kept.json", "MODEL_CARD.md")}
    assert named <= set(archive.namelist())
    at.segmented_control(key="round_to").set_value("Off").run()
    assert any(b.key == "thin_start" for b in at.button)
