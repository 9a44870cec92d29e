"""Do claims of the papers hold here? Small networks on digits, three seeds.

    OMP_NUM_THREADS=1 nice -n 15 python -m benchmarks.reproductions [PART ...]

Every run is appended to benchmarks/reproductions.jsonl (or --out), and runs that the file has are
not repeated. Parts: lamp, nm, vit, rigl, "rigl, 100 epochs", lottery, synflow. Prints the Markdown
tables of docs/results.md: the mean and the standard deviation over seeds of the accuracy on the
test split (359 images), and the paired differences of the claims.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from benchmarks.studies.granularity_order import finished
from pruning_core.evaluation.accuracy import Judge
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Finished, Masks, Tuned
from pruning_core.workspaces import Workspace, open_workspace

SEEDS = (0, 1, 2)
FOUND = Path(__file__).with_name("reproductions.jsonl")
ADAMW = TrainConfig(epochs=8, lr=1e-3, optimizer="adamw", weight_decay=0.05)
RESNET = Plan(fine_tune=TrainConfig(epochs=2, lr=0.02))
VIT = Plan(model="vit", allocation="global", fine_tune=ADAMW)
LENET = Plan(model="lenet5", fine_tune=replace(ADAMW, epochs=30, lr=3e-3, weight_decay=0.01))
FRESH_VGG = Plan(
    model="vgg",
    allocation="global",
    flow="rounds:fresh=1",
    sparsity=0.99,
    fine_tune=TrainConfig(epochs=8, lr=0.05),
)
LOTTERY = replace(
    LENET,
    flow="lottery:rewind=1",
    schedule="exponential:3",
    allocation="global",
    fine_tune=replace(LENET.fine_tune, epochs=15),
)


@dataclass(frozen=True)
class Run:
    """One run: accuracy on the test split before and after training; emptied: layers with at most
    one weight."""

    part: str
    method: str
    sparsity: float
    seed: int
    reached: float
    before: float
    after: float
    emptied: int


@dataclass(frozen=True)
class Claim:
    """A method is expected to be at least as good as the others, at every sparsity."""

    part: str
    text: str
    better: str
    others: tuple[str, ...]


def _lamp() -> dict[str, Plan]:
    return {name: replace(RESNET, allocation=name) for name in ("uniform", "global", "erk", "lamp")}


def _nm() -> dict[str, Plan]:
    return {name: replace(RESNET, granularity=name) for name in ("2:4", "fine")}


def _vit() -> dict[str, Plan]:
    return {
        "magnitude, once": VIT,
        "magnitude, gradual": replace(VIT, flow="gradual", schedule="agp:20"),
        "movement": replace(VIT, flow="movement", allocation="uniform"),
        "movement, 20 masks": replace(VIT, flow="movement:cuts=20", allocation="uniform"),
        "PLATON": replace(VIT, flow="platon"),
    }


def _rigl(epochs: int = 30) -> dict[str, Plan]:
    tune = replace(LENET.fine_tune, epochs=epochs)
    static = replace(
        LENET, criterion="random", allocation="erk", flow="rounds:fresh=1", fine_tune=tune
    )
    return {"static random": static, "RigL": replace(static, flow="rigl:fresh=1,updates=40")}


def _rigl_100() -> dict[str, Plan]:
    return _rigl(100)


def _synflow() -> dict[str, Plan]:
    return {name: replace(FRESH_VGG, criterion=name) for name in ("snip_batch", "snip", "synflow")}


PARTS = {
    "lamp": (_lamp, (0.9, 0.95)),
    "nm": (_nm, (0.5,)),
    "vit": (_vit, (0.85, 0.95)),
    "rigl": (_rigl, (0.9, 0.95)),
    "rigl, 100 epochs": (_rigl_100, (0.9, 0.95)),
    "lottery": (lambda: {"rewound ticket": LOTTERY}, (0.9, 0.95)),
    "synflow": (_synflow, (0.99, 0.999)),
}
REINITIALISED = "same mask, new random weights"
CLAIMS = (
    Claim("lamp", "LAMP at least as good as", "lamp", ("uniform", "erk", "global")),
    Claim("nm", "free 50% ahead of", "fine", ("2:4",)),
    Claim("vit", "movement ahead of", "movement", ("magnitude, once", "magnitude, gradual")),
    Claim("vit", "PLATON ahead of", "PLATON", ("magnitude, once", "magnitude, gradual")),
    Claim("rigl", "RigL ahead of", "RigL", ("static random",)),
    Claim("rigl, 100 epochs", "RigL, 100 epochs, ahead of", "RigL", ("static random",)),
    Claim("lottery", "rewound ticket ahead of", "rewound ticket", (REINITIALISED,)),
    Claim("synflow", "SynFlow ahead of", "synflow", ("snip_batch", "snip")),
)


def runs(part: str, method: str, plan: Plan) -> Iterator[Run]:
    """The run of a plan; for a lottery ticket also the one with new random weights."""
    space = open_workspace(plan.model, plan.dataset)
    done = finished(plan, space)
    yield _run(part, method, plan, done)
    if plan.flow.startswith("lottery"):
        model = _reinitialised(plan, space, done)
        value = Judge.of(space.dataset).evaluate(model, space.dataset.test, torch.device("cpu"))
        again = _run(part, REINITIALISED, plan, done)
        yield replace(again, after=value.value)


def _run(part: str, method: str, plan: Plan, done: Finished) -> Run:
    after = done.tuned or done.pruned
    kept = [int(mask.sum()) for mask in done.masks.values()]
    return Run(
        part,
        method,
        plan.sparsity,
        plan.seed,
        done.report.sparsity_masked,
        done.pruned.value,
        after.value,
        sum(n <= 1 for n in kept),
    )


def _reinitialised(plan: Plan, space: Workspace, done: Finished) -> nn.Module:
    """The final mask on other random weights, trained as the ticket's dense network was."""
    resolved = plan.resolve(space)
    masks: Masks = dict(done.masks)
    model = resolved.masked_copy(masks, resolved.fresh_model(1000 + plan.fine_tune.seed))
    *_, last = fine_tune(model, masks, space.layers, space.dataset, plan.fine_tune)
    if not isinstance(last, Tuned):
        raise RuntimeError("the training did not finish")
    return last.model


