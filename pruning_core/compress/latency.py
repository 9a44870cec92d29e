"""Time of a whole forward pass: dense, masked, and other forms of one network, per runtime."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import nn

from pruning_core.compress.advisor import BSR, CSR, layer_inputs, mixed_model, takes_blocks
from pruning_core.compress.int8_blocks import int8_blocks
from pruning_core.compress.machine import Machine, machine
from pruning_core.compress.paired_times import (
    BUDGET,
    ROUNDS,
    Round,
    Timing,
    Variant,
    time_pairs,
)
from pruning_core.compress.runtimes import (
    RUNTIMES,
    Run,
    Runtime,
    first_output,
    prepared,
    unavailable,
)
from pruning_core.compress.runtimes import runtime as runtime_of
from pruning_core.compress.thin_network import TOLERANCE, relative_error
from pruning_core.model.device import on_device
from pruning_core.model.model_io import input_tensors, to_device
from pruning_core.pipeline import choose_masks, masked_copy
from pruning_core.plan import Plan
from pruning_core.types import Inputs, PruningError
from pruning_core.workspaces import Workspace, batch_of

BATCHES = (1, 32)
MASKED = "masked"


@dataclass(frozen=True)
class Form:
    """A form of the masked network. make: masked network and a batch -> the network of this form;
    raises PruningError where there is none. runtimes: those that compute it.
    """

    name: str
    label: str
    make: Callable[[nn.Module, Inputs], nn.Module]
    runtimes: tuple[str, ...]


@dataclass(frozen=True)
class Measuring:
    """share: of the whole work, in [0, 1]; stage: what is measured now."""

    share: float
    stage: str


@dataclass(frozen=True)
class Times:
    """All times in one runtime at one batch size: dense first. errors: of a form's outputs against
    the masked network's in PyTorch, relative to the largest.
    """

    runtime: str
    batch: int
    timings: tuple[Timing, ...]
    errors: dict[str, float]


@dataclass(frozen=True)
class Latency:
    """The last event: all times, what was left out and why, and the machine."""

    machine: Machine
    times: tuple[Times, ...]
    left_out: tuple[str, ...]

    @property
    def busy(self) -> str | None:
        """Why the machine was too busy to tell; None where it was not."""
        if self.machine.overloaded:
            return (
                f"Too busy to tell: {self.machine.load:.1f} processes wanted to compute on "
                f"{self.machine.cores} cores. Measure again on a quiet machine."
            )
        worst = max((t.halves for own in self.times for t in own.timings), default=0.0)
        if any(t.disagrees for own in self.times for t in own.timings):
            return (
                f"Too busy to tell: two halves of one measurement differ by {worst:.0%}. "
                "Measure again on a quiet machine."
            )
        return None


def as_csr(masked: nn.Module, x: Inputs) -> nn.Module:
    """Every Linear and 1 x 1 convolution with its weight as CSR."""
    return mixed_model(masked, dict.fromkeys(_sparse_layers(masked, x), CSR))


def as_bsr(masked: nn.Module, x: Inputs) -> nn.Module:
    """Every Linear and 1 x 1 convolution whose sides 16 divides, as BSR of 16 x 16 blocks."""
    names = [n for n in _sparse_layers(masked, x) if takes_blocks(masked.get_submodule(n))]
    if not names:
        raise PruningError("16 divides both sides of no Linear and no 1 x 1 convolution.")
    return mixed_model(masked, dict.fromkeys(names, BSR))


def _sparse_layers(masked: nn.Module, x: Inputs) -> list[str]:
    names = list(layer_inputs(masked, x))
    if not names:
        raise PruningError("The network has no Linear and no 1 x 1 convolution.")
    return names


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form(MASKED, "Masked (zeros)", lambda masked, _x: masked, tuple(RUNTIMES)),
        Form(CSR, "CSR", as_csr, ("eager",)),
        Form(BSR, "BSR 16 x 16", as_bsr, ("eager",)),
        Form("int8", "int8 blocks 1 x 4", int8_blocks, ("eager",)),
    )
}
"""The forms of a masked network that are timed against the dense one, by name."""


def time_plan(
    plan: Plan,
    space: Workspace,
    *,
    batches: Sequence[int] = BATCHES,
    runtimes: Sequence[str] = tuple(RUNTIMES),
    device: torch.device | None = None,
    rounds: int = ROUNDS,
    budget: float = BUDGET,
) -> Iterator[Measuring | Latency]:
    """`time_forms` of the plan's masked network on validation samples of its data."""
    _, masks = choose_masks(plan, space)
    masked = masked_copy(plan, space, masks)
    given = {size: batch_of(space, size) for size in batches}
    yield from time_forms(
        space.model, masked, given, FORMS, runtimes, device, rounds=rounds, budget=budget
    )


