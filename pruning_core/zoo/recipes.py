"""Training recipes of the zoo's checkpoints, and training by them."""

import hashlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from pruning_core.evaluation.accuracy import Judge
from pruning_core.random_numbers import seed_torch
from pruning_core.registry import find
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Dataset, Epoch, Pruned, PruningError, Resumed, Step, Tuned
from pruning_core.whole_files import write_files
from pruning_core.zoo.checkpoints import Card, checkpoints_folder, count_macs
from pruning_core.zoo.data import DATASETS, load_data
from pruning_core.zoo.models import ARCHITECTURES, architecture
from pruning_core.zoo.request import Request, data_root

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
"""(architecture, data set) -> recipe of a checkpoint in the package. `recipe` gives the others."""


def recipe(arch: str, dataset: str) -> TrainConfig:
    """The recipe of a pair; else that of the architecture on Fashion-MNIST; else that of ResNet-20
    on Fashion-MNIST.
    """
    fallback = RECIPES.get((arch, "fashion_mnist"), _FASHION)
    return RECIPES.get((arch, dataset), fallback)


def build_untrained(arch: str, dataset: Dataset, seed: int) -> nn.Module:
    """The newly initialised network of a seed."""
    with torch.random.fork_rng([]):
        seed_torch(seed)
        return architecture(arch).build(dataset.shape, len(dataset.classes))


def reinitialise(model: nn.Module, arch: str, dataset: Dataset, seed: int) -> nn.Module:
    """A copy of the network with new initial weights from a seed. The input stays as it is.

    A network of the zoo (`arch`) is built again. In other networks each module resets its own
    parameters. Raises PruningError where a module has parameters but no `reset_parameters`.
    """
    arch = arch.partition("@")[0]  # of an upload
    if arch in ARCHITECTURES:
        built = build_untrained(arch, dataset, seed)
        if _shapes(built) == _shapes(model):
            return built
    copy = deepcopy(model)
    with torch.random.fork_rng([]):
        seed_torch(seed)
        # Parts first, so that attention resets its output projection after the Linear itself did.
        for name, module in reversed(list(copy.named_modules())):
            reset = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
            if reset is not None:
                reset()
            elif next(module.parameters(recurse=False), None) is not None:
                raise PruningError(
                    "The network cannot be initialised again: "
                    f"{name or type(module).__name__} has parameters but no reset_parameters(). "
                    "Start from its current weights (lottery:fresh=0)."
                )
    return copy


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}


def write_checkpoint(
    arch: str, data: Dataset, config: TrainConfig, tuned: Tuned, folder: Path
) -> Card:
    """Evaluates the network on the test split, and writes ARCH-DATASET.safetensors and its card.

    Raises PruningError where the files cannot be written.
    """
    content = save({name: value.contiguous() for name, value in tuned.model.state_dict().items()})
    test = Judge.of(data).evaluate(tuned.model, data.test)
    card = Card(
        architecture=arch,
        dataset=data.name,
        data=DATASETS[data.name].help,
        classes=data.classes,
        shape=data.shape,
        recipe=config,
        best_epoch=tuned.best_epoch,
        test_top1=test.value,
        test_interval=test.interval,
        test_images=test.n,
        validation_top1=tuned.evaluation.value,
        validation_images=tuned.evaluation.n,
        parameters=sum(p.numel() for p in tuned.model.parameters()),
        macs=count_macs(tuned.model, data.shape),
        sha256=hashlib.sha256(content).hexdigest(),
        date=datetime.now(UTC).date().isoformat(),
        torch=torch.__version__,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PruningError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    name = f"{arch}-{data.name}"
    write_files(folder, {f"{name}.json": card.to_json(), f"{name}.safetensors": content})
    return card


def train(
    arch: str,
    dataset: str,
    config: TrainConfig | None = None,
    out: str | Path | None = None,
    *,
    data: Dataset | None = None,
    device: str | None = None,
) -> Iterator[Resumed | Step | Epoch | Pruned | Tuned]:
    """Trains a network from scratch by its recipe. Yields the events of `fine_tune`.

    It writes the checkpoint and its card before the event Tuned. config: instead of the recipe;
    out: folder of the checkpoint, by default the user's own; data: instead of loading it by name.
    Raises PruningError for unknown names, zero epochs and a folder that cannot be written.
    """
    architecture(arch)
    find(DATASETS, dataset, "data set")
    data = data or load_data(dataset, Request(data_root(), arch))
    chosen = config or recipe(arch, dataset)
    if not chosen.epochs:
        raise PruningError("Training from scratch needs at least one epoch.")
    for event in fine_tune(build_untrained(arch, data, chosen.seed), {}, (), data, chosen, device):
        if isinstance(event, Tuned):
            write_checkpoint(arch, data, chosen, event, Path(out) if out else checkpoints_folder())
        yield event