def _dense_output(plan: Plan) -> tuple[tuple[str, float], ...]:
    """The layer that gives the outputs stays dense, as in the papers on transformers."""
    layers = open_workspace(plan.model, plan.dataset).layers
    return tuple((layer.name, 0.0) for layer in layers if layer.is_output)


def read(path: Path) -> list[Run]:
    """The runs of a file; none without it."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else ()
    return [Run(**json.loads(line)) for line in lines]


def measure(path: Path, parts: Sequence[str]) -> None:
    """Appends the missing runs of these parts to the file."""
    for part in parts:
        make, sparsities = PARTS[part]
        for sparsity in sparsities:
            for seed in SEEDS:
                for method, base in make().items():
                    known = {(x.part, x.method, x.sparsity, x.seed) for x in read(path)}
                    if (part, method, sparsity, seed) in known:
                        continue
                    tune = replace(base.fine_tune, seed=seed)
                    plan = replace(base, sparsity=sparsity, seed=seed, fine_tune=tune)
                    if part == "vit":
                        plan = replace(plan, overrides=_dense_output(plan))
                    for run in runs(part, method, plan):
                        with path.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(asdict(run)) + "\n")


def percent(values: Sequence[float]) -> str:
    """Mean and standard deviation, in percent."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.1f} ± {100 * spread:.1f}"


def table(done: Sequence[Run]) -> Iterator[str]:
    """One line per part, sparsity and method."""
    yield "| part | asked | method | reached | as pruned | trained | layers with at most 1 weight |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    groups: dict[tuple[str, float, str], list[Run]] = {}
    for run in done:
        groups.setdefault((run.part, run.sparsity, run.method), []).append(run)
    for (part, sparsity, method), own in groups.items():
        before = "" if method == REINITIALISED else percent([x.before for x in own])
        emptied = statistics.mean(x.emptied for x in own)
        yield (
            f"| {part} | {100 * sparsity:.4g}% | {method} | {own[0].reached:.1%} | {before} | "
            f"{percent([x.after for x in own])} (n = {len(own)}) | {emptied:.1f} |"
        )


def differences(done: Sequence[Run], claim: Claim) -> Iterator[str]:
    """One line per sparsity and other method: the paired difference over seeds, and the verdict."""
    for sparsity in sorted({x.sparsity for x in done if x.part == claim.part}):
        better = _values(done, claim.part, claim.better, sparsity)
        for other in claim.others:
            values = _values(done, claim.part, other, sparsity)
            gaps = [better[seed] - values[seed] for seed in better if seed in values]
            if gaps:
                won = sum(gap > 0 for gap in gaps)
                yield (
                    f"| {claim.text} {other} | {100 * sparsity:.4g}% | {percent(gaps)} | "
                    f"{won} of {len(gaps)} | {verdict(gaps)} |"
                )


def verdict(gaps: Sequence[float]) -> str:
    """Holds, or the opposite, where every seed agrees; else undecided."""
    if all(gap > 0 for gap in gaps):
        return "holds"
    return "the opposite" if all(gap < 0 for gap in gaps) else "undecided"


def _values(done: Sequence[Run], part: str, method: str, sparsity: float) -> Mapping[int, float]:
    chosen = (x for x in done if (x.part, x.method, x.sparsity) == (part, method, sparsity))
    return {x.seed: x.after for x in chosen}


def main() -> None:
    """Measures the missing runs of the parts, then prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=[], choices=[*PARTS, []])
    parser.add_argument("--out", type=Path, default=FOUND)
    options = parser.parse_args()
    measure(options.out, options.parts or list(PARTS))
    done = read(options.out)
    print("\n".join(table(done)))
    print("\n| claim | asked | paired difference, points | seeds ahead | verdict |")
    print("| --- | --- | --- | --- | --- |")
    for claim in CLAIMS:
        print("\n".join(differences(done, claim)))


if __name__ == "__main__":
    main()
