"""Uploaded checkpoints: what is mended and said, what is refused, and before what."""

import argparse
import io
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import ZIP_DEFLATED

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn.utils import prune
from torchvision import transforms
from torchvision.models import GoogLeNet

from pruning_core.model import tensor_files
from pruning_core.types import PruningError
from pruning_core.zoo.uploads import Fit, architectures, inspect
from pruning_core.zoo.uploads.architectures import Built
from pruning_core.zoo.uploads.checkpoints import fit
from tests.core.zoo.uploads.files import TRANSFORM, bomb, named, network, old_pt, pt, zipped

SHAPE = (3, 64, 64)
STATE = network().state_dict()
OTHER = network(seed=1).state_dict()
Tensors = Mapping[str, Tensor]


@pytest.fixture(autouse=True)
def _data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))


def look(content: bytes, architecture: str = "vgg", chosen: str = "") -> Fit:
    return inspect(content, architecture, TRANSFORM.shape, chosen)


def inside(part: str, state: Tensors) -> dict[str, Tensor]:
    return {name.replace(".conv.", f".{part}.conv."): value for name, value in state.items()}


MENDED: dict[str, tuple[Callable[[], Any], str]] = {
    "as it is": (lambda: STATE, ""),
    "in a training's checkpoint": (
        lambda: {"epoch": 3, "model_state_dict": STATE, "args": {"lr": 0.1}},
        "read from 'model_state_dict'",
    ),
    "two containers deep": (lambda: {"model": {"state_dict": STATE}}, "'model.state_dict'"),
    "of DataParallel": (lambda: named("module.", STATE), "prefix 'module.'"),
    "compiled": (lambda: {"model": named("_orig_mod.", STATE)}, "read from 'model'"),
    "compiled in part": (lambda: inside("_orig_mod", STATE), ""),
    "of Lightning": (
        lambda: {"state_dict": named("model.", STATE) | {"loss.weight": torch.ones(3)}},
        "1 other tensors of the file were left out",
    ),
    "of a wrapper with DataParallel": (
        lambda: named("module.backbone.", STATE),
        "prefix 'module.backbone.'",
    ),
    "beside an optimizer": (
        lambda: {"optimizer": {"state": {0: {"momentum": torch.ones(3)}}}, "net": STATE},
        "read from 'net'",
    ),
    "beside its average": (
        lambda: {"model_ema": OTHER, "model": STATE},
        "2 sets of weights; 'model' was taken",
    ),
    "as an average alone": (
        lambda: {"ema": named("module.", STATE) | {"n_averaged": torch.tensor(3)}},
        "average over training",
    ),
    "with counters as floats": (
        lambda: STATE | {"block1.bn.num_batches_tracked": torch.tensor(2.0)},
        "",
    ),
    "with a very long name": (lambda: STATE | {"a." * 10**5: torch.ones(1)}, ""),
    "without counters": (
        lambda: {name: v for name, v in STATE.items() if "num_batches" not in name},
        "",
    ),
    "with counters of thop": (lambda: STATE | {"block1.total_ops": torch.zeros(1)}, ""),
    "in half precision": (lambda: {name: value.double() for name, value in STATE.items()}, ""),
}


