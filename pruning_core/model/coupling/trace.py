"""Finds the channels that are tied: one run notes them, repeated runs prove them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pruning_core.errors import first_line
from pruning_core.model.coupling.assemble import Roots, assembled, roots
from pruning_core.model.coupling.budget import Budget
from pruning_core.model.coupling.first_run import FirstRun, NotedStep, StatisticStep
from pruning_core.model.coupling.operations import NotingMode, Operations
from pruning_core.model.coupling.parameter_views import ParameterViews
from pruning_core.model.coupling.positions import HEAD_ROWS, IS_OUTPUT, NOT_READ, Coupling
from pruning_core.model.coupling.proof import NOT_ZERO, Proof
from pruning_core.model.graph import TRACE_ERRORS
from pruning_core.model.inventory import named_parameters
from pruning_core.model.inventory.reads import PlainKernels
from pruning_core.model.kept_norms import NormCalls, kept_scales, with_plain_norms, written_norms
from pruning_core.model.model_io import (
    call,
    copy_model,
    first_sample,
    map_tensors,
    output_tensors,
    random_if_zero,
)
from pruning_core.random_numbers import seed_torch
from pruning_core.types import Example, Inputs, Layer, PruningError

__all__ = ["HEAD_ROWS", "IS_OUTPUT", "NOT_READ", "NOT_USED", "NOT_ZERO", "couplings"]
MEAN_IS_OUTPUT = "The network gives a mean, a sum or a maximum over them."
NOT_USED = "The network does not read its weight as a layer does, so its outputs are not known."


def couplings(
    model: nn.Module, layers: tuple[Layer, ...], shape: Example, budget: Budget | None = None
) -> tuple[Coupling, ...]:
    """The output channels of all layers, tied channels in one coupling, in the network's order.

    shape: C x H x W of one input, or a batch, as `inventory` takes them. The model is not changed:
    a copy runs once, and every operation passes on which channel each element belongs to. Then the
    copy runs without irregular subsets of channels, where every layer gives its first result again.
    A coupling is proved if layers read zeros for its removed channels, and for kept channels what
    they read before; others have a reason and cannot be pruned. A norm over channels averages over
    zeroed ones too; a network without the channels would not (`Coupling.note`). budget: default
    60 s and 2 GB. Raises PruningError where the network cannot run so, and above the budget.
    Tied channels: Fang et al. 2023 (DepGraph), arXiv:2301.12900.
    """
    budget = budget or Budget()
    try:
        with torch.inference_mode(False), torch.no_grad():
            return _couplings(model, layers, shape, budget)
    except PruningError:
        raise
    except (*TRACE_ERRORS, ArithmeticError, NotImplementedError) as error:
        why = first_line(error).rstrip(".!")
        raise PruningError(
            f"It cannot be found which channels of this network are tied together: {why}."
        ) from error


def _couplings(
    model: nn.Module, layers: tuple[Layer, ...], shape: Example, budget: Budget
) -> tuple[Coupling, ...]:
    budget.hold(sum(4 * parameter.numel() for parameter in model.parameters()), weights=True)
    work = with_plain_norms(copy_model(model)).cpu().float().eval().requires_grad_(False)
    x = map_tensors(_on_cpu(first_sample(shape)), random_if_zero)
    run = FirstRun(ParameterViews(named_parameters(work, layers).items()), layers)
    _refuse_heads(run, layers)
    scales = kept_scales(model)
    norms = _NormsOverKept(run, scales) if scales else nullcontext()
    for path in written_norms(model):
        _mark_calls(run, work.get_submodule(path))
    before = torch.get_rng_state()
    with Operations(budget), PlainKernels():
        call(work, map_tensors(x, torch.clone))  # some networks keep values of their first run
    draws = not torch.equal(before, torch.get_rng_state())
    with NotingMode(run, budget), PlainKernels(), norms, _same_numbers(draws):
        outputs = list(output_tensors(call(work, map_tensors(x, torch.clone))))
    _refuse_outputs(run, outputs, layers)
    for layer in layers:
        if layer.name not in run.used:
            read = layer.macs or layer.kind == "embedding"
            run.channels.refuse(_numbers(run, layer), NOT_USED if read else NOT_READ)
    run.tie_shared()
    root = roots(run, layers)
    steps = {index: step for index, step in run.steps.items() if not _of_one_class(step, root)}
    proof = Proof(
        work,
        model,
        layers,
        steps,
        {index: run.names[index] for index in steps},
        root,
        run.starts,
        run.computed,
        partial(_forward, work, x, draws),
        budget,
    )
    return proof.proved(assembled(run, layers, root, budget))


class _NormsOverKept(NormCalls):
    """Marks the operations of norms with these scales."""

    def __init__(self, run: FirstRun, scales: frozenset[str]) -> None:
        super().__init__()
        self.run = run
        self.scales = scales

    def norm(self, scale: Any, call: Callable[[], Tensor]) -> Tensor:
        known = isinstance(scale, Tensor)
        self.run.over_kept = known and self.run.views.name(scale) in self.scales
        try:
            return call()
        finally:
            self.run.over_kept = False


def _mark_calls(run: FirstRun, norm: nn.Module) -> None:
    """Marks the operations of a module that computes a norm over kept channels by itself."""

    def mark(on: bool) -> Callable[..., None]:
        return lambda *_call: setattr(run, "over_kept", on)

    norm.register_forward_pre_hook(mark(True))
    norm.register_forward_hook(mark(False))


def _forward(work: nn.Module, x: Inputs, draws: bool) -> list[Tensor]:
    with _same_numbers(draws):
        out = call(work, map_tensors(x, torch.clone))
    return [output.clone() for output in output_tensors(out)]


@contextmanager
def _same_numbers(draws: bool) -> Iterator[None]:
    """The same random numbers in every run of a network that draws some.

    The generator is that of all threads, so others are left alone where nothing is drawn.
    """
    with torch.random.fork_rng([], enabled=draws):
        if draws:
            seed_torch(0)
        yield


def _of_one_class(step: NotedStep, root: Roots) -> bool:
    """Is every value of a statistic computed from channels that are removed together?"""
    return isinstance(step, StatisticStep) and all(
        len(set(root.of[list(sources)].tolist())) < 2 for sources in step.sources
    )


def _on_cpu(x: Inputs) -> Inputs:
    return map_tensors(x, lambda t: t.cpu().float() if t.is_floating_point() else t.cpu())


def _numbers(run: FirstRun, layer: Layer) -> range:
    start = run.starts[layer.name]
    return range(start, start + layer.shape[0])


def _refuse_heads(run: FirstRun, layers: tuple[Layer, ...]) -> None:
    """Single rows of a head cannot be removed."""
    for layer in layers:
        if layer.heads and layer.kind != "attention_out":
            run.channels.refuse(_numbers(run, layer), HEAD_ROWS)


def _refuse_outputs(run: FirstRun, outputs: list[Tensor], layers: tuple[Layer, ...]) -> None:
    """The channels of all outputs, and of layers that are known to give them."""
    numbers = [n for out in outputs for n in run.memory.all_labels(out)]
    means = [n for n in numbers if run.channels.is_statistic(n)]
    numbers += [n for layer in layers if layer.is_output for n in _numbers(run, layer)]
    own = [n for n in numbers if not run.channels.is_statistic(n)]
    run.channels.reasons |= dict.fromkeys(run.channels.sources(means), MEAN_IS_OUTPUT)
    run.channels.reasons |= dict.fromkeys(run.channels.sources(own), IS_OUTPUT)
