"""`pruning thin`: its files open in the programs that read them, and give the masked outputs."""

import io
import json
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from pruning_core.cli.main import main
from pruning_core.model.model_io import input_tensors
from pruning_core.pipeline import choose_masks, masked_copy
from pruning_core.plan import Plan
from pruning_core.workspaces import batch_of, open_workspace


def test_every_file_of_a_thinned_network_gives_the_masked_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(model="lenet5", dataset="digits", granularity="filter", sparsity=0.4)
    (tmp_path / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    out = tmp_path / "out"
    assert main(["thin", str(tmp_path / "plan.json"), "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {path.name for path in out.iterdir()} == set(result["files"])
    before, after = result["parameters"]
    assert after < 0.75 * before
    space = open_workspace(plan.model, plan.dataset)
    (x,) = input_tensors(batch_of(space, 3))
    with torch.no_grad():
        wanted = masked_copy(plan, space, choose_masks(plan, space)[1])(x)
        program = torch.export.load(io.BytesIO((out / "thinned.pt2").read_bytes()))
        exported = program.module()(x)
    session = onnxruntime.InferenceSession(out / "thinned.onnx")
    (name,) = [entry.name for entry in session.get_inputs()]
    (answered,) = session.run(None, {name: x.numpy()})
    for found in (exported, torch.from_numpy(answered)):
        assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5
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
    printed = run_alone(out)
    assert printed.startswith(f"{after:,} parameters, relative error ")


def run_alone(folder: Path) -> str:
    """What build_thinned.py prints in a process that cannot import this package."""
    block = "import sys; sys.modules['pruning_core'] = None; import runpy; "
    run = f"{block}runpy.run_path('build_thinned.py', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-I", "-c", run], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
