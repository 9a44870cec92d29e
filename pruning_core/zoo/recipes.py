"""How every shipped checkpoint was trained: one line of numbers each, and the generator that trains
it again.
"""

import hashlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from pruning_core.evaluation.accuracy import evaluate
from pruning_core.registry import find
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Dataset, Epoch, Pruned, PruningError, Step, Tuned
from pruning_core.zoo.checkpoints import Card, count_macs, own_folder
from pruning_core.zoo.data import DATASETS, load_data
from pruning_core.zoo.models import ARCHITECTURES, architecture

_DIGITS = TrainConfig(epochs=40, lr=0.05, batch_size=64, warmup=0.1, augment=True)
_FASHION = TrainConfig(
    epochs=20, lr=0.1, batch_size=128, warmup=0.1, augment=True, label_smoothing=0.05
)

RECIPES: dict[tuple[str, str], TrainConfig] = {
    ("lenet_300_100", "digits"): _DIGITS,
    ("lenet5", "digits"): _DIGITS,
    ("vgg", "digits"): _DIGITS,
    ("resnet20", "digits"): _DIGITS,
    ("mobilenet", "digits"): _DIGITS,
    ("vit", "digits"): replace(_DIGITS, epochs=60, optimizer="adamw", lr=2e-3, weight_decay=0.05),
    ("resnet20", "fashion_mnist"): _FASHION,
    ("vgg", "fashion_mnist"): replace(_FASHION, epochs=16),
    ("vit", "fashion_mnist"): replace(
        _FASHION, epochs=12, optimizer="adamw", lr=2e-3, weight_decay=0.05
    ),
}
"""The shipped checkpoints. Other pairs train by `recipe`."""


def recipe(arch: str, dataset: str) -> TrainConfig:
    """The published recipe of a pair, else the one of that architecture on Fashion-MNIST, else
    ResNet-20's there.
    """
    fallback = RECIPES.get((arch, "fashion_mnist"), _FASHION)
    return RECIPES.get((arch, dataset), fallback)


def untrained(arch: str, dataset: Dataset, seed: int) -> nn.Module:
    """The freshly initialised network of a seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return architecture(arch).build(dataset.shape, len(dataset.classes))


def anew(model: nn.Module, arch: str, dataset: Dataset, seed: int) -> nn.Module:
    """The network newly initialised from a seed: as the zoo builds it where it is the zoo's `arch`,
    else by its own modules.

    Raises PruningError where a module has parameters of its own and no `reset_parameters`.
    """
    if arch in ARCHITECTURES and _shapes(found := untrained(arch, dataset, seed)) == _shapes(model):
        return found
    work = deepcopy(model)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        for name, module in reversed(
            list(work.named_modules())
        ):  # attention has the last word on its output projection
            reset = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
            if reset is not None:
                reset()
            elif next(module.parameters(recurse=False), None) is not None:
                raise PruningError(
                    f"The network cannot be initialised anew: {name or type(module).__name__} has parameters but no "
                    "reset_parameters(); start from the weights that it has (lottery:fresh=0)."
                )
    return work


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}


def write_checkpoint(
    arch: str, data: Dataset, config: TrainConfig, tuned: Tuned, folder: Path
) -> Card:
    """Measures the network on the test split and writes ARCH-DATASET.safetensors and its card;
    PruningError if it cannot.
    """
    content = save({name: value.contiguous() for name, value in tuned.model.state_dict().items()})
    test = evaluate(tuned.model, data.test, outputs=data.outputs)
    card = Card(
        architecture=arch,
        dataset=data.name,
        data=DATASETS[data.name].help,
        classes=data.classes,
        shape=data.shape,
        recipe=config,
        best_epoch=tuned.best_epoch,
        test_top1=test.top1,
        test_interval=test.interval,
        test_images=test.n,
        validation_top1=tuned.evaluation.top1,
        validation_images=tuned.evaluation.n,
        parameters=sum(p.numel() for p in tuned.model.parameters()),
        macs=count_macs(tuned.model, data.shape),
        sha256=hashlib.sha256(content).hexdigest(),
        date=datetime.now(UTC).date().isoformat(),
        torch=torch.__version__,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{arch}-{data.name}.safetensors").write_bytes(content)
        (folder / f"{arch}-{data.name}.json").write_text(card.to_json(), encoding="utf-8")
    except OSError as error:
        raise PruningError(f"The checkpoint cannot be written to {folder}: {error}.") from error
    return card


def train(
    arch: str,
    dataset: str,
    config: TrainConfig | None = None,
    out: str | Path | None = None,
    *,
    data: Dataset | None = None,
    device: str | None = None,
) -> Iterator[Step | Epoch | Pruned | Tuned]:
    """Train a network from scratch by its recipe; yields as `fine_tune`. The checkpoint and its
    card are written before Tuned.

    out: the folder for them, by default the user's own; data: instead of loading it by name.
    PruningError for unknown names.
    """
    architecture(arch), find(DATASETS, dataset, "data set")
    data = data or load_data(dataset, model=arch)
    chosen = config or recipe(arch, dataset)
    if not chosen.epochs:
        raise PruningError("Training from scratch needs at least one epoch.")
    for event in fine_tune(untrained(arch, data, chosen.seed), {}, (), data, chosen, device):
        if isinstance(event, Tuned):
            write_checkpoint(arch, data, chosen, event, Path(out) if out else own_folder())
        yield event
