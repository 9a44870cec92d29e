"""Accuracy at equal density for the granularities of Mao et al. 2017, arXiv:1705.08922.

Run: python -m benchmarks.studies.granularity_order [--seeds 3] [--epochs 2] [--models resnet20 vgg]
[--out FILE.json]. Fashion-MNIST must be on this machine. All k x k convolutions are pruned to the
same ratio and every other layer stays dense, so that every granularity keeps equally many weights.
One more run per seed prunes single weights at 80% with a global magnitude threshold.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pruning_core.granularity import granularity, supports
from pruning_core.pipeline import prune
from pruning_core.plan import Plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished
from pruning_core.workspaces import Workspace, open_workspace

ORDER = ("fine", "vector_row", "kernel", "filter")
MODELS = ("resnet20", "vgg")
DENSITY = 0.3


def finished(plan: Plan, space: Workspace) -> Finished:
    """The last event of a plan's run."""
    *_, last = prune(plan, space)
    if not isinstance(last, Finished):
        raise RuntimeError("the run did not finish")
    return last


def order_plans(base: Plan, space: Workspace) -> Iterator[Plan]:
    """One plan per granularity.

    It prunes the k x k convolutions with more than one input channel; all other layers stay dense.
    """
    unpruned = [layer for layer in space.layers if layer.shape[2:] == (1, 1) or layer.shape[1] == 1]
    for name in ORDER:
        dense = tuple(
            (layer.name, 0.0) for layer in unpruned if supports(granularity(name), layer) is None
        )
        yield replace(
            base, granularity=name, allocation="uniform", sparsity=1 - DENSITY, overrides=dense
        )


def rows(model: str, seeds: int, epochs: int) -> Iterator[dict[str, object]]:
    """Measures every plan with every seed, on the whole test split."""
    space = open_workspace(model, "fashion_mnist")
    for seed in range(seeds):
        tune = TrainConfig(epochs=epochs, lr=0.02, batch_size=128, seed=seed, augment=True)
        base = Plan(model=model, dataset="fashion_mnist", fine_tune=tune, seed=seed)
        headline = replace(base, granularity="fine", allocation="global", sparsity=0.8)
        for plan in (*order_plans(base, space), headline):
            start = time.perf_counter()
            done = finished(plan, space)
            if done.tuned is None:
                raise RuntimeError("the network was not fine-tuned")
            yield {
                "model": model,
                "granularity": plan.granularity,
                "allocation": plan.allocation,
                "seed": seed,
                "sparsity": done.report.sparsity_masked,
                "kept_in_model": 1 - done.report.sparsity_model,
                "n": done.tuned.n,
                "dense": done.dense.value,
                "pruned": done.pruned.value,
                "tuned": done.tuned.value,
                "interval": done.tuned.interval,
                "seconds": round(time.perf_counter() - start, 1),
            }


def mean_and_spread(top1: list[float]) -> str:
    """The mean over seeds with its sample standard deviation, as text."""
    spread = statistics.stdev(top1) if len(top1) > 1 else float("nan")
    return f"mean {statistics.mean(top1):.4f}  sd {spread:.4f}  seeds {len(top1)}"


def main() -> None:
    """Prints one line per run, then the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    made = []
    for model in options.models:
        for row in rows(model, options.seeds, options.epochs):
            made.append(row)
            print(json.dumps(row), flush=True)
    for key in dict.fromkeys((r["model"], r["granularity"], r["allocation"]) for r in made):
        top1 = [
            float(str(r["tuned"]))
            for r in made
            if (r["model"], r["granularity"], r["allocation"]) == key
        ]
        print(f"{' '.join(map(str, key)):30} {mean_and_spread(top1)}")
    if options.out:
        options.out.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
