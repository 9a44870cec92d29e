"""How to train: the configuration, the optimizers and the learning rate of each step."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pruning_core.penalties import NONE, parse_penalty
from pruning_core.registry import find
from pruning_core.training.optimizers import SGD, AdamW
from pruning_core.types import PruningError


def _sgd(groups: list[dict[str, Any]], config: "TrainConfig") -> torch.optim.Optimizer:
    return SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)


def _adamw(groups: list[dict[str, Any]], config: "TrainConfig") -> torch.optim.Optimizer:
    return AdamW(groups, lr=config.lr)


MAX_EPOCHS = 100_000
MAX_BATCH = 1_000_000
MAX_SEED = 2**31 - 1

OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], "TrainConfig"], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "adamw": _adamw,
}
"""Optimizer by name, made of parameter groups and a config.

sgd: Nesterov momentum (Sutskever et al. 2013). adamw: decoupled weight decay (Loshchilov, Hutter
2017, arXiv:1711.05101).
"""


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    epochs: number of passes over the training split; 0 leaves the weights as they are.
    lr: the highest learning rate.
    warmup: fraction of all steps during which the rate rises to `lr`, in [0, 1).
    cosine: after the warm-up, the rate falls to 0 along a cosine; without it, it stays at `lr`.
    momentum: of SGD, in [0, 1).
    weight_decay: of the parameters with two or more dimensions; the others have none.
    augment: shifts and mirrors the images as the data set allows.
    label_smoothing: in [0, 1).
    penalty: none, bn_scale_l1 or group_lasso:GRANULARITY (`penalties`).
    penalty_strength: factor of the penalty in the loss.
    seed: fixes the order of the images and all random numbers of the training (`Plan`).

    Raises PruningError for a value outside its range and for an unknown name.

    >>> TrainConfig(epochs=2, optimizer="adamw", lr=0.001).batch_size
    32
    """

    epochs: int = 3
    lr: float = 0.01
    batch_size: int = 32
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    cosine: bool = True
    warmup: float = 0.0
    seed: int = 0
    augment: bool = False
    label_smoothing: float = 0.0
    penalty: str = NONE
    penalty_strength: float = 1e-4

    def __post_init__(self) -> None:
        whole = all(type(value) is int for value in (self.epochs, self.batch_size, self.seed))
        _require(whole, "Epochs, batch size and seed must be whole numbers.")
        for count, least, most, what in (
            (self.epochs, 0, MAX_EPOCHS, "number of epochs"),
            (self.batch_size, 1, MAX_BATCH, "batch size"),
            (self.seed, 0, MAX_SEED, "seed"),
        ):
            _require(
                least <= count <= most,
                f"The {what} must be from {least} to {most:,}, but is {_digits(count)}.",
            )
        _require(0 < self.lr < math.inf, f"The learning rate must be above 0, not {self.lr}.")
        for value, what in (
            (self.weight_decay, "weight decay"),
            (self.penalty_strength, "strength of the penalty"),
        ):
            _require(0 <= value < math.inf, f"The {what} must not be negative, but is {value}.")
        for value, what in (
            (self.momentum, "momentum"),
            (self.warmup, "warm-up"),
            (self.label_smoothing, "label smoothing"),
        ):
            _require(0 <= value < 1, f"The {what} must lie in [0, 1), not {value}.")
        parse_penalty(self.penalty)
        find(OPTIMIZERS, self.optimizer, "optimizer")


def _digits(number: int) -> str:
    """A whole number, or how large it is where it has many digits."""
    return f"{number:,}" if abs(number) < 10**18 else f"{'-' if number < 0 else ''}1e18 or more"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise PruningError(message)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """The number of full batches in one epoch, at least 1.

    Fewer images than one batch make a single smaller batch.
    """
    return max(1, images // batch_size)


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The learning rate of one optimizer step, 0 <= step < total.

    It rises linearly over the first warmup x total steps. After them it is lr, or with `cosine`
    lr (1 + cos(pi t)) / 2, where t goes from 0 to 1 over the other steps.
    """
    rising = config.warmup * total
    if step < rising:
        return config.lr * (step + 1) / (rising + 1)
    t = (step - rising) / max(1.0, total - rising)
    return config.lr * (1 + math.cos(math.pi * t)) / 2 if config.cosine else config.lr
