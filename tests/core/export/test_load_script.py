"""The exported script prints the accuracy that the run measured."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pruning_core.export import (
    masks_by_parameter,
    masks_safetensors,
    script_text,
    weights_safetensors,
)
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished
from pruning_core.workspaces import open_workspace

ROOT = Path(__file__).resolve().parents[3]


def in_this_process(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(path), run_name="__main__")
    return capsys.readouterr().out


def in_a_new_process(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, path], capture_output=True, text=True, check=True, env=environment
    ).stdout


@pytest.mark.parametrize(
    ("model", "epochs", "output"),
    [
        ("lenet5", 0, in_this_process),
        ("lenet5", 1, in_this_process),
        ("resnet20", 1, in_this_process),
        ("vit", 0, in_this_process),
        ("vit", 1, in_a_new_process),
    ],
)
def test_the_script_prints_the_measured_accuracy(
    plan: Plan,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    epochs: int,
    output: Callable[[Path, pytest.CaptureFixture[str]], str],
) -> None:
    plan = replace(plan, model=model, fine_tune=TrainConfig(epochs=epochs))
    space = open_workspace(plan.model, plan.dataset)
    *_, run = prune(plan, space)
    assert isinstance(run, Finished)
    masks = masks_by_parameter(run.masks, space.layers)
    (tmp_path / "masks.safetensors").write_bytes(masks_safetensors(masks, plan))
    (tmp_path / "weights.safetensors").write_bytes(weights_safetensors(run.model))
    (tmp_path / "load_masks.py").write_text(script_text(plan, tuned=epochs > 0, whole_test=True))
    line = output(tmp_path / "load_masks.py", capsys)
    measured = run.tuned if epochs else run.pruned
    assert measured is not None
    assert line.split()[1] == f"{measured.value:.6f}"
    assert f"of {measured.n} images" in line
