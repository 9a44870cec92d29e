"""Measuring accuracy, training with masks held, and batch-norm recalibration. Knows nothing of the
zoo.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from pruning_core.evaluation.intervals import wilson
from pruning_core.model.device import choose_device, ready
from pruning_core.model.model_io import call, count, each, logits, moved
from pruning_core.penalties import NONE, parse_penalty, penalty
from pruning_core.registry import find
from pruning_core.types import (
    Dataset,
    Epoch,
    Evaluation,
    Inputs,
    Layer,
    Masks,
    Pruned,
    PruningError,
    Split,
    Step,
    Tuned,
)

Silent = Mapping[str, Bool[Tensor, "..."]]
"""Parameters besides the weights that are partly at zero: name -> True = keep, in the parameter's
own shape.
"""


def _sgd(groups: list[dict[str, Any]], config: "TrainConfig") -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0
    )


def _adamw(groups: list[dict[str, Any]], config: "TrainConfig") -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=config.lr)


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], "TrainConfig"], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "adamw": _adamw,
}
"""sgd: Nesterov momentum (Sutskever et al. 2013); adamw: decoupled weight decay (Loshchilov, Hutter
2017, arXiv:1711.05101).
"""


def _require(good: bool, sentence: str) -> None:
    if not good:
        raise PruningError(sentence)


@dataclass(frozen=True)
class TrainConfig:
    """How to train. epochs: 0 leaves the weights as they are; lr: peak learning rate.

    warmup: share of all steps in which the rate rises to the peak; cosine: then it falls to 0;
    momentum: of SGD; weight_decay: of tensors with two or more dimensions; augment: shift and
    mirror as the data set allows; label_smoothing: in [0, 1); penalty: none, bn_scale_l1 or
    group_lasso:SHAPE, `penalty_strength` times which is added to the loss (`penalties`); seed: of
    the order of the images (`Plan`). Raises PruningError for a value that cannot be meant.

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
        _require(self.batch_size >= 1, f"The batch size must be at least 1, not {self.batch_size}.")
        _require(0 < self.lr < math.inf, f"The learning rate must be above 0, not {self.lr}.")
        for value, what in (
            (self.epochs, "number of epochs"),
            (self.seed, "seed"),
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


def _class_logits(model: nn.Module, x: Inputs, outputs: Tensor | None) -> Float[Tensor, "b c"]:
    found = logits(model, x)
    return found if outputs is None else found[:, outputs.to(found.device)]


def _check_labels(labels: Tensor, classes: int) -> None:
    if len(labels) and int(labels.max()) >= classes:
        raise PruningError(
            f"The model answers {classes} classes, but the data has label {int(labels.max())}."
        )


def evaluate(
    model: nn.Module,
    split: Split,
    *,
    outputs: Sequence[int] | None = None,
    device: torch.device | str | None = None,
    batch_size: int = 256,
) -> Evaluation:
    """Accuracy, loss and confusion of the model on every image of the split; the model is not changed.

    outputs: the logits that stand for the classes (None = all). Raises PruningError for an empty
    split, labels beyond the model's classes, or logits that are not finite.

    >>> from pruning_core import open_workspace
    >>> space = open_workspace("lenet5", "digits")
    >>> measured = evaluate(space.model, space.dataset.test)
    >>> measured.n, measured.top1 > 0.9
    (359, True)
    """
    _require(len(split) > 0, "There are no images to evaluate on.")
    where = choose_device(device)
    chosen = None if outputs is None else torch.tensor(outputs)
    there = ready(model, where)
    gathered = []
    with torch.inference_mode():
        for x, y in split.batches(batch_size):
            gathered.append((_class_logits(there, moved(x, where), chosen).float().cpu(), y))
    return summarise(
        torch.cat([logits for logits, _ in gathered]), torch.cat([y for _, y in gathered])
    )


def summarise(logits: Float[Tensor, "n c"], labels: Tensor) -> Evaluation:
    """The Evaluation of logits against true labels. Raises PruningError for logits not finite or
    labels beyond their classes.
    """
    broken = "The model's output is NaN or infinite on some image: its weights are broken, or the learning rate was too high."
    _require(bool(logits.isfinite().all()), broken)
    _check_labels(labels, logits.shape[1])
    logits = logits.clone()  # out of inference mode
    labels = labels.clone()
    n, classes = logits.shape
    predictions = logits.argmax(1)
    confusion = torch.bincount(labels * classes + predictions, minlength=classes * classes).view(
        classes, classes
    )
    correct = confusion.diagonal()
    totals = confusion.sum(1)
    recall = tuple(
        c / t if t else None for c, t in zip(correct.tolist(), totals.tolist(), strict=True)
    )
    top5 = (
        float((logits.topk(5).indices == labels[:, None]).any(1).double().mean())
        if classes > 5
        else None
    )
    right = int(correct.sum())
    loss = float(functional.cross_entropy(logits.double(), labels))
    return Evaluation(n, right / n, top5, loss, wilson(right, n), recall, confusion, predictions)


def _held(
    model: nn.Module, masks: Masks, layers: Iterable[Layer], silent: Silent, device: torch.device
) -> list[tuple[nn.Parameter, Tensor]]:
    """Masked parameters of the working copy, each with what to zero in it, in the parameter's own
    shape.
    """
    shapes = {layer.name: layer.param_shape for layer in layers}
    if unknown := sorted(masks.keys() - shapes.keys()):
        raise PruningError(
            f"There is a mask for {unknown[0]!r}, which is no prunable layer of this model."
        )
    pairs = []
    for name, mask in masks.items():
        wanted = math.prod(shapes[name])
        _require(
            mask.numel() == wanted,
            f"The mask of {name!r} has {mask.numel()} entries, its weight has {wanted}.",
        )
        pairs.append((model.get_parameter(name), ~mask.reshape(shapes[name]).to(device)))
    return [
        *pairs,
        *((model.get_parameter(name), ~keep.to(device)) for name, keep in silent.items()),
    ]


@torch.no_grad()
def _hold(held: list[tuple[nn.Parameter, Tensor]]) -> None:
    for parameter, removed in held:
        parameter.masked_fill_(removed, 0)


def _optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    trained = [p for p in model.parameters() if p.requires_grad]
    _require(bool(trained), "The model has no parameter that can be trained.")
    decayed = [p for p in trained if p.ndim > 1]
    free = [p for p in trained if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return OPTIMIZERS[config.optimizer]([group for group in groups if group["params"]], config)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Full batches in one epoch; images too few for one make a single smaller batch."""
    return max(1, images // batch_size)


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The rate of step 0 <= step < total: a linear rise over warmup x total steps, then lr, or lr
    (1 + cos(pi t)) / 2.
    """
    rising = config.warmup * total
    if step < rising:
        return config.lr * (step + 1) / (rising + 1)
    t = (step - rising) / max(1.0, total - rising)
    return config.lr * (1 + math.cos(math.pi * t)) / 2 if config.cosine else config.lr


class Hook:
    """What else happens while a network trains; this one does nothing. Flows that change masks on
    the way bring their own.
    """

    settled = True
    """May the epoch that ends now be the best one? If none may, the last one is."""

    def begin(self, model: nn.Module) -> None:
        """The working copy, before the first step."""

    def backward(self) -> None:
        """The gradients are there, the step is not made yet."""

    def stepped(self, done: int, total: int) -> Sequence[Pruned]:
        """Step number `done`, from 0, of `total` is made; gives the masks to tell."""
        return ()


@dataclass(eq=False)
class _Run:
    """The mutable state of one training: the working copy, its optimizer and the masks to hold."""

    model: nn.Module
    held: list[tuple[nn.Parameter, Tensor]]
    optimizer: torch.optim.Optimizer
    outputs: Tensor | None
    device: torch.device
    config: TrainConfig
    hook: Hook
    penalty: Callable[[nn.Module], Tensor | float]

    def update(self, x: Inputs, y: Tensor, done: int, total: int) -> float:
        """One optimizer step on one batch; masks are held; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, done, total)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.enable_grad():
            torch.manual_seed(
                self.config.seed * 1_000_003 + done
            )  # dropout must not depend on what else runs
            found = _class_logits(self.model, each(x, self._laid), self.outputs)
            _check_labels(y, found.shape[1])
            loss = functional.cross_entropy(
                found, y.to(self.device), label_smoothing=self.config.label_smoothing
            )
            self.optimizer.zero_grad()
            (loss + self.penalty(self.model)).backward()  # the losses told are without it
        self.hook.backward()
        self.optimizer.step()
        _hold(self.held)
        return float(loss.detach())

    def _laid(self, x: Tensor) -> Tensor:
        return (
            x.to(self.device, memory_format=torch.channels_last)
            if x.ndim == 4
            else x.to(self.device)
        )


def _start(
    model: nn.Module,
    masks: Masks,
    layers: Sequence[Layer],
    silent: Silent,
    dataset: Dataset,
    config: TrainConfig,
    device: torch.device,
    hook: Hook,
) -> _Run:
    work = copy.deepcopy(model).to(device).to(memory_format=torch.channels_last)
    held = _held(work, masks, layers, silent, device)
    _hold(held)
    outputs = None if dataset.outputs is None else torch.tensor(dataset.outputs)
    hook.begin(work)
    extra = penalty(config.penalty, config.penalty_strength, layers)
    return _Run(work, held, _optimizer(work, config), outputs, device, config, hook, extra)


def fine_tune(
    model: nn.Module,
    masks: Masks,
    layers: Sequence[Layer],
    dataset: Dataset,
    config: TrainConfig,
    device: torch.device | str | None = None,
    silent: Silent | None = None,
    hook: Hook | None = None,
) -> Iterator[Step | Epoch | Pruned | Tuned]:
    """Train a copy on dataset.train; after every optimizer step w = w * mask, so nothing can revive
    a removed weight.

    Yields a Step per step, an Epoch (evaluated on dataset.val) per epoch, then Tuned: the weights
    of the epoch with the best validation accuracy (the earlier one of equals), in eval mode on the
    CPU. masks = {} trains densely; silent: held at zero too (`coupling.dependent_masks`); hook:
    what else happens in each step, and Pruned events of its own. `Plan` says what the seed
    promises. Raises PruningError for masks that do not fit and for a loss that is not finite.
    """
    where = choose_device(device)
    hook = hook or Hook()
    run = _start(model, masks, layers, silent or {}, dataset, config, where, hook)
    steps = steps_per_epoch(len(dataset.train), config.batch_size)
    best: tuple[int, Evaluation, dict[str, Tensor]] | None = None
    for epoch in range(1, config.epochs + 1):
        run.model.train()
        losses: list[float] = []
        batches = dataset.train.shuffled(
            config.batch_size, config.seed * 1_000_003 + epoch, config.augment
        )
        for step, (x, y) in enumerate(batches, 1):
            done = (epoch - 1) * steps + step - 1
            losses.append(run.update(x, y, done, config.epochs * steps))
            if not math.isfinite(losses[-1]):
                raise PruningError(
                    f"The loss became {losses[-1]} at epoch {epoch}, step {step}: lower the learning rate."
                )
            yield Step(epoch, step, steps, losses[-1])
            yield from hook.stepped(done, config.epochs * steps)
        run.model.eval()
        evaluation = evaluate(run.model, dataset.val, outputs=dataset.outputs, device=where)
        better = (hook.settled or epoch == config.epochs) and (
            best is None or evaluation.top1 > best[1].top1
        )
        if better:
            best = (
                epoch,
                evaluation,
                {name: value.detach().clone() for name, value in run.model.state_dict().items()},
            )
        yield Epoch(epoch, config.epochs, sum(losses) / len(losses), evaluation, better)
    if best is not None:
        run.model.load_state_dict(best[2])
    finished = run.model.cpu().to(memory_format=torch.contiguous_format).eval()
    evaluation = (
        evaluate(finished, dataset.val, outputs=dataset.outputs, device=where)
        if best is None
        else best[1]
    )
    yield Tuned(finished, best[0] if best else 0, evaluation)


def tracked_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The batch norms with running statistics: what `recalibrate_bn` measures anew."""
    return [
        m
        for m in model.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    ]


def recalibrate_bn(
    model: nn.Module,
    split: Split,
    *,
    images: int = 1024,
    device: torch.device | str | None = None,
    batch_size: int = 128,
) -> nn.Module:
    """A copy whose batch norms' running mean and variance are the plain averages over batches of
    the split's first `images`.

    Dropout stays off and weights stay as they are; a model without batch norm comes back as an
    unchanged copy, in eval mode on the CPU. Li et al. 2020 (EagleEye), arXiv:2007.02491.
    """
    where = choose_device(device)
    work = copy.deepcopy(model).to(where).eval()
    norms = tracked_norms(work)
    if not norms:
        return work.cpu()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    with torch.no_grad():
        for x, _ in split.subset(range(min(images, len(split)))).batches(batch_size):
            if count(x) > 1 or len(split) == 1:
                call(work, moved(x, where))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return work.cpu().eval()