def time_forms(
    dense: nn.Module,
    masked: nn.Module,
    batches: Mapping[int, Inputs],
    forms: Mapping[str, Form],
    runtimes: Sequence[str],
    device: torch.device | None = None,
    *,
    rounds: int = ROUNDS,
    budget: float = BUDGET,
) -> Iterator[Measuring | Latency]:
    """Times each form in each runtime that computes it, in pairs with the dense network.

    dense, masked: in eval mode, not changed. What cannot be measured is left out with one sentence.
    rounds, budget: of one runtime at one batch size (`time_pairs`).
    """
    place = device or torch.device("cpu")
    before = machine(place)
    models = on_device(dense, place), on_device(masked, place)
    units = [(runtime_of(name), size) for name in runtimes for size in batches]
    times: list[Times] = []
    left_out: list[str] = []
    for done, (entry, size) in enumerate(units):
        stage = f"{entry.label}, batch {size}"
        yield Measuring(done / len(units), f"preparing {stage}")
        x = to_device(batches[size], place)
        own = {name: form for name, form in forms.items() if entry.name in form.runtimes}
        try:
            runs, reasons = _prepared(entry, models, x, own)
        except PruningError as error:
            left_out.append(str(error))
            continue
        left_out += [f"{stage}, {reason}" for reason in reasons]
        variants = [Variant(name, label, run) for name, (label, run) in runs.items()]
        for event in time_pairs(variants[0], variants[1:], rounds=rounds, budget=budget):
            if isinstance(event, Round):
                yield Measuring((done + event.done / event.total) / len(units), stage)
            else:
                times.append(Times(entry.name, size, event.timings, _errors(runs, models[1], x)))
    yield Latency(before, tuple(times), tuple(dict.fromkeys(left_out)))


def _prepared(
    entry: Runtime, models: tuple[nn.Module, nn.Module], x: Inputs, forms: Mapping[str, Form]
) -> tuple[dict[str, tuple[str, Run]], list[str]]:
    """Label and run of the dense network and of each form, and why a form is left out.

    Raises PruningError where the runtime is missing, and where the dense network does not run.
    """
    if (reason := unavailable(entry, input_tensors(x)[0].device)) is not None:
        raise PruningError(reason)
    dense, masked = models
    prepare = partial(prepared, entry, x=x)
    runs = {"dense": ("Dense", prepare(dense))}
    reasons = []
    for form in forms.values():
        try:
            runs[form.name] = (form.label, prepare(form.make(masked, x)))
        except PruningError as error:
            reasons.append(f"{form.label}: {error}")
    return runs, reasons


def _errors(runs: Mapping[str, tuple[str, Run]], masked: nn.Module, x: Inputs) -> dict[str, float]:
    want = first_output(prepared(RUNTIMES["eager"], masked, x)())
    return {
        name: relative_error([first_output(run()).reshape(want.shape)], [want])
        for name, (_, run) in runs.items()
        if name != "dense"
    }


def verdict_words(timing: Timing, error: float = 0.0) -> str:
    """What the measurement of one form says, in one sentence."""
    low, high = timing.interval
    numbers = f"{timing.speedup:.2f}x [{low:.2f}, {high:.2f}], n = {timing.n}"
    inexact = "" if error <= 10 * TOLERANCE else f" Its outputs differ by {error:.1%}."
    if timing.disagrees:
        return f"too busy to tell, halves differ by {timing.halves:.0%}: {numbers}.{inexact}"
    if timing.verdict == "faster":
        return f"faster than dense: {numbers}.{inexact}"
    if timing.verdict == "slower":
        return f"slower than dense: {numbers}.{inexact}"
    bought = "the zeros bought nothing" if timing.variant == MASKED else "no difference"
    return f"{bought}, within the noise of this measurement: {numbers}.{inexact}"


def latency_dict(latency: Latency) -> dict[str, object]:
    """The measurement as JSON values."""
    return {**asdict(latency), "busy": latency.busy}
