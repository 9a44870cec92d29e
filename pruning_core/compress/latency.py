"""Time of a whole forward pass: dense, masked, and other forms of one network, per runtime."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import nn

from pruning_core.compress.forms import MASKED, ROUNDED, THIN, Form, Forms, forms_of
from pruning_core.compress.machine import Machine, machine
from pruning_core.compress.paired_times import (
    BUDGET,
    ROUNDS,
    Round,
    Timing,
    Variant,
    busy_words,
    compare,
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
from pruning_core.pipeline import choose_masks, pruned_copy
from pruning_core.plan import Plan
from pruning_core.types import Inputs, Masks, PruningError
from pruning_core.workspaces import Workspace, batch_of

BATCHES = (1, 32)
BATCH = 32
PAIRS = 15
PAIRS_BUDGET = 2.0
"""Pairs, and their seconds, where one number is measured of each of many networks."""


@dataclass(frozen=True)
class Measuring:
    """share: of the whole work, in [0, 1]; stage: what is measured now."""

    share: float
    stage: str


@dataclass(frozen=True)
class Times:
    """All times in one runtime at one batch size: dense first. errors: of a form's outputs against
    the masked network's in PyTorch (of a wider form its own there), relative to the largest.
    """

    runtime: str
    batch: int
    timings: tuple[Timing, ...]
    errors: dict[str, float]


@dataclass(frozen=True)
class Latency:
    """The last event: all times, the machine, and sentences: what was left out, notes on forms."""

    machine: Machine
    times: tuple[Times, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def busy(self) -> str | None:
        """Why the machine was too busy to decide; None where it was not."""
        return busy_words(self.machine, [t for times in self.times for t in times.timings])


def time_plan(
    plan: Plan,
    space: Workspace,
    *,
    batches: Sequence[int] = BATCHES,
    runtimes: Sequence[str] = tuple(RUNTIMES),
    round_to: Sequence[int] = ROUNDED,
    device: torch.device | None = None,
    rounds: int = ROUNDS,
    budget: float = BUDGET,
) -> Iterator[Measuring | Latency]:
    """`time_forms` of the plan's pruned network on validation samples of its data.

    round_to: as in `forms_of`.
    """
    _, masks = choose_masks(plan, space)
    masked = pruned_copy(plan, space, masks)
    given = {size: batch_of(space, size) for size in batches}
    yield Measuring(0.0, "making the forms")
    forms = forms_of(plan, space, masks, round_to)
    yield from time_forms(
        space.model, masked, given, forms, runtimes, device, rounds=rounds, budget=budget
    )


def pruned_timing(plan: Plan, space: Workspace, masks: Masks, model: nn.Module) -> Timing:
    """The time of a pruned network against the dense one, in PyTorch on the CPU.

    model: with the masks applied; it is thinned where the plan allows that. The batch has `BATCH`
    samples, or all of a smaller validation split.
    """
    thinned = forms_of(plan, space, masks, model=model).thinned.get(THIN)
    network = model if thinned is None else thinned.module
    x = batch_of(space, min(BATCH, len(space.dataset.val)))
    cpu = torch.device("cpu")
    dense, pruned = (
        Variant(name, name, prepared(RUNTIMES["eager"], on_device(own, cpu), x))
        for name, own in (("dense", space.model), ("pruned", network))
    )
    return compare(dense, [pruned], rounds=PAIRS, budget=PAIRS_BUDGET).timings[1]


def time_forms(
    dense: nn.Module,
    masked: nn.Module,
    batches: Mapping[int, Inputs],
    forms: Forms,
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
    left_out = list(forms.left_out)
    for done, (entry, size) in enumerate(units):
        stage = f"{entry.label}, batch {size}"
        yield Measuring(done / len(units), f"preparing {stage}")
        x = to_device(batches[size], place)
        own = {name: form for name, form in forms.forms.items() if entry.name in form.runtimes}
        try:
            runs, reasons = _prepared(entry, models, x, own)
        except PruningError as error:
            left_out.append(str(error))
            continue
        left_out += [f"{entry.label}, batch {size}, {form}: {reason}" for form, reason in reasons]
        variants = [Variant(name, timed.label, timed.run) for name, timed in runs.items()]
        for event in time_pairs(variants[0], variants[1:], rounds=rounds, budget=budget):
            if isinstance(event, Round):
                yield Measuring((done + event.done / event.total) / len(units), stage)
            else:
                times.append(Times(entry.name, size, event.timings, _errors(runs, x)))
    yield Latency(before, tuple(times), tuple(dict.fromkeys(left_out)), forms.notes)


@dataclass(frozen=True, eq=False)
class _Timed:
    """A network in a runtime. same_as: the network whose outputs in PyTorch it must have."""

    label: str
    run: Run
    same_as: nn.Module


def _prepared(
    entry: Runtime, models: tuple[nn.Module, nn.Module], x: Inputs, forms: Mapping[str, Form]
) -> tuple[dict[str, _Timed], list[tuple[str, str]]]:
    """The dense network and each form, and why a form is left out.

    Raises PruningError where the runtime is missing, and where the dense network does not run.
    """
    if (reason := unavailable(entry, input_tensors(x)[0].device)) is not None:
        raise PruningError(reason)
    dense, masked = models
    prepare = partial(prepared, entry, x=x)
    runs = {"dense": _Timed("Dense", prepare(dense), dense)}
    reasons = []
    for form in forms.values():
        try:
            own = form.make(masked, x)
            same_as = own if form.wider else masked
            runs[form.name] = _Timed(form.label, prepare(own), same_as)
        except PruningError as error:
            reasons.append((form.label, str(error)))
    return runs, reasons


def _errors(runs: Mapping[str, _Timed], x: Inputs) -> dict[str, float]:
    errors = {}
    for name, timed in runs.items():
        if name != "dense":
            want = first_output(prepared(RUNTIMES["eager"], timed.same_as, x)())
            got = first_output(timed.run()).reshape(want.shape)
            errors[name] = relative_error([got], [want])
    return errors


def verdict_words(timing: Timing, error: float = 0.0) -> str:
    """What the measurement of one form says, in one sentence."""
    low, high = timing.interval
    numbers = f"{timing.speedup:.2f}x [{low:.2f}, {high:.2f}], n = {timing.n}"
    if timing.disagrees:
        said = f"too busy to decide, halves differ by {timing.halves:.0%}: {numbers}."
    elif timing.verdict == "faster":
        said = f"faster than dense: {numbers}."
    elif timing.verdict == "slower":
        said = f"slower than dense: {numbers}."
    elif timing.variant == MASKED:
        said = f"the zeros save no time, within the noise of this measurement: {numbers}."
    else:
        said = f"no difference, within the noise of this measurement: {numbers}."
    if error <= 10 * TOLERANCE:
        return said
    return " ".join((said, f"Its outputs differ by {error:.1%}."))


def conclusion(latency: Latency) -> str:
    """Where pruning made the network faster, and where slower; "" on a busy machine."""
    if latency.busy is not None:
        return ""
    faster, slower = (
        ", ".join(
            f"{timing.label} ({RUNTIMES[times.runtime].label}, batch {times.batch}: "
            f"{timing.speedup:.2f}x)"
            for times in latency.times
            for timing in times.timings[1:]
            if timing.verdict == verdict
        )
        for verdict in ("faster", "slower")
    )
    sentences = [
        f"Faster than dense: {faster}." if faster else "",
        f"Pruning made it slower than dense: {slower}." if slower else "",
    ]
    said = " ".join(filter(None, sentences))
    return said or "No form is faster than dense here: pruning saves no time."


def latency_dict(latency: Latency) -> dict[str, object]:
    """The measurement as JSON values."""
    return {**asdict(latency), "busy": latency.busy}
