"""Measured latency: narrower networks in PyTorch and ONNX Runtime, sparse layers, repeatability.

Run: python -m benchmarks.latency [--rounds 15]. About 5 minutes. Times are wall time of whole
forward passes, in interleaved pairs with the dense network; `interval` is the 95% interval of the
ratio dense / ours. The narrower networks have at most half of the multiply-adds, as near as whole
channels allow, with any widths and with widths that are multiples of 16. For these rows alone:
python -c "from benchmarks.latency import narrower; [print(r) for r in narrower(15)]".
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import nn

from benchmarks.timing import Row, Seconds, Unmeasured, command
from pruning_core.compress.advisor import Advice, advise
from pruning_core.compress.forms import FORMS, MASKED, Forms, thin_form
from pruning_core.compress.latency import Latency, time_forms
from pruning_core.compress.paired_times import FEWEST, Timing
from pruning_core.compress.target_search import smallest_within
from pruning_core.compress.thin import Thinned, thin
from pruning_core.evaluation.thread_pool import configured_kernel_threads
from pruning_core.pipeline import choose_masks, masked_copy, pruned_copy
from pruning_core.plan import Plan
from pruning_core.sensitivity.farthest import STEPS, MasksAtSparsities
from pruning_core.types import DataMissing, Inputs, PruningError
from pruning_core.workspaces import Workspace, batch_of, datasets_of, known_models, open_workspace

NETWORKS = ("resnet20", "vgg")
DATA = "fashion_mnist"
HALF = 0.5
MULTIPLE = 16
ALLOCATED = ("uniform", "global", "lamp", "erk")
PROMISED = ("onnxruntime", 32, f"thin{MULTIPLE}")
WANTED_THIN = 1.5
WANTED_SPARSE = 2.0
NEVER_BELOW = 0.98
SECONDS = 4.0


def rows(rounds: int) -> Iterator[Row]:
    """rounds: pairs of each comparison; at least 7 are measured."""
    pairs = max(FEWEST, rounds)
    with configured_kernel_threads():
        yield from _wide(pairs)
        yield from narrower(pairs)
        yield from _zoo(pairs)


def narrower(pairs: int) -> Iterator[Row]:
    """Half of the multiply-adds, for each network. pairs: at least 7."""
    with configured_kernel_threads():
        for name in NETWORKS:
            yield from _narrower(name, pairs)


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
    """Half of the multiply-adds in each runtime, beside zeros: any widths, and multiples of 16."""
    try:
        space = open_workspace(name, DATA)
    except DataMissing as error:
        raise Unmeasured(str(error)) from error
    forms = {MASKED: FORMS[MASKED]}
    shares = {}
    for round_to in (None, MULTIPLE):
        plan, made = _halved(name, space, round_to)
        form = thin_form(made, round_to)
        forms[form.name] = form
        shares[form.name] = f"{made.macs[1] / made.macs[0]:.0%}, {plan.allocation}"
    masked = pruned_copy(plan, space, made.masks)
    batches = {size: batch_of(space, size) for size in (1, 32)}
    runtimes = ("eager", "onnxruntime")
    *_, latency = time_forms(
        space.model, masked, batches, Forms(forms), runtimes, rounds=pairs, budget=SECONDS
    )
    if not isinstance(latency, Latency) or not latency.times:
        raise Unmeasured("No runtime could be measured.")
    for own in latency.times:
        zeros, *narrow = own.timings[1:]
        for timing in narrow:
            promised = (own.runtime, own.batch, timing.variant) == PROMISED
            more: dict[str, float | str] = {
                "zeros": f"{zeros.speedup:.2f}x",
                "MACs": shares[timing.variant],
                "load": f"{latency.machine.load or 0:.1f}",
            }
            what = f"{name}: {timing.label}, {own.runtime}, batch {own.batch}"
            yield _row(what, timing, WANTED_THIN if promised else 1.0, more)


@dataclass(frozen=True, eq=False)
class _Half:
    """A narrower network. made: None where the widths stay as they are."""

    plan: Plan
    made: Thinned | None

    @property
    def share(self) -> float:
        """Of the dense network's multiply-adds."""
        return 1.0 if self.made is None else self.made.macs[1] / self.made.macs[0]

    @property
    def within(self) -> bool:
        """Does it have at most half?"""
        return self.share <= HALF


def _halved(name: str, space: Workspace, round_to: int | None) -> tuple[Plan, Thinned]:
    """The plan that leaves the most multiply-adds, at most half, and its narrower network."""
    tried: list[_Half] = []
    for allocation in ALLOCATED:
        plan = Plan(model=name, dataset=DATA, granularity="filter", allocation=allocation)
        masks_at = MasksAtSparsities(plan, space)

        def try_at(step: int, plan: Plan = plan, at: MasksAtSparsities = masks_at) -> _Half:
            own = replace(plan, sparsity=step / STEPS)
            try:
                return _Half(own, thin(own, space, at.at(step), round_to=round_to))
            except PruningError:  # all channels came back
                return _Half(own, None)

        tried += smallest_within(try_at, too_large=0)
    best = max((half for half in tried if half.within), key=lambda half: half.share, default=None)
    if best is None or best.made is None:
        raise Unmeasured(f"No sparsity leaves half of the multiply-adds of {name}.")
    return best.plan, best.made


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
