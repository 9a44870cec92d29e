"""The script load_masks.py: applies exported masks with plain PyTorch, without this package."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent

import torch
from torch import Tensor

from pruning_core.evaluation.dense_answers import AnsweredSplit
from pruning_core.export.named_lines import WEIGHTS, named_lines
from pruning_core.export.norm_lines import norm_lines
from pruning_core.export.task_lines import TaskLines, task_lines
from pruning_core.pipeline import uses_whole_test
from pruning_core.plan import Plan
from pruning_core.repairs import NONE
from pruning_core.subjects.samples import ItemSplit, Samples
from pruning_core.tasks import Task
from pruning_core.types import PruningError, Split
from pruning_core.workspaces import Workspace
from pruning_core.workspaces.user_lines import UserLines
from pruning_core.zoo.splits import sample_order

_TEMPLATE = '''\
"""Loads masks that Pruning Explorer exported into {network}, with plain PyTorch.
Prints the {value_label} on the test {sample_word}.

Put this file next to {files}.
{place}Then run: python load_masks.py
It needs {needs}, but not Pruning Explorer.
Where whole filters or heads are removed, the file also holds masks of biases and of the scale and
shift of norms. They set every output of a removed filter to exactly zero. The network then computes
the same as a network without these filters, except for float rounding.
"""

{standard_imports}

import torch
from safetensors.torch import load_file
{prune_import}{data_imports}
{own_imports}
{norms}
here = Path(__file__).parent
{open}
model = model{unwrap}{to_float}.cpu().eval()
{permanent}{dense}{changed}{spare}with torch.no_grad():
    for name, mask in load_file(here / "masks.safetensors").items():
        model.get_parameter(name)[~mask] = 0
dtype = next(w.dtype for w in model.parameters() if w.is_floating_point())


def divide(batch):
    """Inputs and targets of a batch."""
{divide}


def typed(part):
    """The inputs as a tensor; numbers of floating point in the type of the weights."""
    part = torch.as_tensor(part).cpu()
    return part.to(dtype) if part.is_floating_point() else part


{reading}
positions = {positions}
{start}
with {averages}torch.inference_mode():
    for start in range(0, len(positions), {size}):
{samples}
        x, y = divide(collate(samples))
{targets}
        out = model({arguments})
{judged}{add}
value = {value}
print(f"{value_label} {{value:.6f}} ({right}{{{count}}} {sample_word})")
'''
_DENSE = "dense = copy.deepcopy(model)  # its answers are the targets\n"
_PERMANENT = """\
for module in model.modules():  # the masks of torch.nn.utils.prune become zeros of the weights
    for name in [key.removesuffix("_mask") for key in module._buffers if key.endswith("_mask")]:
        if f"{name}_orig" in module._parameters:
            prune.remove(module, name)
"""
_STORED = """\
state = model.state_dict()
state.update(load_file(here / {file!r}))
model.load_state_dict(state)"""
_DIVIDE_DICT = """\
    inputs = dict(batch)
    return inputs, inputs.pop({key!r})"""
_DIVIDE_BARE = """\
    return batch, batch[0] if isinstance(batch, (list, tuple)) else batch"""
_DIVIDE_BARE_DICT = """\
    return batch, next(iter(batch.values()))"""
_DIVIDE_PAIR = """\
    x, y = batch
    return x, y"""
_SAMPLES = "        samples = [dataset[i] for i in positions[start : start + {size}]]"
_SEEDED = """\
        samples = []
        for i in positions[start : start + {size}]:  # the draw of random transforms is fixed
            random.seed(i), np.random.seed(i), torch.manual_seed(i)
            samples.append(dataset[i])
        first = positions[start]
        random.seed(first), np.random.seed(first), torch.manual_seed(first)"""
_ASK = """\
raise SystemExit("Write your own lines here, and remove this one: build, load weights, test data.")
model = ...  # your network, with its weights
given = ...  # what you gave as {split}= to workspace()"""
_ASK_TRANSFORM = "\ntransform = ...  # what you gave as transform= to workspace()"
_ASK_BATCH = "\nread_batch = ...  # what you gave as batch= to workspace()"


