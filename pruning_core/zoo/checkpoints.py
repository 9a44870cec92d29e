"""Trained weights on disk and their model cards: those of the package, then the user's own."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from pruning_core.errors import first_line
from pruning_core.registry import find
from pruning_core.training.config import TrainConfig
from pruning_core.types import Dataset, PruningError
from pruning_core.zoo.models import ARCHITECTURES, Architecture, architecture
from pruning_core.zoo.pretrained import PRETRAINED, Pretrained, load_pretrained
from pruning_core.zoo.request import data_root

SHIPPED = Path(__file__).parent / "weights"
IMAGENET_DATASETS = ("imagenette", "imagefolder")
"""Data sets on which the pretrained ImageNet models can be evaluated."""
MODELS: dict[str, Architecture | Pretrained] = {**ARCHITECTURES, **PRETRAINED}


@dataclass(frozen=True)
class Card:
    """The model card of a checkpoint: what it is, and its measured accuracy.

    classes: class of each output, in order; accuracies in [0, 1]; test_interval: Wilson 95%
    interval; best_epoch: the epoch with the best validation accuracy, whose weights are stored;
    macs: multiply-adds per image; torch: version of PyTorch that trained it.
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
        """The card in JSON text. Raises PruningError where the text is not a card."""
        try:
            raw = json.loads(text)
            fixed = {name: tuple(raw[name]) for name in ("classes", "shape", "test_interval")}
            known = cls(**{**raw, **fixed, "recipe": TrainConfig(**raw["recipe"])})
            known._check()
            return known
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise PruningError(
                f"A model card is damaged ({first_line(error)}): train the network again."
            ) from error

    def _check(self) -> None:
        """Raises ValueError or TypeError where a value cannot be one of a card."""
        texts = (self.architecture, self.dataset, self.data, self.sha256, self.date, self.torch)
        counts = (*self.shape, self.test_images, self.parameters)
        others = (self.best_epoch, self.validation_images, self.macs)
        fractions = (self.test_top1, *self.test_interval, self.validation_top1)
        if not all(type(text) is str for text in (*texts, *self.classes)):
            raise ValueError("a name is not a text")
        if not all(type(number) is int for number in (*counts, *others)):
            raise ValueError("a count is not a whole number")
        if min(counts) < 1 or min(others) < 0 or len(self.shape) != 3 or not self.classes:
            raise ValueError("a count is too small")
        if not all(0 <= fraction <= 1 for fraction in fractions) or len(self.test_interval) != 2:
            raise ValueError("an accuracy is outside 0 to 1")


def count_macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiply-adds of a forward pass of one image: half the operations that
    torch.utils.flop_counter counts in convolutions and matrix products.
    """
    # Imported here: it imports triton, which takes long, and is for checkpoints that are written.
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    # The counter sees the matrix products of attention on every device only with the math backend.
    with (
        torch.inference_mode(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model(torch.zeros(1, *shape, device=device))
    flops: int = counter.get_total_flops()
    return flops // 2


def checkpoints_folder() -> Path:
    """The default folder of checkpoints that `train` writes."""
    return data_root() / "checkpoints"


def _search_folders() -> tuple[Path, Path]:
    return SHIPPED, checkpoints_folder()


def available() -> tuple[tuple[str, str], ...]:
    """(architecture, data set) of every checkpoint on this machine, those of the package first."""
    names = [
        path.stem
        for folder in _search_folders()
        for path in sorted(folder.glob("*.safetensors"))
        if path.with_suffix(".json").is_file()
    ]
    pairs = dict.fromkeys(tuple(name.split("-", 1)) for name in names if "-" in name)
    return tuple((arch, dataset) for arch, dataset in pairs if arch in ARCHITECTURES)


def datasets_for(model: str) -> tuple[str, ...]:
    """Names of the data sets that a model has weights for.

    Raises PruningError for an unknown model.
    """
    find(MODELS, model, "model")
    if model in PRETRAINED:
        return IMAGENET_DATASETS
    return tuple(dataset for arch, dataset in available() if arch == model)


def _path(arch: str, dataset: str) -> Path:
    """The weights file of a checkpoint; its card is next to it."""
    architecture(arch)
    for folder in _search_folders():
        path = folder / f"{arch}-{dataset}.safetensors"
        if path.is_file() and path.with_suffix(".json").is_file():
            return path
    others = ", ".join(datasets_for(arch)) or "no data set"
    raise PruningError(
        f"There is no checkpoint of {arch} trained on {dataset!r} (available: {others}): "
        f"make it with `python -m pruning_core train {arch} --dataset {dataset}`."
    )


def card(arch: str, dataset: str) -> Card:
    """The model card of a checkpoint. Raises PruningError where the checkpoint does not exist."""
    path = _path(arch, dataset).with_suffix(".json")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PruningError(
            f"The model card {path.name} cannot be read: train the network again."
        ) from error
    return Card.from_json(text)


def _check_data(data: Dataset | None, known: Card) -> None:
    """Raises PruningError where image shape, class names or class order differ from the card's."""
    if data is None:
        return
    name = f"{known.architecture}-{known.dataset}"
    if len(data.classes) != len(known.classes) or data.shape != known.shape:
        raise PruningError(
            f"{name} was trained on {len(known.classes)} classes and images of {known.shape}; "
            f"this data has {len(data.classes)} classes and images of {data.shape}."
        )
    for trained, given in zip(known.classes, data.classes, strict=True):
        if trained != given:
            raise PruningError(
                f"{name} was trained on other classes: its output for {trained!r} would mean "
                f"{given!r} in this data. Use the class names of the training data, or train "
                "again: `python -m pruning_core train "
                f"{known.architecture} --dataset {known.dataset}`."
            )


def _load_checkpoint(arch: str, dataset: str, data: Dataset | None) -> nn.Module:
    path = _path(arch, dataset)
    known = card(arch, dataset)
    _check_data(data, known)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != known.sha256:
        raise PruningError(
            f"The file {path.name} does not match its card (other SHA-256): "
            "download or train it again."
        )
    with torch.random.fork_rng([]):  # building draws random weights
        model = architecture(arch).build(known.shape, len(known.classes))
    try:
        model.load_state_dict(load(content))
    except (RuntimeError, SafetensorError) as error:
        raise PruningError(
            f"The file {path.name} does not hold the weights of {arch}: train it again."
        ) from error
    return model.eval()


def load_model(model: str, dataset: str, data: Dataset | None = None) -> nn.Module:
    """As `by_name.load_model`, for a network of the package or with a checkpoint."""
    find(MODELS, model, "model")
    if model in PRETRAINED and dataset not in IMAGENET_DATASETS:
        raise PruningError(
            f"{model} is trained on ImageNet: use {' or '.join(IMAGENET_DATASETS)}, "
            f"not {dataset!r}."
        )
    if model in PRETRAINED:
        network = load_pretrained(model)
    else:
        network = _load_checkpoint(model, dataset, data)
    for name, value in network.state_dict().items():
        if not bool(value.isfinite().all()):
            raise PruningError(
                f"The weights of {model} are not finite in {name!r}: the checkpoint is damaged."
            )
    return network
