"""What leaves the explorer: masks, weights, plan, report and a script that loads them with plain
PyTorch.
"""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from pruning_core.plan import Plan
from pruning_core.types import Evaluation, Finished, Layer, Masks

Stored = Mapping[str, Tensor]

_SCRIPT = '''\
"""Loads masks exported by Pruning Explorer with plain PyTorch and prints the accuracy on {dataset}.

Put this file beside masks.safetensors{beside} and run, in Pruning Explorer's folder:
    PYTHONPATH=. .venv/bin/python PATH/TO/load_masks.py
Only the network and its images come from `pruning_core.zoo`; to use your own, replace that import and the three lines below it.
Where whole filters or heads were removed, there are masks of biases and of norms' scale and shift too: with them at zero, a
removed output is exactly zero, and the network computes what it would without it, within float rounding.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn.utils import prune

from pruning_core.zoo import {names}

data = load_data({dataset!r}, model={model!r})
model = load_model({model!r}, {dataset!r}, data=data)
images = {split}

here = Path(__file__).parent
{weights}for name, mask in load_file(here / "masks.safetensors").items():
    path, _, parameter = name.rpartition(".")
    module = model.get_submodule(path)
    prune.custom_from_mask(module, parameter, mask)
    prune.remove(module, parameter)  # writes the zeros into the weight

model.eval()
correct = 0
with torch.inference_mode():
    for pictures, labels in images.batches(256):
        logits = model(pictures)
        if data.outputs:  # a network with more classes than these images
            logits = logits[:, list(data.outputs)]
        correct += int((logits.argmax(1) == labels).sum())
print(f"accuracy {{correct / len(images):.6f}} ({{correct}} of {{len(images)}} images)")
'''


def stored(
    masks: Masks, layers: tuple[Layer, ...], silent: Stored | None = None
) -> dict[str, Tensor]:
    """The masks by parameter name (a tied weight under each of its names), in the shape in which
    `state_dict` holds them.

    silent: masks of biases and norms that fall silent with removed filters
    (`coupling.dependent_masks`), kept as they are.
    """
    known = {layer.name: layer for layer in layers}
    weights = {
        name: mask.reshape(known[key].param_shape).contiguous().clone()
        for key, mask in masks.items()
        for name in (key, *known[key].aliases)
    }
    return weights | {name: keep.contiguous().clone() for name, keep in (silent or {}).items()}


def masks_safetensors(masks: Stored, plan: Plan) -> bytes:
    """Boolean tensors by parameter name (True = keep); the metadata carries the plan as JSON."""
    return save(
        dict(masks), metadata={"format": "pruning-explorer-masks-1", "plan": plan.to_json()}
    )


def masks_npz(masks: Stored, plan: Plan) -> bytes:
    """Compressed NumPy archive: one boolean array per parameter name, and `plan`, the plan as JSON
    text.
    """
    buffer = io.BytesIO()
    arrays: dict[str, np.ndarray] = {name: mask.numpy() for name, mask in masks.items()}
    np.savez_compressed(buffer, allow_pickle=False, **arrays, **{"plan": np.array(plan.to_json())})
    return buffer.getvalue()


def masks_pt(masks: Stored, plan: Plan) -> bytes:
    """A dict of boolean tensors for `torch.load(..., weights_only=True)` and
    `torch.nn.utils.prune.custom_from_mask`.
    """
    buffer = io.BytesIO()
    torch.save(dict(masks), buffer)
    return buffer.getvalue()


MASK_FORMATS: dict[str, Callable[[Stored, Plan], bytes]] = {
    "safetensors": masks_safetensors,
    "npz": masks_npz,
    "pt": masks_pt,
}
"""File ending -> writer of masks."""


def weights_safetensors(model: nn.Module) -> bytes:
    """The whole `state_dict` with removed weights at zero, each tensor on its own (tied ones
    twice).
    """
    return save(
        {
            name: tensor.detach().cpu().contiguous().clone()
            for name, tensor in model.state_dict().items()
        }
    )


def accuracy_dict(evaluation: Evaluation) -> dict[str, object]:
    """An evaluation as JSON values, without the confusion matrix and the single predictions."""
    return {
        "n": evaluation.n,
        "top1": evaluation.top1,
        "interval_95": list(evaluation.interval),
        "top5": evaluation.top5,
        "loss": evaluation.loss,
        "per_class": list(evaluation.per_class),
    }


def states(done: Finished) -> dict[str, Evaluation]:
    """What was measured, by the state's name, in the order in which the states come about."""
    found = {
        "dense": done.dense,
        "pruned": done.pruned,
        "recalibrated": done.recalibrated,
        "tuned": done.tuned,
    }
    return {name: evaluation for name, evaluation in found.items() if evaluation is not None}


def report_dict(plan: Plan, done: Finished) -> dict[str, object]:
    """The report of a finished plan as JSON values: plan, kernel threads, computed counts, and each
    state's measured accuracy.
    """
    measured = {name: accuracy_dict(found) for name, found in states(done).items()}
    return {
        "plan": json.loads(plan.to_json()),
        "threads": done.threads,
        "computed": asdict(done.report),
        "measured": measured,
    }


def script(plan: Plan, *, tuned: bool, whole_test: bool) -> str:
    """A short Python program that loads the masks by `custom_from_mask` and prints the accuracy
    that the page showed.

    tuned: the weights file beside it holds fine-tuned weights, which are loaded first; whole_test:
    all test images, else the same stratified part of `plan.probe` images.
    """
    split = "data.test" if whole_test else f"probe(data.test, {plan.probe})"
    weights = (
        'model.load_state_dict(load_file(here / "weights.safetensors"))  # fine-tuned\n'
        if tuned
        else ""
    )
    return _SCRIPT.format(
        dataset=plan.dataset,
        model=plan.model,
        beside=" and weights.safetensors" if tuned else "",
        split=split,
        names="load_data, load_model" if whole_test else "load_data, load_model, probe",
        weights=weights,
    )


def bundle(files: Mapping[str, bytes]) -> bytes:
    """A zip archive of those files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()