@dataclass(frozen=True, eq=False)
class _Part:
    """The samples that are measured. positions: of them in the split that the user gave as `given`.

    For data that this package reads by its name, the script's own lines select the samples.
    """

    split: Split
    given: str
    positions: Tensor


def script_text(plan: Plan, space: Workspace, *, tuned: bool) -> str:
    """A Python program that opens the network, applies the masks and prints the value.

    It reads the test samples that the page measures. tuned: the network was fine-tuned. Then, and
    where the plan repairs, it first loads the weights in weights.safetensors. Raises PruningError
    for a workspace that was not opened by a name or by `workspace`.
    """
    part = _measured_part(plan, space)
    lines = space.lines if space.name else named_lines(plan, space, part.split)
    if lines is None:
        raise PruningError(f"There is no script for {space.name}: its data is not known by name.")
    task = space.dataset.task
    value = task_lines(task, lines.task)
    seeded = part.given in lines.seeded
    repaired = "repaired" if plan.repair != NONE else ""
    fields = _naming(lines, "fine-tuned" if tuned else repaired)
    fields |= _opening(lines, part.given, task, value, seeded=seeded)
    fields |= _reading(lines, part, task, seeded=seeded)
    fields |= _measuring(lines, space, part, value)
    return _TEMPLATE.format(**fields, **norm_lines(plan, space))


def script_or_reason(plan: Plan, space: Workspace, *, tuned: bool) -> tuple[str, str]:
    """`script_text` and "", or "" and a sentence why there is no script.

    The other files of an export do not need the script.
    """
    try:
        return script_text(plan, space, tuned=tuned), ""
    except PruningError as problem:
        return "", str(problem)


def _measured_part(plan: Plan, space: Workspace) -> _Part:
    """The samples of `final_test_split`. Nothing is read."""
    test = space.dataset.test
    part = test.split if isinstance(test, AnsweredSplit) else test
    if not uses_whole_test(space.dataset):
        part = part.subset(sample_order(test)[: plan.probe].tolist())
    if isinstance(part, Samples | ItemSplit):
        return _Part(part, part.given, part.positions)
    return _Part(part, "test", torch.arange(len(part)))


def _naming(lines: UserLines, changed: str) -> dict[str, str]:
    """The parts of the script that name the files beside it.

    changed: how the weights differ from those of the base network; "" where they do not.
    """
    load = bool(changed) and lines.stored != WEIGHTS
    files = ["masks.safetensors", lines.stored, WEIGHTS if load else ""]
    return {
        "network": lines.network,
        "files": _listed(files),
        "place": f"{lines.place}\n" if lines.place else "",
        "needs": _listed(["torch", "safetensors", *lines.needs]),
        "changed": f"{_STORED.format(file=WEIGHTS)}  # {changed}\n" if load else "",
    }


def _listed(names: Sequence[str]) -> str:
    """The names that are not empty, in words: a, b and c."""
    *others, last = filter(None, names)
    return f"{', '.join(others)} and {last}" if others else last


def _opening(
    lines: UserLines, split: str, task: Task, value: TaskLines, *, seeded: bool
) -> dict[str, str]:
    """The parts of the script that import, build and load."""
    return {
        "standard_imports": _standard_imports(lines, split, seeded, task, value),
        "data_imports": _data_imports(lines.reading[split]),
        "own_imports": _own_imports(lines, value),
        "open": _open_lines(lines, split),
        "unwrap": f".{lines.unwrap}" if lines.unwrap else "",
        "to_float": ".float()" if lines.half else "",
        "prune_import": "from torch.nn.utils import prune\n" if lines.pruned else "",
        "permanent": _PERMANENT if lines.pruned else "",
        "dense": _DENSE if task.dense_answers else "",
    }


def _reading(lines: UserLines, part: _Part, task: Task, *, seeded: bool) -> dict[str, str]:
    """The parts of the script that read the samples in batches."""
    size = task.batch_size
    return {
        "divide": _divide_lines(lines, part.given),
        "reading": lines.reading[part.given],
        "positions": _positions(part.positions),
        "samples": (_SEEDED if seeded else _SAMPLES).format(size=size),
        "size": str(size),
    }


