"""The script's plain lines compute what each task computes."""

import runpy
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import replace
from io import StringIO
from pathlib import Path

import torch

from pruning_core import Plan, choose_masks, masked_copy, workspace
from pruning_core.evaluation.accuracy import Judge
from pruning_core.export import masks_by_parameter, masks_safetensors, script_text, value_line
from pruning_core.tasks import TASKS
from tests.core.export.held import HELD
from tests.core.tasks.task_spaces import MAKERS

OWN = ("tests.core.tasks.own_task:within_one", "tests.core.export.held:TWICE")
LIKE = {
    "classification": "agreement",
    "segmentation_agreement": "segmentation",
    "regression_agreement": "regression",
    "token_agreement": "language_model",
    "next_token": "language_model",
    OWN[1]: "regression",
}
"""Task -> the task whose network and data it takes; without an entry its own."""
PLAN = Plan(sparsity=0.6, probe=20)


def printed_and_measured(task: str, folder: Path) -> tuple[str, str]:
    torch.manual_seed(0)
    model, x, y = MAKERS[LIKE.get(task, task)]()
    if task == "classification":
        y = torch.arange(len(x)) % 4
    space = workspace(model, train=(x, y), test=(x[5:], y[5:]), task=task)
    assert space.lines is not None
    lines = replace(
        space.lines,
        imports=("from tests.core.export.held import HELD",),
        model='HELD["model"]',
        splits={"test": 'HELD["test"]'},
    )
    masks = choose_masks(PLAN, space)[1]
    HELD.update(model=deepcopy(model), test=(x[5:], y[5:]))
    folder.mkdir()
    saved = masks_safetensors(masks_by_parameter(masks, space.layers), PLAN)
    (folder / "masks.safetensors").write_bytes(saved)
    script = script_text(PLAN, replace(space, lines=lines), tuned=False)
    (folder / "load_masks.py").write_text(script)
    with redirect_stdout(StringIO()) as printed:
        runpy.run_path(str(folder / "load_masks.py"))
    data = space.dataset
    measured = Judge.of(data).evaluate(masked_copy(PLAN, space, masks), data.test, "cpu")
    return printed.getvalue().strip(), value_line(measured)


def test_the_value_of_every_task_is_that_of_its_lines(tmp_path: Path) -> None:
    wrong = {}
    with torch.random.fork_rng():
        for number, task in enumerate((*TASKS, *OWN)):
            printed, measured = printed_and_measured(task, tmp_path / str(number))
            if printed != measured:
                wrong[task] = (printed, measured)
    assert not wrong
