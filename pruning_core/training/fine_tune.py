"""Training of a pruned network: removed weights stay at zero."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.evaluation.accuracy import Judge
from pruning_core.model.device import choose_device
from pruning_core.model.mask_forms import removed_places
from pruning_core.model.model_io import (
    call,
    channels_last,
    copy_model,
    map_tensors,
    sample_count,
    tensors_in,
)
from pruning_core.model.precision import HALVES, computes_in_half, set_types, types_of
from pruning_core.penalties import penalty
from pruning_core.random_numbers import seed_torch
from pruning_core.tasks.task import Task
from pruning_core.training.batch_norm import tracked_norms
from pruning_core.training.config import OPTIMIZERS, TrainConfig, learning_rate, steps_per_epoch
from pruning_core.training.hook import Hook, StatelessHook
from pruning_core.training.journal import Journal
from pruning_core.training.kept_training import KeptTraining, start_digest
from pruning_core.training.state_files import (
    KeptOptimizer,
    State,
    packed_evaluation,
    unpacked_evaluation,
)
from pruning_core.types import (
    Dataset,
    Epoch,
    Evaluation,
    GivenMasks,
    Inputs,
    Layer,
    Pruned,
    PruningError,
    Resumed,
    Split,
    Step,
    Tuned,
)
from pruning_core.user_code import user_code


def fine_tune(
    model: nn.Module,
    masks: GivenMasks,
    layers: Sequence[Layer],
    dataset: Dataset,
    config: TrainConfig,
    device: torch.device | str | None = None,
    dependent: GivenMasks | None = None,
    hook: Hook | None = None,
    skip: int = 0,
    journal: Journal | None = None,
) -> Iterator[Resumed | Step | Epoch | Pruned | Tuned]:
    """Trains a copy of the model on dataset.train. Removed weights stay at zero.

    After every optimizer step w = w * mask. Yields a Step per optimizer step, an Epoch per epoch
    (measured on dataset.val), the Pruned events of the hook, and last Tuned: the weights of the
    epoch with the best validation value (the earliest of equal ones), in eval mode on the CPU.

    masks: {} trains the dense network; dependent: masks of other parameters, which stay at zero
    too (`coupling.dependent_masks`); hook: what else happens in each step; skip: epochs that are
    left out at the start, so that learning rates and the order of the images are those of the
    others; journal: of an interrupted run: its events come again after Resumed, and the training
    continues after its last kept epoch, to exactly the weights of an uninterrupted one.
    A network in half precision is trained in float32 and becomes half again at the end.
    `Plan` states what the seed guarantees. Raises PruningError for masks that do not fit the model
    and for a loss that is not finite.
    """
    where = choose_device(device)
    hook = hook or StatelessHook()
    run = _start(model, masks, layers, dependent, dataset, config, where, hook)
    kept = None
    if journal is not None:
        start = start_digest(model, masks, config, skip, type(hook).__qualname__)
        kept = KeptTraining(journal, start, dataset.task)
    best = yield from run.epochs(dataset, skip, kept)
    yield _tuned(run, best, dataset)


@dataclass(frozen=True, eq=False)
class _Best:
    """The best epoch so far and its parameters and buffers."""

    epoch: int
    evaluation: Evaluation
    state: dict[str, Any]


def _copied_state(model: nn.Module) -> dict[str, Any]:
    """The state, with copies of what modules keep beside tensors (`get_extra_state`)."""
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else deepcopy(value)
        for name, value in model.state_dict().items()
    }


@dataclass(eq=False)
class _Run:
    """The state of one training: the copy that is trained, its optimizer and its masks."""

    model: nn.Module
    types: dict[str, torch.dtype]
    removed: list[tuple[nn.Parameter, Tensor]]
    optimizer: torch.optim.Optimizer
    judge: Judge
    device: torch.device
    channels_last: bool
    config: TrainConfig
    hook: Hook
    penalty: Callable[[nn.Module], Tensor | float]

    def epochs(
        self, dataset: Dataset, skip: int, kept: KeptTraining | None
    ) -> Generator[Resumed | Step | Epoch | Pruned, None, _Best | None]:
        """Trains all epochs but the first `skip`; returns the best one."""
        best: _Best | None = None
        epochs = self.config.epochs
        if kept is not None and kept.state is not None:
            best = self._restore(kept.state, dataset.task)
            skip = kept.epoch
            yield from kept.replayed(self.model, epochs)
        for epoch in range(1 + skip, epochs + 1):
            losses: list[float] = []
            steps = self._train_epoch(epoch, dataset.train, losses)
            yield from steps if kept is None else kept.seen(steps)
            evaluation = _validated(self.model, dataset, self.device)
            allowed = self.hook.settled or epoch == epochs
            better = allowed and (
                best is None or dataset.task.better(evaluation.value, best.evaluation.value)
            )
            if better:
                best = _Best(epoch, evaluation, _copied_state(self.model))
            event = Epoch(epoch, epochs, sum(losses) / len(losses), evaluation, better)
            if kept is not None:
                kept.add(event)
            yield event
            if kept is not None:
                kept.keep(epoch, partial(self._state, best, epoch), final=epoch == epochs)
        return best

    def _train_epoch(
        self, epoch: int, split: Split, losses: list[float]
    ) -> Iterator[Step | Pruned]:
        """Trains one epoch, counted from 1, and appends each step's loss to `losses`."""
        config = self.config
        steps = steps_per_epoch(len(split), config.batch_size)
        total = config.epochs * steps
        self.model.train()
        seed = config.seed * 1_000_003 + epoch
        for step, (x, y) in enumerate(split.shuffled(config.batch_size, seed, config.augment), 1):
            done = (epoch - 1) * steps + step - 1
            loss = self.update(x, y, done, total)
            if not math.isfinite(loss):
                raise PruningError(
                    f"The loss became {loss} at epoch {epoch}, step {step}: "
                    f"{_broken_inputs(x) or 'lower the learning rate'}."
                )
            losses.append(loss)
            yield Step(epoch, step, steps, loss)
            yield from self.hook.stepped(done, total)
        self.model.eval()

    def _state(self, best: _Best | None, epoch: int) -> State | None:
        """What it needs to continue after that epoch; None where the hook cannot."""
        hook = self.hook.state_dict()
        if hook is None:
            return None
        over = best is not None and epoch == self.config.epochs
        own = best is not None and best.epoch != epoch and not over
        return {
            "hook": hook,
            "model": best.state if best is not None and over else self.model.state_dict(),
            "optimizer": {} if over else KeptOptimizer(self.optimizer).state_dict(),
            "best": best
            and {
                "epoch": best.epoch,
                "evaluation": packed_evaluation(best.evaluation),
                "state": best.state if own else None,
            },
        }

    def _restore(self, state: State, task: Task) -> _Best | None:
        """Continues from a `_state`; gives its best epoch."""
        self.hook.load_state_dict(state["hook"])
        self.model.load_state_dict(state["model"])
        KeptOptimizer(self.optimizer).load_state_dict(state["optimizer"])
        if (best := state["best"]) is None:
            return None
        own = best["state"] or _copied_state(self.model)
        return _Best(best["epoch"], unpacked_evaluation(best["evaluation"], task), own)

    def update(self, x: Inputs, y: Tensor, done: int, total: int) -> float:
        """Makes one optimizer step on one batch and gives its loss, without the penalty."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, done, total)
        devices = [self.device] if self.device.type == "cuda" else []
        step = user_code("A training step of the network")
        with step, torch.random.fork_rng(devices), torch.enable_grad():
            # Dropout must not depend on what else draws random numbers in this process.
            seed_torch(self.config.seed * 1_000_003 + done)
            out = self._output(map_tensors(x, self._on_device))
            loss = self.judge.loss(out, y, self.config.label_smoothing)
            self.optimizer.zero_grad()
            _require_gradient(loss)
            (loss + self.penalty(self.model)).backward()
        self.hook.backward()
        self.optimizer.step()
        _zero(self.removed)
        return float(loss.detach())

    def _output(self, x: Inputs) -> Any:
        """The model's output for a batch.

        One sample may give a batch norm a single value per channel, which has no variance. All
        batch norms then use their running statistics in this step, and do not change them.
        """
        try:
            return call(self.model, x)
        except ValueError as error:
            if sample_count(x) > 1 or "more than 1 value per channel" not in str(error):
                raise
        norms = [norm for norm in tracked_norms(self.model) if norm.training]
        if not norms:
            raise PruningError(
                "A batch of one sample has no statistics for this network's batch norms: choose "
                "another batch size."
            )
        for norm in norms:
            norm.eval()
        out = call(self.model, x)
        for norm in norms:
            norm.train()
        return out

    def _on_device(self, x: Tensor) -> Tensor:
        return _placed(x, self.device, last=self.channels_last)


def _broken_inputs(x: Inputs) -> str:
    """Which samples of a batch have numbers that are not finite; "" for none."""
    bad: set[int] = set()

    def check(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            rows = ~tensor.reshape(len(tensor), -1).isfinite().all(1)
            bad.update(rows.nonzero().flatten().tolist())
        return tensor

    map_tensors(x, check)
    if not bad:
        return ""
    samples = ", ".join(map(str, sorted(bad)[:3]))
    return (
        f"{len(bad)} of the {sample_count(x)} training inputs of this batch (number {samples} in "
        "it) have NaN or infinite numbers, so repair the data"
    )


def _require_gradient(loss: Tensor) -> None:
    if not loss.requires_grad:
        raise PruningError(
            "No trained parameter changes the loss: all parameters that the forward pass reads are "
            "frozen, or it runs without gradients."
        )


def _tuned(run: _Run, best: _Best | None, dataset: Dataset) -> Tuned:
    """The last event: the best epoch's weights, or the first ones after no epoch."""
    if best is not None:
        run.model.load_state_dict(best.state)
    model = run.model.cpu().to(memory_format=torch.contiguous_format).eval()
    if any(kind in HALVES for kind in run.types.values()):
        # Trained in float32; what is measured is the network in its own type.
        model = set_types(model, run.types)
    elif best is not None and len(best.evaluation.values):  # not one that was kept
        return Tuned(model, best.epoch, best.evaluation)
    number = 0 if best is None else best.epoch
    return Tuned(model, number, _validated(model, dataset, run.device))