def _measuring(lines: UserLines, space: Workspace, part: _Part, value: TaskLines) -> dict[str, str]:
    """The parts of the script that compute the task's value."""
    task = space.dataset.task
    arguments = _arguments(part.split)
    logits = lines.logits + _columns(space)
    return {
        "arguments": arguments,
        "judged": "" if logits == "out" else f"        out = {logits}\n",
        "targets": _targets(task, arguments, logits, value),
        "start": value.start,
        "add": indent(value.add, 8 * " "),
        "value": value.value,
        "count": value.count,
        "right": f"{{{value.right}}} of " if value.right else "",
        "value_label": task.value_label,
        "sample_word": task.samples,
    }


def _standard_imports(
    lines: UserLines, split: str, seeded: bool, task: Task, value: TaskLines
) -> str:
    names = ["import sys"] if lines.path else []
    names += ["import copy"] if task.dense_answers else []
    names += ["import math"] if "math." in value.value else []
    names += ["import random"] if seeded else []
    names += ["from itertools import islice"] if "islice" in lines.reading[split] else []
    names += ["from pathlib import Path"]
    return "\n".join(sorted(names)) + ("\n\nimport numpy as np" if seeded else "")


def _own_imports(lines: UserLines, value: TaskLines) -> str:
    path = [f"sys.path += {list(lines.path)}  # where your modules are"] if lines.path else []
    parts = [*path, *lines.imports, *filter(None, [value.imports])]
    only_imports = [part.count("\n") < 3 for part in parts]
    spaced = zip(parts, only_imports, strict=True)
    return "".join(part + ("\n" if short else "\n\n\n") for part, short in spaced).rstrip()


def _targets(task: Task, arguments: str, logits: str, value: TaskLines) -> str:
    """Lines for the targets of a batch: those of the data, or the dense network's answers."""
    if not task.dense_answers:
        return "        y = torch.as_tensor(y).cpu()"
    judged = "" if logits == "out" else f"        out = {logits}\n"
    return f"        out = dense({arguments})\n{judged}        y = {value.answers}"


def _data_imports(reading: str) -> str:
    names = [name for name in ("TensorDataset", "default_collate") if name in reading]
    return f"from torch.utils.data import {', '.join(names)}\n" if names else ""


def _open_lines(lines: UserLines, split: str) -> str:
    """The user's own lines: build the network, load its weights, and give the test data."""
    if not lines.model:
        ask = _ASK.format(split=split)
        ask += _ASK_TRANSFORM if "Images(" in lines.reading[split] else ""
        return ask + (_ASK_BATCH if lines.batch else "")
    load = [_STORED.format(file=lines.stored)] if lines.stored else []
    if lines.weights.endswith(".safetensors"):
        load = [f"model.load_state_dict(load_file({lines.weights!r}))"]
    elif lines.weights:
        nested = f'["{lines.nested}"]' if lines.nested else ""
        read = f'torch.load({lines.weights!r}, map_location="cpu", weights_only=True)'
        load = [f"weights = {read}{nested}", "model.load_state_dict(weights)"]
    return "\n".join([f"model = {lines.model}", *load, f"given = {lines.splits[split]}"])


def _divide_lines(lines: UserLines, split: str) -> str:
    if lines.batch:
        return f"    return {lines.batch}(batch)"
    if split in lines.bare:
        return _DIVIDE_BARE_DICT if split in lines.keyed else _DIVIDE_BARE
    return _DIVIDE_DICT.format(key=lines.keyed[split]) if split in lines.keyed else _DIVIDE_PAIR


def _positions(positions: Tensor) -> str:
    """The places of the samples in the user's data, as Python."""
    if torch.equal(positions, torch.arange(len(positions))):
        return f"range({len(positions)})"
    return str(positions.tolist())


def _arguments(split: Split) -> str:
    """How the inputs of a batch are given to the network."""
    x, _ = next(split.subset([0]).batches(1))
    if isinstance(x, Mapping):
        return "**{name: typed(part) for name, part in x.items()}"
    return "*map(typed, x)" if isinstance(x, tuple) else "typed(x)"


def _columns(space: Workspace) -> str:
    """The columns of the logits that stand for the data's classes."""
    outputs = space.dataset.outputs
    return "" if outputs is None else f"[:, {list(outputs)}]"
