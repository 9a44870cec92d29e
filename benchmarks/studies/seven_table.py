"""SEVEN against magnitude, SNIP, GraSP and random, with equal fine-tuning, on a ViT.

Run: python -m benchmarks.studies.seven_table [--seeds 3] [--epochs 2] [--images 10000]
[--methods NAME ...] [--out FILE.json]. Fashion-MNIST must be on this machine. Sparsities are 80%
and 90%. Single weights are removed by one global ranking, and the classifier stays dense. Each seed
has its own training images and order.
BEFORE methods prune the trained network once, then train with the masks held. SEVEN_pre prunes in
100 steps over 100 mini-batches, without training.
DURING methods prune while they train: SEVEN_dyn and gradual magnitude (20 steps of AGP's cubic),
both with the last step at 60% of the training.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.studies.granularity_order import finished, mean_and_spread
from pruning_core.plan import Plan
from pruning_core.studies.run import seed_workspace
from pruning_core.training.config import TrainConfig
from pruning_core.workspaces import open_workspace

BEFORE = {
    "SEVEN_pre": ("seven_pre", "magnitude_l1"),
    "magnitude": ("rounds", "magnitude_l1"),
    "SNIP": ("rounds", "snip"),
    "GraSP": ("rounds", "grasp"),
    "random": ("rounds", "random"),
}
SCHEDULES = {"gradual": "agp:20"}
DURING = {
    "SEVEN_dyn": ("seven_dyn", "magnitude_l1"),
    "gradual magnitude": ("gradual", "magnitude_l1"),
}
METHODS = BEFORE | DURING
SPARSITIES = (0.8, 0.9)


def rows(seeds: int, epochs: int, images: int, names: Sequence[str]) -> Iterator[dict[str, object]]:
    """Measures every method, sparsity and seed, on the whole test split."""
    base = open_workspace("vit", "fashion_mnist")
    dense_classifier = tuple((layer.name, 0.0) for layer in base.layers if layer.is_output)
    for seed in range(seeds):
        space = seed_workspace(base, images, seed)
        tune = TrainConfig(
            epochs=epochs, lr=1e-3, batch_size=64, optimizer="adamw", weight_decay=0.05, seed=seed
        )
        for sparsity in SPARSITIES:
            for name, (flow, criterion) in ((name, METHODS[name]) for name in names):
                start = time.perf_counter()
                plan = Plan(
                    "vit",
                    "fashion_mnist",
                    criterion,
                    "fine",
                    "global",
                    sparsity,
                    SCHEDULES.get(flow, "one_shot"),
                    flow,
                    overrides=dense_classifier,
                    fine_tune=tune,
                    seed=seed,
                )
                done = finished(plan, space)
                if done.tuned is None:
                    raise RuntimeError("the network was not fine-tuned")
                yield {
                    "method": name,
                    "asked": sparsity,
                    "sparsity": done.report.sparsity_masked,
                    "seed": seed,
                    "n": done.tuned.n,
                    "dense": done.dense.value,
                    "cut": done.pruned.value,
                    "tuned": done.tuned.value,
                    "interval": done.tuned.interval,
                    "seconds": round(time.perf_counter() - start, 1),
                }


def main() -> None:
    """Prints one line per run, then means and standard deviations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    made = []
    for row in rows(options.seeds, options.epochs, options.images, options.methods):
        made.append(row)
        print(json.dumps(row), flush=True)
        if options.out:
            options.out.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    for key in dict.fromkeys((row["asked"], row["method"]) for row in made):
        top1 = [float(str(row["tuned"])) for row in made if (row["asked"], row["method"]) == key]
        print(f"{key[0]!s:5} {key[1]!s:20} {mean_and_spread(top1)}")


if __name__ == "__main__":
    main()
