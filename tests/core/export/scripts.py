"""Runs exported scripts where this package cannot be imported."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import torch

from pruning_core.evaluation.accuracy import Judge
from pruning_core.export import (
    masks_by_parameter,
    masks_safetensors,
    script_text,
    value_line,
    weights_safetensors,
)
from pruning_core.pipeline import choose_masks, dependent_masks_of, final_test_split, masked_copy
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace

RUN_ALL = """
import io, json, runpy, sys, traceback
from contextlib import redirect_stdout

sys.modules["pruning_core"] = None  # importing it fails
lines = {}
for folder in sys.argv[1:]:
    with redirect_stdout(io.StringIO()) as printed:
        try:
            runpy.run_path(f"{folder}/load_masks.py", run_name="__main__")
        except BaseException:
            traceback.print_exc(file=sys.stdout)
    lines[folder] = printed.getvalue().strip()
print(json.dumps(lines))
"""


def exported(plan: Plan, space: Workspace, folder: Path, *, tuned: bool = False) -> str:
    """Writes the files of an export to a new folder; gives the line that the page shows.

    tuned: another network is exported than the one with the masks, as after fine-tuning.
    """
    masks = choose_masks(plan, space)[1]
    model = masked_copy(plan, space, masks)
    if tuned:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.9)
    folder.mkdir()
    named = masks_by_parameter(masks, space.layers, dependent_masks_of(plan, space, masks))
    (folder / "masks.safetensors").write_bytes(masks_safetensors(named, plan))
    (folder / "weights.safetensors").write_bytes(weights_safetensors(model))
    (folder / "load_masks.py").write_text(script_text(plan, space, tuned=tuned))
    split = final_test_split(plan, space)
    return value_line(Judge.of(space.dataset).evaluate(model, split, "cpu"))


def printed(folders: Mapping[str, Path], **environment: str) -> dict[str, str]:
    """What the script in each folder prints. All run in one new process, with this environment."""
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, *map(str, folders.values())],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    lines = json.loads(done.stdout)
    return {name: lines[str(folder)] for name, folder in folders.items()}


def printed_here(folder: Path, script: str = "load_masks.py") -> str:
    """What the script in a folder prints. Inside it, importing this package fails."""
    hidden = {name: module for name, module in sys.modules.items() if "pruning_core" not in name}
    with (
        patch.dict(sys.modules, hidden | {"pruning_core": None}, clear=True),
        redirect_stdout(StringIO()) as lines,
    ):
        runpy.run_path(str(folder / script), run_name="__main__")
    return lines.getvalue().strip()