def _validated(model: nn.Module, dataset: Dataset, device: torch.device) -> Evaluation:
    """The model on the validation split."""
    return Judge.of(dataset).evaluate(model, dataset.val, device)


def _start(
    model: nn.Module,
    masks: GivenMasks,
    layers: Sequence[Layer],
    dependent: GivenMasks | None,
    dataset: Dataset,
    config: TrainConfig,
    device: torch.device,
    hook: Hook,
) -> _Run:
    work = copy_model(model).to(device)
    types = types_of(work)
    if computes_in_half(work):
        # Small steps and gradients would be rounded to zero.
        work = work.float()
    fast = not config.epochs or _runs_channels_last(work, dataset, device)
    work = channels_last(work) if fast else work
    removed = removed_places(work, masks, layers, dependent)
    _zero(removed)
    # Before the hook, which may need the gradients of frozen parameters.
    optimizer = _optimizer(work, config)
    hook.begin(work, optimizer)
    return _Run(
        model=work,
        types=types,
        removed=removed,
        optimizer=optimizer,
        judge=Judge.of(dataset),
        device=device,
        channels_last=fast,
        config=config,
        hook=hook,
        penalty=penalty(config.penalty, config.penalty_strength, layers),
    )


def _runs_channels_last(model: nn.Module, dataset: Dataset, device: torch.device) -> bool:
    """Does the network run with channels last? Code such as x.view(len(x), -1) does not.

    Two samples are tried. An error that the usual layout has too is left to the training.
    """
    x, _ = next(iter(dataset.train.batches(2)))
    if not any(tensor.ndim == 4 for tensor in (*model.parameters(), *tensors_in(x))):
        return True
    trial = channels_last(copy_model(model)).eval()
    x = map_tensors(x, lambda tensor: _placed(tensor, device, last=True))
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            call(trial, x)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            return False
    return True


def _placed(x: Tensor, device: torch.device, *, last: bool) -> Tensor:
    """On the device; last: images with channels last."""
    return x.to(device, memory_format=torch.channels_last if last and x.ndim == 4 else None)


@torch.no_grad()
def _zero(removed: list[tuple[nn.Parameter, Tensor]]) -> None:
    for parameter, places in removed:
        parameter.masked_fill_(places, 0)


def _optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise PruningError("The model has no parameter that can be trained.")
    decayed = [parameter for parameter in trained if parameter.ndim > 1]
    others = [parameter for parameter in trained if parameter.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return OPTIMIZERS[config.optimizer]([group for group in groups if group["params"]], config)
