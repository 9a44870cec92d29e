"""`pruning thin`: its files open in the programs that read them, and give the masked outputs."""

import io
import json
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from pruning_core.cli.main import main
from pruning_core.evaluation.accuracy import Judge
from pruning_core.export import (
    masks_by_parameter,
    masks_safetensors,
    value_line,
    weights_safetensors,
)
from pruning_core.export import programs as programs_module
from pruning_core.model.model_io import input_tensors
from pruning_core.pipeline import choose_masks, final_test_split, masked_copy
from pruning_core.plan import Plan
from pruning_core.workspaces import batch_of, open_workspace
from tests.core.export.scripts import printed_here

PLAN = Plan(model="lenet5", dataset="digits", granularity="filter", sparsity=0.4)
DENSE_LAYERS = replace(PLAN, model="lenet_300_100")


def test_every_file_of_a_thinned_network_gives_the_masked_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.json").write_text(DENSE_LAYERS.to_json(), encoding="utf-8")
    out = tmp_path / "out"
    assert main(["thin", str(tmp_path / "plan.json"), "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {path.name for path in out.iterdir()} == set(result["files"])
    assert result["left_out"] == []
    before, after = result["parameters"]
    assert after < 0.75 * before
    space = open_workspace(DENSE_LAYERS.model, DENSE_LAYERS.dataset)
    masked = masked_copy(DENSE_LAYERS, space, choose_masks(DENSE_LAYERS, space)[1])
    (x,) = input_tensors(batch_of(space, 3))
    with torch.no_grad():
        wanted = masked(x)
        program = torch.export.load(io.BytesIO((out / "thinned.pt2").read_bytes()))
        exported = program.module()(x)
    session = onnxruntime.InferenceSession(out / "thinned.onnx")
    (name,) = [entry.name for entry in session.get_inputs()]
    (answered,) = session.run(None, {name: x.numpy()})
    for given in (exported, torch.from_numpy(answered)):
        assert float((given - wanted).abs().max() / wanted.abs().max()) < 1e-5
    state = load_file(out / "thinned.safetensors")
    kept = json.loads((out / "kept.json").read_text(encoding="utf-8"))["kept"]
    assert sum(state[name].numel() for name, _ in space.model.named_parameters()) == after
    dense = space.model.state_dict()
    for tensor, axes in kept.items():
        own = dense[tensor]
        for axis, positions in axes.items():
            own = own.index_select(int(axis), torch.tensor(positions))
        assert own.shape == state[tensor].shape
    assert f"{after:,} of {before:,} parameters" in (out / "MODEL_CARD.md").read_text()
    split = final_test_split(DENSE_LAYERS, space)
    line = value_line(Judge.of(space.dataset).evaluate(masked, split, "cpu"))
    assert printed_here(out, "build_thinned.py") == line


def test_a_finished_run_is_thinned_with_rounding_and_without_the_packages_of_onnx(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs_module, "find_spec", lambda name: None)
    (tmp_path / "plan.json").write_text(PLAN.to_json(), encoding="utf-8")
    space = open_workspace(PLAN.model, PLAN.dataset)
    masks = choose_masks(PLAN, space)[1]
    trained = masked_copy(PLAN, space, masks)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(0.5)
    run = tmp_path / "run"
    run.mkdir()
    by_parameter = masks_by_parameter(masks, space.layers, {})
    (run / "masks.safetensors").write_bytes(masks_safetensors(by_parameter, PLAN))
    (run / "weights.safetensors").write_bytes(weights_safetensors(trained))
    command = ["thin", str(tmp_path / "plan.json"), "--out", str(tmp_path / "out"), "--run"]
    assert main([*command, str(run), "--round-to", "8"]) == 0
    printed = capsys.readouterr()
    assert "conv2.weight" not in printed.out  # 10 kept channels become all 16
    assert "outputs 120 -> 72 " in printed.out
    assert "thinned, not rounded top-1 " in printed.out
    assert "There is no ONNX file: onnx, onnxscript and onnxruntime are missing." in printed.err
    assert not (tmp_path / "out" / "thinned.onnx").exists()
    state = load_file(tmp_path / "out" / "thinned.safetensors")
    assert torch.equal(state["fc3.bias"], trained.get_parameter("fc3.bias"))
    assert main([*command, str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
