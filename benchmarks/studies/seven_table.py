"""SEVEN against magnitude, SNIP, GraSP and chance, with equal fine-tuning: the Fashion-MNIST ViT at
80% and 90%.

Before training: one cut of the trained network (SEVEN_pre: 100 cuts over 100 mini-batches, weights
fixed), then training with the mask held. During training: SEVEN_dyn against gradual magnitude (20
cuts of AGP's cubic), both with the last cut at 60% of the steps. Single weights, one global
ranking, the classifier left whole by all. A seed draws its own part of the training images and its
own order. Run: python -m benchmarks.studies.seven_table [--seeds 3] [--epochs 2] [--images 10000]
[--methods NAME ...] [--out FILE.json]; Fashion-MNIST must be at hand.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.studies.granularity_order import finished
from pruning_core.plan import Plan
from pruning_core.studies.run import seed_workspace
from pruning_core.training.config import TrainConfig
from pruning_core.workspace import open_workspace

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
    """Measures every method, sparsity and seed on the whole test split."""
    base = open_workspace("vit", "fashion_mnist")
    whole = tuple((layer.name, 0.0) for layer in base.layers if layer.is_output)
    for seed in range(seeds):
        space = seed_workspace(base, images, seed)
        tune = TrainConfig(
            epochs=epochs, lr=1e-3, batch_size=64, optimizer="adamw", weight_decay=0.05, seed=seed
        )
        for sparsity in SPARSITIES:
            for name, (flow, how) in ((name, METHODS[name]) for name in names):
                start = time.perf_counter()
                plan = Plan(
                    "vit",
                    "fashion_mnist",
                    how,
                    "fine",
                    "global",
                    sparsity,
                    SCHEDULES.get(flow, "one_shot"),
                    flow,
                    overrides=whole,
                    fine_tune=tune,
                    seed=seed,
                )
                done = finished(plan, space)
                if done.tuned is None:
                    raise RuntimeError("nothing was fine-tuned")
                yield {
                    "method": name,
                    "asked": sparsity,
                    "sparsity": done.report.sparsity_masked,
                    "seed": seed,
                    "n": done.tuned.n,
                    "dense": done.dense.top1,
                    "cut": done.pruned.top1,
                    "tuned": done.tuned.top1,
                    "interval": done.tuned.interval,
                    "seconds": round(time.perf_counter() - start, 1),
                }


def main() -> None:
    """Prints one line per run as it ends, then means and spreads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = []
    for row in rows(options.seeds, options.epochs, options.images, options.methods):
        found.append(row)
        print(json.dumps(row), flush=True)
        if options.out:
            options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for key in dict.fromkeys((row["asked"], row["method"]) for row in found):
        top1 = [float(str(row["tuned"])) for row in found if (row["asked"], row["method"]) == key]
        spread = statistics.stdev(top1) if len(top1) > 1 else float("nan")
        print(
            f"{key[0]!s:5} {key[1]!s:20} mean {statistics.mean(top1):.4f}  sd {spread:.4f}  seeds {len(top1)}"
        )


if __name__ == "__main__":
    main()
