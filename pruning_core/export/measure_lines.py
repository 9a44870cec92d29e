"""Lines of an exported script that read the test samples and print the task's value."""

import ast
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from textwrap import indent

import torch
from torch import Tensor

from pruning_core.evaluation.dense_answers import AnsweredSplit
from pruning_core.export.named_lines import named_lines
from pruning_core.export.task_lines import TaskLines, task_lines
from pruning_core.model.held_buffers import held_buffers
from pruning_core.pipeline import uses_whole_test
from pruning_core.plan import Plan
from pruning_core.subjects.samples import ItemSplit, Samples
from pruning_core.tasks import Task
from pruning_core.types import PruningError, Split
from pruning_core.workspaces import Workspace
from pruning_core.workspaces.user_lines import UserLines
from pruning_core.zoo.splits import sample_order

_MEASURE = '''\
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
_HELD = """

def hold(network):
    stored = {{name: network.get_buffer(name).clone() for name in {names}}}

    def before(module, inputs):  # its calls change these buffers; each starts with the stored ones
        for name, value in stored.items():
            path, _, own = name.rpartition(".")
            module.get_submodule(path)._buffers[own] = value.clone()

    network.register_forward_pre_hook(before)


"""
_PIP = {"sklearn": "scikit-learn", "PIL": "Pillow"}
"""Name of an imported package -> its name for pip, where they differ."""
_SAMPLES = "        samples = [dataset[i] for i in positions[start : start + {size}]]"
_SEEDED = """\
        samples = []
        for i in positions[start : start + {size}]:  # the draw of random transforms is fixed
            random.seed(i), np.random.seed(i), torch.manual_seed(i)
            samples.append(dataset[i])
        first = positions[start]
        random.seed(first), np.random.seed(first), torch.manual_seed(first)"""


@dataclass(frozen=True, eq=False)
class MeasuredPart:
    """The samples that are measured. positions: of them in the split that the user gave as `given`.

    For data that this package reads by its name, the script's own lines select the samples.
    """

    split: Split
    given: str
    positions: Tensor


@dataclass(frozen=True, eq=False)
class ScriptParts:
    """What a script reads and prints. Its lines are made from `lines`, of the network and its data.

    part: the test samples that the pages measure.
    """

    space: Workspace
    lines: UserLines
    part: MeasuredPart

    @staticmethod
    def of(plan: Plan, space: Workspace, *, trained: bool = True) -> "ScriptParts":
        """trained: the network of torchvision has its weights.

        Raises PruningError for a workspace that was not opened by a name or by `workspace`.
        """
        part = measured_part(plan, space)
        lines = space.lines if space.name else named_lines(plan, space, part.split, trained=trained)
        if lines is None:
            raise PruningError(
                f"There is no script for {space.name}: its data is not known by name."
            )
        return ScriptParts(space, lines, part)

    @property
    def task(self) -> Task:
        """What the network is for."""
        return self.space.dataset.task

    @cached_property
    def value(self) -> TaskLines:
        """The lines of the task's value."""
        return task_lines(self.task, self.lines.task)

    @property
    def seeded(self) -> bool:
        """Do the samples change at random?"""
        return self.part.given in self.lines.seeded

    def heading(self) -> dict[str, str]:
        """The parts that a script's first lines and imports name."""
        return {
            "network": self.lines.network,
            "place": f"{self.lines.place}\n" if self.lines.place else "",
            "needs": listed([*self.packages(), "" if self.lines.model else "your own modules"]),
            "value_label": self.task.value_label,
            "sample_word": self.task.samples,
            "prune_import": "from torch.nn.utils import prune\n" if self.lines.pruned else "",
            "data_imports": _data_imports(self.lines.reading[self.part.given]),
            "own_imports": _own_imports(self.lines, self.value),
        }

    def packages(self) -> tuple[str, ...]:
        """What is to be installed for the script, as pip names it, and the user's own modules."""
        imported = imported_packages(_own_imports(self.lines, self.value))
        numpy = ["numpy"] * self.seeded
        return tuple(dict.fromkeys(["torch", "safetensors", *imported, *numpy, *self.lines.needs]))

    def standard_imports(self, *more: str) -> str:
        """Import lines of the standard library, and NumPy's. more: of the script itself."""
        reading = self.lines.reading[self.part.given]
        names = ["import sys"] if self.lines.path else []
        names += ["import math"] if "math." in self.value.value else []
        names += ["import random"] if self.seeded else []
        names += ["from itertools import islice"] if "islice" in reading else []
        names += ["from pathlib import Path", *more]
        return "\n".join(sorted(names)) + ("\n\nimport numpy as np" if self.seeded else "")

    def measure(self, averages: str = "") -> str:
        """Lines that measure the variables `model` and `given`, and print the value.

        With dense answers they also read the variable `dense`. averages: a mode in `with`.
        """
        size = self.task.batch_size
        arguments = _arguments(self.part.split)
        logits = self.lines.logits + _columns(self.space)
        judged = "" if logits == "out" else f"        out = {logits}\n"
        value = self.value
        return self._held() + _MEASURE.format(
            divide=_divide_lines(self.lines, self.part.given),
            reading=self.lines.reading[self.part.given],
            positions=_positions(self.part.positions),
            samples=(_SEEDED if self.seeded else _SAMPLES).format(size=size),
            size=size,
            averages=averages,
            arguments=arguments,
            judged=judged,
            targets=_targets(self.task, arguments, judged, value),
            start=value.start,
            add=indent(value.add, 8 * " "),
            value=value.value,
            count=value.count,
            right=f"{{{value.right}}} of " if value.right else "",
            value_label=self.task.value_label,
            sample_word=self.task.samples,
        )

    def _held(self) -> str:
        """Lines by which every call starts with the stored buffers, where calls change them."""
        names = held_buffers(self.space.model)
        networks = ["model", *["dense"] * self.task.dense_answers]
        calls = "".join(f"hold({network})\n" for network in networks)
        return _HELD.format(names=list(names)) + calls if names else ""


def measured_part(plan: Plan, space: Workspace) -> MeasuredPart:
    """The samples of `final_test_split`. Nothing is read."""
    test = space.dataset.test
    part = test.split if isinstance(test, AnsweredSplit) else test
    if not uses_whole_test(space.dataset):
        part = part.subset(sample_order(test)[: plan.probe].tolist())
    if isinstance(part, Samples | ItemSplit):
        return MeasuredPart(part, part.given, part.positions)
    return MeasuredPart(part, "test", torch.arange(len(part)))


def listed(names: Sequence[str]) -> str:
    """The names that are not empty, in words: a, b and c."""
    *others, last = filter(None, names)
    return " and ".join(filter(None, [", ".join(others), last]))


def imported_packages(source: str) -> list[str]:
    """The packages that a program imports, as pip names them, but for the standard library."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(str(node.module))
    tops = dict.fromkeys(name.partition(".")[0] for name in names)
    return [_PIP.get(top, top) for top in tops if top not in sys.stdlib_module_names]


def _own_imports(lines: UserLines, value: TaskLines) -> str:
    path = [f"sys.path += {list(lines.path)}  # where your modules are"] if lines.path else []
    parts = [*path, *lines.imports, *filter(None, [value.imports])]
    only_imports = [part.count("\n") < 3 for part in parts]
    spaced = zip(parts, only_imports, strict=True)
    return "".join(part + ("\n" if short else "\n\n\n") for part, short in spaced).rstrip()


def _targets(task: Task, arguments: str, judged: str, value: TaskLines) -> str:
    """Lines for the targets of a batch: those of the data, or the dense network's answers."""
    if not task.dense_answers:
        return "        y = torch.as_tensor(y).cpu()"
    return f"        out = dense({arguments})\n{judged}        y = {value.answers}"


def _data_imports(reading: str) -> str:
    names = [name for name in ("TensorDataset", "default_collate") if name in reading]
    return f"from torch.utils.data import {', '.join(names)}\n" if names else ""


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
