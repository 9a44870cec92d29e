"""Trained weights on disk with their model cards: shipped ones first, then the user's own."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pruning_core.registry import find
from pruning_core.training.config import TrainConfig
from pruning_core.types import Dataset, PruningError
from pruning_core.zoo.models import ARCHITECTURES, Architecture, architecture
from pruning_core.zoo.pretrained import PRETRAINED, Pretrained, load_pretrained
from pruning_core.zoo.request import data_root

SHIPPED = Path(__file__).parent / "weights"
ON_IMAGENET = ("imagenette", "imagefolder")
"""Data sets that the pretrained models can be measured on."""
MODELS: dict[str, Architecture | Pretrained] = {**ARCHITECTURES, **PRETRAINED}


@dataclass(frozen=True)
class Card:
    """What a checkpoint is and how good. classes: what its outputs stand for, in order; macs:
    multiply-adds per image.

    accuracies in [0, 1]; test_interval: Wilson 95%; best_epoch: the one kept, by validation
    accuracy; torch: the version it was trained with.
    """

    architecture: str
    dataset: str
    data: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    recipe: TrainConfig
    best_epoch: int
    test_top1: float
    test_interval: tuple[float, float]
    test_images: int
    validation_top1: float
    validation_images: int
    parameters: int
    macs: int
    sha256: str
    date: str
    torch: str

    def to_json(self) -> str:
        """The card as JSON text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Card":
        """Raises PruningError for text that is no card."""
        try:
            raw = json.loads(text)
            fixed = {name: tuple(raw[name]) for name in ("classes", "shape", "test_interval")}
            return cls(**{**raw, **fixed, "recipe": TrainConfig(**raw["recipe"])})
        except (json.JSONDecodeError, TypeError, KeyError) as error:
            raise PruningError(
                f"A model card is damaged ({error}): train the network again."
            ) from error


def count_macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiply-adds of one image: half of what torch.utils.flop_counter counts (convolutions and
    matrix products).
    """
    device = next(model.parameters()).device
    # Only the plain attention is made of products that the counter sees on every device.
    with (
        torch.inference_mode(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model(torch.zeros(1, *shape, device=device))
    flops: int = counter.get_total_flops()
    return flops // 2


def own_folder() -> Path:
    """Where `train` puts checkpoints if not told otherwise."""
    return data_root() / "checkpoints"


def _folders() -> tuple[Path, Path]:
    return SHIPPED, own_folder()


def available() -> tuple[tuple[str, str], ...]:
    """(architecture, data set) of every checkpoint on this machine, shipped ones first."""
    names = [
        path.stem
        for folder in _folders()
        for path in sorted(folder.glob("*.safetensors"))
        if path.with_suffix(".json").is_file()
    ]
    pairs = dict.fromkeys(tuple(name.split("-", 1)) for name in names if "-" in name)
    return tuple((arch, dataset) for arch, dataset in pairs if arch in ARCHITECTURES)


def datasets_for(model: str) -> tuple[str, ...]:
    """Names of the data sets that a model can be opened with. Raises PruningError for an unknown
    model.
    """
    find(MODELS, model, "model")
    return (
        ON_IMAGENET
        if model in PRETRAINED
        else tuple(dataset for arch, dataset in available() if arch == model)
    )


def _path(arch: str, dataset: str) -> Path:
    """Of the weights; the card lies beside them."""
    architecture(arch)
    for folder in _folders():
        path = folder / f"{arch}-{dataset}.safetensors"
        if path.is_file() and path.with_suffix(".json").is_file():
            return path
    there = ", ".join(datasets_for(arch)) or "no data set"
    raise PruningError(
        f"There is no checkpoint of {arch} trained on {dataset!r} (there is one for {there}): "
        f"make it with `python -m pruning_core train {arch} --dataset {dataset}`."
    )


def card(arch: str, dataset: str) -> Card:
    """The model card of a checkpoint. Raises PruningError where there is none."""
    return Card.from_json(_path(arch, dataset).with_suffix(".json").read_text(encoding="utf-8"))


def _check(data: Dataset | None, known: Card) -> None:
    """Raises PruningError for data of other classes, by name and order, or of another shape than
    the card's.
    """
    if data is None:
        return
    name = f"{known.architecture}-{known.dataset}"
    if len(data.classes) != len(known.classes) or data.shape != known.shape:
        raise PruningError(
            f"{name} was trained on {len(known.classes)} classes and images of {known.shape}; "
            f"this data has {len(data.classes)} classes and images of {data.shape}."
        )
    if pairs := [
        (old, new) for old, new in zip(known.classes, data.classes, strict=True) if old != new
    ]:
        old, new = pairs[0]
        raise PruningError(
            f"{name} was trained on other classes: its output for {old!r} would stand for {new!r} in this data. Give the classes "
            f"their names of then, or train again: `python -m pruning_core train {known.architecture} --dataset {known.dataset}`."
        )


def _load_checkpoint(arch: str, dataset: str, data: Dataset | None) -> nn.Module:
    path = _path(arch, dataset)
    known = card(arch, dataset)
    _check(data, known)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != known.sha256:
        raise PruningError(
            f"The file {path.name} is not the one its card describes (SHA-256 differs): get or train it again."
        )
    with torch.random.fork_rng([]):  # the constructor draws random weights, which are overwritten
        model = architecture(arch).build(known.shape, len(known.classes))
    try:
        model.load_state_dict(load(content))
    except (RuntimeError, SafetensorError) as error:
        raise PruningError(
            f"The file {path.name} does not hold the weights of {arch}: train it again."
        ) from error
    return model.eval()


def load_model(model: str, dataset: str, data: Dataset | None = None) -> nn.Module:
    """A fresh copy of the trained network, in eval mode on the CPU; data: if given, it must fit the
    network.

    Raises PruningError for an unknown model or data set, where there is no such checkpoint, or
    where its file is damaged or holds numbers that are not finite; DataMissing for pretrained
    weights that cannot be had.
    """
    find(MODELS, model, "model")
    if model in PRETRAINED and dataset not in ON_IMAGENET:
        raise PruningError(
            f"{model} is trained on ImageNet: open it with {' or '.join(ON_IMAGENET)}, not with {dataset!r}."
        )
    loaded = (
        load_pretrained(model) if model in PRETRAINED else _load_checkpoint(model, dataset, data)
    )
    if broken := [
        name for name, value in loaded.state_dict().items() if not bool(value.isfinite().all())
    ]:
        raise PruningError(
            f"The weights of {model} are not finite in {broken[0]!r}: the checkpoint is damaged."
        )
    return loaded
