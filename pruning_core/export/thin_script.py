"""The script build_thinned.py: builds a thinned network from the network's own constructor."""

import json
import re
from textwrap import indent

from pruning_core.compress.narrow import narrow
from pruning_core.compress.thin import Thinned
from pruning_core.export.load_script import PERMANENT, ask_more, load_lines, made_plain
from pruning_core.export.measure_lines import ScriptParts, listed
from pruning_core.export.plain_source import plain_source
from pruning_core.model.kept_norms import KeptNorm
from pruning_core.plan import Plan
from pruning_core.tasks import CLASSIFICATION
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace
from pruning_core.zoo.splits import TensorSplit

SCRIPT = "build_thinned.py"
STATE = "thinned.safetensors"
KEPT = "kept.json"
SUBJECT = "thinned.toml"
MODULE = SCRIPT.removesuffix(".py")
_TEMPLATE = '''\
"""Builds the thinned network that Pruning Explorer made of {network}, with plain PyTorch.
`build()` gives it. Run as a program, this file prints the {value_label} on the test {sample_word}.

Put this file next to {files}.
{place}Then run: python {script}
It needs {needs}, but not Pruning Explorer.
"""

{standard_imports}

import torch
from safetensors.torch import load_file
{prune_import}{data_imports}
{own_imports}


{narrow}


here = Path(__file__).parent


def original():
    """The network before pruning{with_weights}."""
{original}
    return model{made_plain}


def build():
    """The thinned network with its weights, in eval mode."""
    model = copy.deepcopy(original())
{permanent}    kept = json.loads((here / "{kept}").read_text(encoding="utf-8"))
    narrow(model, kept["kept"], kept["settings"], kept["attentions"])
    state = model.state_dict()
    state.update(load_file(here / "{state}"))
    model.load_state_dict(state)
    return model
{data}

if __name__ == "__main__":
    model = build()
{measure}'''
_DATA = '''

def data():
    """What the network was trained and measured on."""
    return {{{splits}}}
'''
_ASK = """\
raise SystemExit("Write the line that builds your network here, and remove this one.")
model = ..."""
_ASK_DATA = """\
given = ...  # what you gave as {split}= to workspace()"""


def thin_script(plan: Plan, space: Workspace, thinned: Thinned) -> str:
    """A Python program with `build()`, which gives the thinned network, that prints its value.

    It reads the test samples that the page measures. Raises PruningError for a workspace that was
    not opened by a name or by `workspace`, and for norms that must leave removed channels out
    because some of them stay as zeros.
    """
    if any(isinstance(module, KeptNorm) for module in thinned.module.modules()):
        raise PruningError(
            f"{SCRIPT} is not written: some removed channels stay as zeros in front of a norm that "
            "leaves them out of its average, which plain PyTorch does not do."
        )
    parts = ScriptParts.of(plan, space, trained=space.dataset.task.dense_answers)
    lines = parts.lines
    dense = parts.task.dense_answers
    opened = [f"model = {lines.model}"] if lines.model else [_ASK]
    stored = lines.stored if dense else ""
    return _TEMPLATE.format(
        **parts.heading(),
        files=listed([STATE, KEPT, stored]),
        script=SCRIPT,
        state=STATE,
        kept=KEPT,
        standard_imports=parts.standard_imports("import copy", "import json"),
        narrow=plain_source(narrow),
        with_weights=" with its weights" if dense else "",
        original=indent("\n".join([*opened, *(load_lines(lines) if dense else ())]), "    "),
        made_plain=made_plain(lines),
        permanent=indent(PERMANENT, "    ") if lines.pruned else "",
        data=_data(parts),
        measure=indent(_measure(parts), "    "),
    )


def subject_file(plan: Plan, space: Workspace) -> str:
    """The text of a subject file that opens the thinned network, with the data it had before.

    Raises PruningError where a function or a file for the data is not known.
    """
    data = space.dataset
    lines = space.lines
    own: dict[str, object] = {"model": f"{MODULE}:build"}
    if space.name and lines is not None and lines.model:
        own["data"] = f"{MODULE}:data"
        own["task"] = lines.task or data.task.name
        if any("Images(" in reading for reading in lines.reading.values()):
            own["transform"] = f"{MODULE}:transform"
    elif not space.name and isinstance(data.train, TensorSplit):
        own["data"] = f"pruning_core.zoo.in_memory:{plan.dataset}"
    elif not space.name:
        own["data"] = "pruning_core.zoo.in_memory:splits"
        own["data_arguments"] = {"name": plan.dataset, "model": plan.model}
        own["task"] = data.task.name
    else:
        raise PruningError(
            f"{SUBJECT} is not written: how a program reads {data.name} is not known. Write a "
            f'subject file with model = "{own["model"]}" and your data.'
        )
    if data.classes and data.task.name == CLASSIFICATION.name:
        own["classes"] = list(data.classes)
    if data.outputs is not None:
        own["outputs"] = list(data.outputs)
    table = "\n".join(f"{key} = {_toml(value)}" for key, value in own.items())
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", plan.model)[:50]
    return f"[{name}_thinned]\n{table}\n"


def _toml(value: object) -> str:
    """A text, a list or a flat table as TOML."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(own)}' for key, own in value.items())} }}"
    return json.dumps(value)


def _data(parts: ScriptParts) -> str:
    """A function that gives the user's own data; "" where the lines for it are not known."""
    lines = parts.lines
    if not (parts.space.name and lines.model):
        return ""
    more = {"batch": lines.batch} if lines.batch else {}
    given = {**lines.splits, **more}
    return _DATA.format(splits=", ".join(f'"{name}": {text}' for name, text in given.items()))


def _measure(parts: ScriptParts) -> str:
    """The lines of the program itself."""
    lines = parts.lines
    split = parts.part.given
    if lines.model:
        given = f"given = {lines.splits[split]}"
    else:
        given = _ASK_DATA.format(split=split) + ask_more(lines, split)
    dense = (
        "dense = original()  # its answers are the targets\n" if parts.task.dense_answers else ""
    )
    measure = parts.measure().replace("\n\n\n", "\n\n")  # inside a block
    return f"{dense}{given}\n{measure}"
