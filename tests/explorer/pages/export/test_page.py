"""The page Export: its files hold the plan's result; the script prints the accuracy of the page."""

import io
import json
import runpy
import sys
import zipfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from streamlit.testing.v1 import AppTest

from explorer.pages.export import page as export
from explorer.pages.export.downloads import NAMES, Files
from explorer.session import cache
from explorer.texts.formats import percent, value_text
from pruning_core.compress.sparse_file import read_sparse
from pruning_core.export import DENSE, script_or_reason, thinned, value_line
from pruning_core.pipeline import choose_masks
from pruning_core.plan import Plan
from pruning_core.subjects import subject_files
from pruning_core.tasks import CLASSIFICATION
from pruning_core.types import DataMissing, Finished, PruningError
from pruning_core.workspaces import Workspace, open_workspace
from pruning_core.zoo import Progress
from tests.core.export.scripts import printed_here
from tests.explorer.driven import text
from tests.third_party import write_package

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]


def files_shown(at: AppTest, *, tuned: bool = False) -> Files:
    """The files of the page's download buttons."""
    plan = Plan.from_json(at.session_state["_plan"])
    space = cache.workspace("lenet5", "digits")
    done = cache.jobs().snapshots("test session id", "train")[0].result if tuned else None
    assert done is None or isinstance(done, Finished)
    return export.subject_of(plan, space, done).files


