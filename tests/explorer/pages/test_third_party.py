"""Networks of somebody else on the pages: scan, prune, fine-tune, export, each by its own value."""

import io
import runpy
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.pages.export import page as export
from explorer.session import cache
from pruning_core.plan import Plan
from pruning_core.subjects import subject_files
from pruning_core.types import Finished
from tests.explorer.driven import text
from tests.third_party import write_package

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]
VALUES = {
    "pictures": "accuracy",
    "looking": "accuracy",
    "scenes": "mean IoU",
    "series": "RMSE",
    "texts": "perplexity",
}


@pytest.fixture(scope="module", autouse=True)
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = write_package(tmp_path_factory.mktemp("pages"), "pages_third", every=True)
    with subject_files([file]):
        yield file


def names(name: str) -> dict[str, str]:
    return {"model": name, "dataset": f"{name}_data", "probe": "10"}


def run_script(at: AppTest, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the script among the page's downloads prints."""
    plan = Plan.from_json(at.session_state["_plan"])
    space = cache.workspace(plan.model, plan.dataset)
    runs = cache.jobs().snapshots("test session id", "train")
    done = runs[0].result if runs else None
    assert done is None or isinstance(done, Finished)
    with zipfile.ZipFile(io.BytesIO(export.subject_of(plan, space, done).files.zip())) as archive:
        archive.extractall(folder)
    capsys.readouterr()
    path = list(sys.path)
    runpy.run_path(str(folder / "load_masks.py"), run_name="__main__")
    sys.path[:] = path
    return capsys.readouterr().out.strip()


def test_the_script_prints_what_the_page_says(
    open_view: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {}
    for name, value in VALUES.items():
        at = open_view("export", **names(name), sparsity="0.4")
        line = run_script(at, tmp_path / name, capsys)
        if line != at.main.code[1].value or not line.startswith(f"{value} "):
            wrong[name] = (line, at.main.code[1].value)
        assert "`python load_masks.py`" in text(at)
        assert not at.error
    assert not wrong


def test_fine_tuning_and_export_by_the_tasks_value(
    open_view: Open, until: Until, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = names("texts") | {"fine_tune": "epochs~1~batch_size~12~lr~0.01"}
    at = open_view("finetune", **chosen)
    at.button(key="tune_start").click().run()
    until(at, lambda at: ": finished in" in text(at))
    assert not at.error
    at = open_view("export", **chosen)
    assert "1 epoch after each pruning step" in text(at)
    assert "weights.safetensors" in at.main.code[0].value
    assert run_script(at, tmp_path, capsys) == at.main.code[1].value


def test_a_scan_of_a_recurrent_network(open_view: Open, until: Until) -> None:
    at = open_view("sensitivity", **names("series"))
    at.button(key="scan_start").click().run()
    until(at, lambda at: "Scanned" in text(at))
    assert not at.error
    assert "gru.weight_hh_l0" in text(at) + str([table.value for table in at.dataframe])