def npz(arrays: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_every_usual_form_is_mended_and_said() -> None:
    wrong = {}
    for kind, (make, words) in MENDED.items():
        fit = look(pt(make()))
        values = {n: v for n, v in fit.state.items() if "num_batches" not in n}
        equal = all(torch.equal(v, STATE[n]) for n, v in values.items())
        if fit.differences or fit.classes != 3 or not equal or words not in " ".join(fit.notes):
            wrong[kind] = (fit.differences[:2], fit.classes, equal, fit.notes)
    assert not wrong
    arrays = {name: value.numpy() for name, value in STATE.items()}
    arrays["fc.bias"] = arrays["fc.bias"].astype(">f4")
    for content in (save(STATE), old_pt({"net": STATE}), npz(arrays)):
        fit = look(content)
        assert (len(fit.state), fit.differences) == (len(STATE), ())
        assert torch.equal(fit.state["fc.bias"], STATE["fc.bias"])
    unread = look(npz(arrays | {"fc.bias": np.zeros(3, np.longdouble)})).differences
    assert [(row.name, row.problem) for row in unread] == [("fc.bias", "missing")]


def test_another_set_of_weights_can_be_chosen() -> None:
    content = pt({"model": STATE, "model_ema": OTHER})
    fit = look(content)
    assert fit.choices == ("model", "model_ema")
    averaged = look(content, chosen="model_ema")
    assert torch.equal(averaged.state["fc.weight"], OTHER["fc.weight"])


def test_masks_of_torch_prune_are_taken_over() -> None:
    model = network()
    conv = model.get_submodule("block2.conv")
    prune.l1_unstructured(conv, "weight", 0.4)
    fit = look(pt({"state_dict": named("module.", model.state_dict())}))
    assert not fit.differences
    assert fit.masks.keys() == {"block2.conv.weight"}
    assert torch.equal(fit.masks["block2.conv.weight"], conv.get_buffer("weight_mask") > 0)
    assert torch.equal(fit.state["block2.conv.weight"], torch.as_tensor(conv.weight))


def test_differences_are_a_table() -> None:
    state: dict[str, Tensor] = {n: v for n, v in STATE.items() if n != "block1.bn.bias"}
    state |= {"fc.bias": torch.ones(7), "extra.weight": torch.ones(2, 3)}
    rows = {(row.name, row.problem, row.file, row.network) for row in look(pt(state)).differences}
    assert ("block1.bn.bias", "missing", "", "32") in rows
    assert ("extra.weight", "unexpected", "2 x 3", "") in rows
    assert ("fc.bias", "other shape", "7", "3") in rows
    quantised = look(pt(STATE | {"fc.weight": torch.ones(3, 128, dtype=torch.int8)}))
    (row,) = quantised.differences
    assert (row.name, row.problem, row.file) == ("fc.weight", "other type", "int8")
    with pytest.raises(PruningError, match="does not fit vgg: "):
        look(pt(state)).check()
    with pytest.raises(PruningError, match=r"numbers in fc\.bias that are not finite"):
        look(pt(STATE | {"fc.bias": torch.full((3,), torch.inf)})).check()


def test_every_architecture_of_the_zoo_and_of_torchvision_is_known() -> None:
    names = architectures()
    assert {"vgg", "lenet5", "resnet18", "regnet_y_400mf", "swin_t", "vit_b_16"} <= names.keys()


def test_torchvision_networks_of_any_number_of_classes_and_channels_are_read() -> None:
    from torchvision.models import get_model

    model = get_model("mnasnet0_5", num_classes=7)
    model.layers[0] = torch.nn.Conv2d(1, 16, 3, 2, 1, bias=False)
    fit = inspect(pt(model.state_dict()), "mnasnet0_5", (1, 32, 32))
    assert (fit.classes, fit.differences) == (7, ())
    assert fit.form.shapes(7).keys() == model.state_dict().keys()


class Kept:
    """An object of the user's own."""


def overlapping() -> bytes:
    """Two entries that are the same bytes of the file."""
    files = zipped({"x/data.pkl": b"\x80\x02}." + b" " * 5000, "x/data/0": b"1" * 90})
    at = files.index(b"PK\x01\x02", files.index(b"PK\x01\x02") + 1)
    return files[: at + 20] + struct.pack("<II", 20_000, 20_000) + files[at + 28 :]


def expanded() -> dict[str, Tensor]:
    return STATE | {"fc.weight": torch.ones(1).expand(10**6, 10**6)}


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "no safetensors, .pt or .npz file"),
    "a text": (lambda: b"weights are elsewhere", "no safetensors, .pt or .npz file"),
    "an old pickle": (lambda: b"\x80\x02]q\x00.", "The file is damaged"),
    "a whole network": (lambda: pt(network()), "which are not loaded because they could run code"),
    "options beside the weights": (
        lambda: pt({"model": STATE, "args": argparse.Namespace(lr=1)}),
        "Python objects (argparse.Namespace)",
    ),
    "one tensor": (lambda: pt(torch.ones(3)), "holds a Tensor, no state_dict"),
    "a zip of other files": (lambda: zipped({"a.txt": b""}), "no .pt and no .npz file"),
    "a damaged zip": (lambda: pt(STATE)[:3000], "damaged"),
    "a compressed archive": (bomb, "compressed, or its parts overlap"),
    "overlapping parts": (overlapping, "overlap"),
    "a TorchScript program": (
        lambda: zipped({"x/data.pkl": b"\x80\x02}.", "x/constants.pkl": b""}, ZIP_DEFLATED),
        "TorchScript program",
    ),
    "a constructor": (
        lambda: zipped({"x/data.pkl": b"\x80\x02ctorch\nTensor\nM\xff\xff\x85R."}),
        "builds tensors by itself",
    ),
    "an expanded tensor": (lambda: pt(expanded()), "is a checkpoint of another network"),
    "another network": (
        lambda: pt(network(architecture="lenet5").state_dict()),
        "has a name that vgg has: choose the architecture of the checkpoint",
    ),
    "a damaged safetensors file": (lambda: save(STATE)[:-9], "safetensors file is damaged"),
    "a broken header": (lambda: struct.pack("<Q", 9) + b'{"a": [1]', "header of the safetensors"),
    "a huge header": (lambda: struct.pack("<Q", 2**40) + b"{", "1,099,511,627,776 bytes"),
    "many tensors": (
        lambda: save({str(i): torch.ones(1) for i in range(41)}),
        "41 tensors; at most 40",
    ),
    "too large": (lambda: save({"x": torch.ones(1 << 19)}), "The file has 2 MB; at most 1 MB"),
}


def test_what_is_no_checkpoint_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {}
    for kind, (make, words) in REFUSED.items():
        content = make()
        monkeypatch.setattr(tensor_files, "MAX_TENSORS", 40 if kind == "many tensors" else 20_000)
        monkeypatch.setattr(tensor_files, "MAX_BYTES", (1 if kind == "too large" else 600) << 20)
        try:
            fit = look(content)
        except PruningError as error:
            if words not in str(error) or "\n" in str(error):
                wrong[kind] = str(error)
        else:
            if not (kind == "an expanded tensor" and fit.differences[0].name == "fc.weight"):
                wrong[kind] = " ".join(fit.notes)
    assert not wrong


def test_the_input_change_of_googlenet_is_named_and_is_a_mean_of_a_half() -> None:
    state = {name: torch.zeros(size) for name, size in Built("googlenet", SHAPE).shapes(3).items()}
    found = fit(state, "googlenet", SHAPE)
    found.check()
    assert "state the mean 0.5" in found.notes[-1]
    pixels = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    own = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(pixels)
    changed = GoogLeNet._transform_input(SimpleNamespace(transform_input=True), own)
    assert torch.allclose(changed, transforms.Normalize([0.5] * 3, [0.5] * 3)(pixels), atol=1e-6)
