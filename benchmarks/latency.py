"""Measured latency: narrower networks in PyTorch and ONNX Runtime, sparse layers, repeatability.

Run: python -m benchmarks.latency [--rounds 15]. About 3 minutes. Times are wall time of whole
forward passes, in interleaved pairs with the dense network; `interval` is the 95% interval of the
ratio dense / ours. The narrower networks have half of the multiply-adds.
"""

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import nn

from benchmarks.timing import Row, Seconds, Unmeasured, command
from pruning_core.compress.advisor import Advice, advise
from pruning_core.compress.forms import FORMS, Form, Forms
from pruning_core.compress.latency import Latency, time_forms
from pruning_core.compress.paired_times import FEWEST, Timing
from pruning_core.compress.thin import Thinned, thin
from pruning_core.evaluation.thread_pool import configured_kernel_threads
from pruning_core.pipeline import choose_masks, masked_copy
from pruning_core.plan import Plan
from pruning_core.types import DataMissing, Inputs
from pruning_core.workspaces import Workspace, batch_of, datasets_of, known_models, open_workspace

NETWORKS = ("resnet20", "vgg")
DATA = "fashion_mnist"
HALF = 0.5
WANTED_THIN = 1.5
WANTED_SPARSE = 2.0
NEVER_BELOW = 0.98
SECONDS = 4.0


def rows(rounds: int) -> Iterator[Row]:
    """rounds: pairs of each comparison; at least 7 are measured."""
    pairs = max(FEWEST, rounds)
    with configured_kernel_threads():
        yield from _wide(pairs)
        for name in NETWORKS:
            yield from _narrower(name, pairs)
        yield from _zoo(pairs)


def _row(what: str, timing: Timing, wanted: float, more: dict[str, float | str]) -> Row:
    low, high = timing.interval
    ours = timing.reference / timing.speedup
    return Row(
        what,
        Seconds(ours, ours),
        Seconds(timing.reference, timing.reference),
        "dense",
        wanted,
        more={"interval": f"{low:.2f} to {high:.2f}", "n": str(timing.n), **more},
    )


def _wide(pairs: int) -> Iterator[Row]:
    """LeNet-300-100 widened to 1024 at 95%, batch 32, twice."""
    torch.manual_seed(0)
    dense = nn.Sequential(
        *(nn.Flatten(), nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU()),
        nn.Linear(1024, 10),
    ).eval()
    masked = deepcopy(dense)
    with torch.no_grad():
        for index in (1, 3, 5):
            weight = masked.get_parameter(f"{index}.weight")
            weight.mul_(weight.abs() >= weight.abs().flatten().quantile(0.95))
    x = torch.randn(32, 1, 28, 28)
    first, second = (_advised(dense, masked, x, pairs) for _ in range(2))
    chosen = next(t for t in first.timings if t.variant == first.chosen)
    agree = 1 - min(first.speedup, second.speedup) / max(first.speedup, second.speedup)
    more: dict[str, float | str] = {
        "second run": f"{second.speedup:.2f}x",
        "differ by": f"{agree:.1%}",
    }
    yield _row("1024-wide LeNet at 95%, batch 32: advised", chosen, WANTED_SPARSE, more)


def _advised(dense: nn.Module, masked: nn.Module, x: Inputs, pairs: int) -> Advice:
    *_, advice = advise(dense, masked, x, rounds=pairs, budget=SECONDS)
    if not isinstance(advice, Advice):
        raise Unmeasured("The advisor gave no advice.")
    return advice


def _narrower(name: str, pairs: int) -> Iterator[Row]:
    """Half of the multiply-adds in each runtime, beside zeros."""
    try:
        space = open_workspace(name, DATA)
    except DataMissing as error:
        raise Unmeasured(str(error)) from error
    plan, made = _halved(name, space)
    masked = masked_copy(plan, space, made.masks)
    runtimes = ("eager", "onnxruntime")
    forms = {
        "masked": FORMS["masked"],
        "thin": Form("thin", "Narrower", lambda _m, _x: made.module, runtimes),
    }
    batches = {size: batch_of(space, size) for size in (1, 32)}
    share = made.macs[1] / made.macs[0]
    *_, latency = time_forms(
        space.model, masked, batches, Forms(forms), runtimes, rounds=pairs, budget=SECONDS
    )
    if not isinstance(latency, Latency) or not latency.times:
        raise Unmeasured("No runtime could be measured.")
    for own in latency.times:
        zeros, narrow = own.timings[1:]
        wanted = WANTED_THIN if (own.runtime, own.batch) == ("onnxruntime", 32) else 1.0
        more: dict[str, float | str] = {"zeros": f"{zeros.speedup:.2f}x", "MACs": f"{share:.0%}"}
        yield _row(f"{name}: half the MACs, {own.runtime}, batch {own.batch}", narrow, wanted, more)


def _halved(name: str, space: Workspace) -> tuple[Plan, Thinned]:
    """The first plan that leaves half of the multiply-adds, and its narrower network."""
    for percent in range(10, 60, 2):
        plan = Plan(model=name, dataset=DATA, granularity="filter", sparsity=percent / 100)
        made = thin(plan, space)
        if made.macs[1] <= HALF * made.macs[0]:
            return plan, made
    raise Unmeasured(f"No sparsity leaves half of the multiply-adds of {name}.")


def _zoo(pairs: int) -> Iterator[Row]:
    """The advisor on every zoo network at 95%, batch 32: never slower than dense."""
    for name in known_models():
        for data in datasets_of(name):
            try:
                space = open_workspace(name, data)
            except DataMissing:
                continue
            plan = Plan(model=name, dataset=data, sparsity=0.95)
            masked = masked_copy(plan, space, choose_masks(plan, space)[1])
            advice = _advised(space.model, masked, batch_of(space, 32), pairs)
            chosen = next(t for t in advice.timings if t.variant == advice.chosen)
            others = [t for t in advice.timings if t.variant not in ("dense", "masked")]
            tried = ", ".join(f"{t.variant} {t.speedup:.2f}x" for t in others)
            more: dict[str, float | str] = {"chosen": advice.chosen, "tried": tried or "none"}
            yield _row(f"{name}-{data} at 95%: advised", chosen, NEVER_BELOW, more)


if __name__ == "__main__":
    command(lambda rounds: list(rows(rounds)), 15, __doc__)