def printed(files: Files, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the downloaded script prints.

    It runs in this process; in `tests/core/export/test_load_script.py` it runs in a new one.
    """
    with zipfile.ZipFile(io.BytesIO(files.zip())) as archive:
        archive.extractall(folder)
    capsys.readouterr()
    runpy.run_path(str(folder / "load_masks.py"), run_name="__main__")
    return capsys.readouterr().out.strip()


def metric(at: AppTest, label: str) -> str:
    return next(metric.value for metric in at.metric if metric.label == label)


@pytest.mark.parametrize(
    "address",
    [{"sparsity": "0.7"}, {"granularity": "filter", "sparsity": "0.3", "allocation": "global"}],
)
def test_the_downloaded_script_prints_the_accuracy_of_the_page(
    open_view: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str], address: dict[str, str]
) -> None:
    at = open_view("export", **address)
    line = printed(files_shown(at), tmp_path, capsys)
    _snippet, script, expected = at.main.code
    assert line == expected.value
    assert value_text(float(line.split()[1]), CLASSIFICATION) == metric(at, "Accuracy · measured")
    assert "Run `python load_masks.py`" in text(at)
    assert script.value.strip() == (tmp_path / "load_masks.py").read_text().strip()


def test_the_snippet_puts_weights_and_masks_into_a_network_of_ones_own(
    open_view: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_view("export", sparsity="0.7")
    files = files_shown(at)
    for name in ("weights.safetensors", "masks.safetensors"):
        (tmp_path / name).write_bytes(files.make(name))
    monkeypatch.chdir(tmp_path)
    own = deepcopy(cache.workspace("lenet5", "digits").model)
    names: dict[str, Any] = {"model": own}
    exec(at.main.code[0].value, names)
    pruned = load(files.make("weights.safetensors"))
    assert all(torch.equal(tensor, pruned[name]) for name, tensor in own.state_dict().items())
    for parameter in own.parameters():
        parameter.data.add_(1)
    names["hold"]()
    masks = load(files.make("masks.safetensors"))
    assert all(not own.get_parameter(name).data[~mask].any() for name, mask in masks.items())
    assert all(own.get_parameter(name).data[mask].any() for name, mask in masks.items())


def test_the_fine_tuned_network_is_offered_for_its_own_plan_only(
    open_view: Open, until: Until, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = open_view("finetune", sparsity="0.8", fine_tune="epochs~1~batch_size~32")
    at.button(key="tune_start").click().run()
    until(at, lambda at: ": finished in" in text(at))
    at = open_view("export", sparsity="0.8", fine_tune="epochs~1~batch_size~32")
    assert "1 epoch after each pruning step" in text(at)
    line = printed(files_shown(at, tuned=True), tmp_path, capsys)
    assert line == at.main.code[2].value
    assert percent(float(line.split()[1])) == metric(at, "Accuracy · measured")
    base = open_view(
        "export", sparsity="0.8", fine_tune="epochs~1~batch_size~32", export_weights=export.BASE
    )
    assert metric(base, "Accuracy · measured") != metric(at, "Accuracy · measured")
    other = open_view("export", sparsity="0.7", fine_tune="epochs~1~batch_size~32")
    assert "No run of exactly this plan has finished" in text(other)


def test_a_flow_without_a_run_exports_the_masks_of_the_side_bar(open_view: Open) -> None:
    at = open_view("export", flow="rigl", sparsity="0.8")
    assert "Start one on the page *Flows*" in text(at)
    assert "These masks are not the flow's" in at.main.info[0].value
    assert not open_view("export", sparsity="0.8").main.info


def test_the_title_of_a_flows_result_names_the_flow(open_view: Open, until: Until) -> None:
    address = {
        "flow": "seven_pre:steps=5",
        "sparsity": "0.8",
        "fine_tune": "epochs~1~batch_size~128",
    }
    at = open_view("flows", **address)
    at.button(key="flow_start").click().run()
    until(at, lambda at: ": finished in" in text(at))
    title = next(
        element.value
        for element in open_view("export", **address).main.markdown
        if "requested" in element.value
    )
    assert "by the flow's own score" in title
    assert "SEVEN before fine-tuning (steps=5): its own schedule, not the plan's" in title


def test_all_mask_files_hold_the_same_masks_and_the_plan(open_view: Open) -> None:
    at = open_view("export", granularity="kernel", sparsity="0.6")
    files = files_shown(at)
    plan = Plan.from_json(at.session_state["_plan"])
    masks = load(files.make("masks.safetensors"))
    loaded = torch.load(io.BytesIO(files.make("masks.pt")), weights_only=True)
    archive = np.load(io.BytesIO(files.make("masks.npz")))
    weights = load(files.make("weights.safetensors"))
    assert masks.keys() == loaded.keys() == set(archive.files) - {"plan"}
    for name, mask in masks.items():
        assert torch.equal(mask, loaded[name])
        assert np.array_equal(mask.numpy(), archive[name])
        assert not weights[name][~mask].any()
    restored = read_sparse(files.make("sparse.safetensors"))
    assert restored.keys() == weights.keys()
    assert all(torch.equal(restored[name], tensor) for name, tensor in weights.items())
    assert Plan.from_json(files.make("plan.json").decode()) == plan
    assert Plan.from_json(str(archive["plan"])) == plan


def test_the_scripts_of_an_agreement_subject_run_from_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The targets are the dense network's answers: each script opens that network too."""
    file = write_package(tmp_path / "own", "answers_package")
    own = file.read_text().strip().partition("\n\n")[0].replace("[pictures]", "[answers]")
    (tmp_path / "own" / "answers.toml").write_text(f'{own}\ntask = "agreement"\n')
    monkeypatch.setattr(thinned, "program_file", lambda *_: b"")
    monkeypatch.setattr(thinned, "onnx_file", lambda *_: b"")
    with subject_files([tmp_path / "own" / "answers.toml"]):
        plan = Plan("answers", "answers_data", granularity="filter", sparsity=0.4)
        space = open_workspace(plan.model, plan.dataset)
        masks = choose_masks(plan, space)[1]
        *_, made = thinned.export_thinned(plan, space, masks)
        assert isinstance(made, thinned.ThinnedExport)
        script = script_or_reason(plan, space, tuned=False)
        files = Files(plan, space, masks, None, *script, thinned=made.files)
        with zipfile.ZipFile(io.BytesIO(files.zip())) as archive:
            archive.extractall(tmp_path)
        line = value_line(made.measured["thinned"])
    assert line.startswith("agreement with the dense network 0.")
    assert printed_here(tmp_path) == line
    assert printed_here(tmp_path / "thinned", "build_thinned.py") == line


def test_the_archive_holds_every_file(open_view: Open) -> None:
    files = files_shown(open_view("export"))
    with zipfile.ZipFile(io.BytesIO(files.zip())) as archive:
        assert set(NAMES) == set(export.PURPOSE)
        assert set(archive.namelist()) == set(NAMES) - {DENSE}
        assert all(
            archive.read(name) == files.make(name) for name in ("plan.json", "load_masks.py")
        )


def test_a_network_without_a_script_keeps_its_other_files(
    open_view: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = replace(cache.workspace("lenet5", "digits"), name="mine", lines=None)
    monkeypatch.setattr(cache, "workspace", lambda *_: space)
    at = open_view("export")
    assert not at.main.error
    assert "There is no script for mine" in at.main.info[0].value
    assert metric(at, "Accuracy · measured")
    assert "The script prints:" not in text(at)
    files = files_shown(at)
    with zipfile.ZipFile(io.BytesIO(files.zip())) as archive:
        assert set(archive.namelist()) == set(NAMES) - {"load_masks.py", DENSE}


def test_requested_and_achieved_sparsity_are_both_shown(open_view: Open) -> None:
    at = open_view("export", sparsity="0.7")
    removed = next(metric for metric in at.metric if metric.label == "Weights removed · computed")
    assert removed.value == "69.2%"
    assert removed.delta == "70% requested"


def test_ratios_set_by_hand_are_the_requested_sparsity(open_view: Open) -> None:
    names = ("conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight", "fc3.weight")
    at = open_view("export", sparsity="0.91", overrides="~".join(f"{name}~0.5" for name in names))
    removed = next(metric for metric in at.metric if metric.label == "Weights removed · computed")
    assert removed.delta == "50% requested by hand"
    assert "5 layers' ratios set by hand, 50% requested in total" in text(at)
    assert "91%" not in text(at)


def test_an_uploaded_plan_becomes_the_plan(open_view: Open) -> None:
    at = open_view("export")
    plan = Plan(model="lenet5", granularity="filter", sparsity=0.3, schedule="agp:3", seed=5)
    at.file_uploader(key="plan_upload").upload("mine.json", plan.to_json().encode()).run()
    assert not at.exception
    assert Plan.from_json(at.session_state["_plan"]) == plan
    assert "The plan of mine.json was set" in at.main.success[0].value
    assert at.query_params["granularity"] == "filter"
    at.slider(key="sparsity").set_value(60).run()
    assert Plan.from_json(at.session_state["_plan"]).sparsity == 0.6


BAD = {
    "no JSON": b"{nonsense",
    "no text": b"\xff\xfe\x00",
    "no object": b"[1, 2]",
    "unknown key": json.dumps({"sparsty": 0.5}).encode(),
    "wrong type": json.dumps({"sparsity": "much"}).encode(),
    "out of range": json.dumps({"sparsity": 2}).encode(),
    "unknown network": json.dumps({"model": "alexnet5"}).encode(),
    "unknown images": json.dumps({"dataset": "cats"}).encode(),
    "untrained pair": json.dumps({"model": "lenet5", "dataset": "mnist"}).encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_a_bad_plan_is_one_sentence_and_changes_nothing(open_view: Open, content: bytes) -> None:
    at = open_view("export", sparsity="0.7")
    before = at.session_state["_plan"]
    at.file_uploader(key="plan_upload").upload("plan.json", content).run()
    assert not at.exception
    assert at.session_state["_plan"] == before
    assert at.main.error[0].value.endswith("Nothing was changed.")
    assert metric(at, "Accuracy · measured")


def test_a_plan_whose_images_cannot_be_opened_changes_nothing(
    open_view: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_view("export", sparsity="0.7")
    before = at.session_state["_plan"]
    opened = cache.workspace

    def missing(model: str, dataset: str, progress: Progress | None = None) -> Workspace:
        if dataset == "imagenette":
            raise DataMissing("Imagenette is not here: put train/CLASS/*.png into a folder.")
        return opened(model, dataset, progress)

    monkeypatch.setattr(cache, "workspace", missing)
    plan = Plan(model="resnet18", dataset="imagenette").to_json().encode()
    at.file_uploader(key="plan_upload").upload("plan.json", plan).run()
    assert not at.exception
    assert at.session_state["_plan"] == before
    assert (
        at.main.error[0].value
        == "Imagenette is not here: put train/CLASS/\\*.png into a folder. Nothing was changed."
    )
    assert metric(at, "Accuracy · measured")


def test_a_plan_with_a_layer_of_another_network_gets_a_warning(open_view: Open) -> None:
    at = open_view("export")
    at.file_uploader(key="plan_upload").upload(
        "plan.json", b'{"model": "lenet5", "overrides": {"ghost.weight": 0.5}}'
    ).run()
    assert not at.exception
    assert any("ghost.weight" in warning.value for warning in at.warning)
    assert at.main.success[0].value.endswith("Uniform, 50% requested.")


def test_reading_a_plan_that_is_not_text_is_refused() -> None:
    with pytest.raises(PruningError, match="not text"):
        export.read_plan(b"\xff\xfe")


def test_a_plan_whose_criterion_is_code_is_refused_and_its_module_never_imported() -> None:
    with pytest.raises(PruningError, match=r"antigravity:geohash.*which the pages never run"):
        export.read_plan(Plan(criterion="antigravity:geohash").to_json().encode())
    assert "antigravity" not in sys.modules


def test_a_network_without_prunable_layers_is_one_sentence(open_view: Open) -> None:
    at = open_view("export", model="lenet_300_100", granularity="kernel")
    assert not at.exception
    assert len(at.main.error) == 1
