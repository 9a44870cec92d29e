"""The script load_masks.py: applies exported masks with plain PyTorch, without this package."""

from pruning_core.export.measure_lines import ScriptParts, listed
from pruning_core.export.named_lines import WEIGHTS
from pruning_core.export.norm_lines import norm_lines
from pruning_core.plan import Plan
from pruning_core.repairs import NONE
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace
from pruning_core.workspaces.user_lines import UserLines

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
model = model{made_plain}
{permanent}{dense}{changed}{spare}with torch.no_grad():
    for name, mask in load_file(here / "masks.safetensors").items():
        model.get_parameter(name)[~mask] = 0
{measure}'''
_DENSE = "dense = copy.deepcopy(model)  # its answers are the targets\n"
PERMANENT = """\
for module in model.modules():  # the masks of torch.nn.utils.prune become zeros of the weights
    for name in [key.removesuffix("_mask") for key in module._buffers if key.endswith("_mask")]:
        if f"{name}_orig" in module._parameters:
            prune.remove(module, name)
"""
STORED = """\
state = model.state_dict()
state.update(load_file(here / {file!r}))
model.load_state_dict(state)"""
_ASK = """\
raise SystemExit("Write your own lines here, and remove this one: build, load weights, test data.")
model = ...  # your network, with its weights
given = ...  # what you gave as {split}= to workspace()"""
_ASK_TRANSFORM = "\ntransform = ...  # what you gave as transform= to workspace()"
_ASK_BATCH = "\nread_batch = ...  # what you gave as batch= to workspace()"


def script_text(plan: Plan, space: Workspace, *, tuned: bool) -> str:
    """A Python program that opens the network, applies the masks and prints the value.

    It reads the test samples that the page measures. tuned: the network was fine-tuned. Then, and
    where the plan repairs, it first loads the weights in weights.safetensors. Raises PruningError
    for a workspace that was not opened by a name or by `workspace`.
    """
    parts = ScriptParts.of(plan, space)
    lines = parts.lines
    repaired = "repaired" if plan.repair != NONE else ""
    norms = norm_lines(plan, space)
    return _TEMPLATE.format(
        **parts.heading(),
        **_changed(lines, "fine-tuned" if tuned else repaired),
        standard_imports=parts.standard_imports(*["import copy"] * parts.task.dense_answers),
        norms=norms["norms"],
        open=_open_lines(lines, parts.part.given),
        made_plain=made_plain(lines),
        permanent=PERMANENT if lines.pruned else "",
        dense=_DENSE if parts.task.dense_answers else "",
        spare=norms["spare"],
        measure=parts.measure(norms["averages"]),
    )


def script_or_reason(plan: Plan, space: Workspace, *, tuned: bool) -> tuple[str, str]:
    """`script_text` and "", or "" and a sentence why there is no script.

    The other files of an export do not need the script.
    """
    try:
        return script_text(plan, space, tuned=tuned), ""
    except PruningError as problem:
        return "", str(problem)


def _changed(lines: UserLines, changed: str) -> dict[str, str]:
    """The files beside the script, and the lines that load changed weights.

    changed: how the weights differ from those of the base network; "" where they do not.
    """
    load = bool(changed) and lines.stored != WEIGHTS
    return {
        "files": listed(["masks.safetensors", lines.stored, WEIGHTS if load else ""]),
        "changed": f"{STORED.format(file=WEIGHTS)}  # {changed}\n" if load else "",
    }


def made_plain(lines: UserLines) -> str:
    """The end of an expression: the network as it is computed here, on the CPU in eval mode."""
    unwrap = f".{lines.unwrap}" if lines.unwrap else ""
    return f"{unwrap}{'.float()' if lines.half else ''}.cpu().eval()"


def _open_lines(lines: UserLines, split: str) -> str:
    """The user's own lines: build the network, load its weights, and give the test data."""
    if not lines.model:
        return _ASK.format(split=split) + ask_more(lines, split)
    given = f"given = {lines.splits[split]}"
    return "\n".join([f"model = {lines.model}", *load_lines(lines), given])


def ask_more(lines: UserLines, split: str) -> str:
    """Lines for what else a user has given as objects."""
    transform = _ASK_TRANSFORM if "Images(" in lines.reading[split] else ""
    return transform + (_ASK_BATCH if lines.batch else "")


def load_lines(lines: UserLines) -> list[str]:
    """The lines that load the weights of the dense network into `model`."""
    if lines.weights:
        return [f"weights = {lines.weights}", "model.load_state_dict(weights)"]
    return [STORED.format(file=lines.stored)] if lines.stored else []
