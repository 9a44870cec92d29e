"""`pruning store`: a sparse file that comes back as the masked network, and a table of formats."""

import json
from pathlib import Path

import pytest
import torch

from pruning_core.cli.main import main
from pruning_core.compress.sparse_file import read_sparse
from pruning_core.pipeline import choose_masks, masked_copy
from pruning_core.plan import Plan
from pruning_core.workspaces import open_workspace


def test_store_writes_the_masked_network_and_compares_formats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(model="lenet5", granularity="filter", sparsity=0.5)
    (tmp_path / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    out = tmp_path / "out" / "sparse.safetensors"
    assert main(["store", str(tmp_path / "plan.json"), "--out", str(out), "--json"]) == 0
    sizes = {size["format"]: size for size in json.loads(capsys.readouterr().out)}
    space = open_workspace(plan.model, plan.dataset)
    network = masked_copy(plan, space, choose_masks(plan, space)[1]).state_dict()
    restored = read_sparse(out.read_bytes())
    assert all(torch.equal(restored[name], tensor) for name, tensor in network.items())
    assert restored.keys() == network.keys()
    assert sizes["sparse"]["bytes"] == pytest.approx(out.stat().st_size, abs=1500)
    assert sizes["dense"]["bytes"] > sizes["group"]["bytes"] > sizes["sparse"]["bytes"]
    assert (out.parent / "load_sparse.py").is_file()


def test_shared_weights_are_written_and_their_cost_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(model="lenet5", sparsity=0.8)
    (tmp_path / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    out = tmp_path / "sparse.safetensors"
    command = ["store", str(tmp_path / "plan.json"), "--out", str(out), "--share-bits", "4"]
    assert main([*command, "--index-bits", "6"]) == 0
    printed = capsys.readouterr().out
    assert "4-bit shared weights: top-1" in printed
    assert "n = 359, test split" in printed
    weight = read_sparse(out.read_bytes())["fc1.weight"]
    assert 8 < len(weight.unique()) <= 17
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["sharing"]["bits"] == 4
    assert result["sizes"][-1]["format"] == "sparse_shared"
    assert main([*command[:-1], "9"]) == 2
    assert "1 to 8 bits, not 9" in capsys.readouterr().err
