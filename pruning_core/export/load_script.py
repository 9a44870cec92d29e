"""The script load_masks.py, which applies exported masks with plain PyTorch."""

from pruning_core.export.norm_lines import norm_lines
from pruning_core.export.upload_script import upload_script_text
from pruning_core.export.user_script import user_script_text
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace

_TEMPLATE = '''\
"""Loads masks that Pruning Explorer exported, with plain PyTorch.
Prints the accuracy on {dataset}.

Put this file next to masks.safetensors{weights_file}. Then run, in the folder of Pruning Explorer:
    PYTHONPATH=. .venv/bin/python PATH/TO/load_masks.py
Where the package is installed, `python load_masks.py` is enough.
`pruning_core.zoo` only gives the network and its images. To use your own, replace this import and
the three lines after it.
Where whole filters or heads are removed, the file also holds masks of biases and of the scale and
shift of norms. They set every output of a removed filter to exactly zero. The network then computes
the same as a network without these filters, except for float rounding.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn.utils import prune

from pruning_core.zoo import {names}
{norms}
data = load_data({dataset!r}, model={model!r})
model = load_model({model!r}, {dataset!r}, data=data)
images = {images}

here = Path(__file__).parent
{load_weights}{spare}for name, mask in load_file(here / "masks.safetensors").items():
    path, _, parameter = name.rpartition(".")
    module = model.get_submodule(path)
    prune.custom_from_mask(module, parameter, mask)
    prune.remove(module, parameter)  # writes the zeros into the weight

model.eval()
correct = 0
with {averages}torch.inference_mode():
    for pictures, labels in images.batches(256):
        logits = model(pictures)
        if data.outputs:  # the network has more classes than these images
            logits = logits[:, list(data.outputs)]
        correct += int((logits.argmax(1) == labels).sum())
print(f"accuracy {{correct / len(images):.6f}} ({{correct}} of {{len(images)}} images)")
'''
_LOAD_WEIGHTS = 'model.load_state_dict(load_file(here / "weights.safetensors"))  # fine-tuned\n'


def script_text(
    plan: Plan, *, tuned: bool, whole_test: bool, space: Workspace | None = None
) -> str:
    """A Python program that applies the masks with `custom_from_mask` and prints the accuracy.

    tuned: it first loads the fine-tuned weights from weights.safetensors; whole_test: it evaluates
    all test images, otherwise the same stratified sample of `plan.probe` images as the page; space:
    of a network of the user's, for which the program does not import this package.
    """
    if space is not None and space.name:
        return user_script_text(plan, space, tuned=tuned)
    own = None if space is None else upload_script_text(plan, space, whole_test=whole_test)
    if own is not None:
        return own
    return _TEMPLATE.format(
        dataset=plan.dataset,
        model=plan.model,
        weights_file=" and weights.safetensors" if tuned else "",
        images="data.test" if whole_test else f"probe(data.test, {plan.probe})",
        names="load_data, load_model" if whole_test else "load_data, load_model, probe",
        load_weights=_LOAD_WEIGHTS if tuned else "",
        **norm_lines(plan, space),
    )
