"""Repair without training: the test accuracy of every repair, and of one epoch of training.

    nice -n 15 python -m benchmarks.repairs --out repairs.jsonl

Three networks of the zoo on Fashion-MNIST (`--dataset digits` is quick), four granularities with
uniform ratios and magnitudes, the whole test split. Writes one JSON line per measurement as they
come; lines of an earlier run are kept and not measured again. Ends with a Markdown table.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from pruning_core.evaluation.accuracy import Judge
from pruning_core.pipeline import choose_masks, prune, pruned_copy
from pruning_core.plan import Plan
from pruning_core.repairs import REPAIRS
from pruning_core.training.config import TrainConfig
from pruning_core.types import Tuned
from pruning_core.workspaces import Workspace, open_workspace

NETWORKS = ("resnet20", "vgg", "vit")
ROWS = (("fine", 0.8), ("2:4", 0.5), ("kernel", 0.5), ("filter", 0.3))
EPOCH = "one epoch"
COLUMNS = (*REPAIRS, EPOCH)


def changed_network(plan: Plan, space: Workspace, column: str) -> nn.Module:
    """The pruned network after a repair, or after one epoch of training."""
    if column == EPOCH:
        trained = replace(plan, fine_tune=TrainConfig(epochs=1))
        return next(event.model for event in prune(trained, space) if isinstance(event, Tuned))
    return pruned_copy(replace(plan, repair=column), space, choose_masks(plan, space)[1])


def measurements(
    plan: Plan, space: Workspace, columns: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """One measurement per column. seconds: of pruning and the repair or training."""
    for column in columns:
        start = time.perf_counter()
        network = changed_network(plan, space, column)
        seconds = time.perf_counter() - start
        evaluation = Judge.of(space.dataset).evaluate(network, space.dataset.test)
        yield {
            "network": plan.model,
            "granularity": plan.granularity,
            "sparsity": plan.sparsity,
            "column": column,
            "value": evaluation.value,
            "interval": evaluation.interval,
            "n": evaluation.n,
            "seconds": seconds,
        }


def read(path: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """What a file of measurements holds, by network, granularity and column."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return {(row["network"], row["granularity"], row["column"]): row for row in rows}


def table(known: dict[tuple[str, str, str], dict[str, Any]]) -> str:
    """Accuracy in percent, its 95% interval and the seconds of each measurement, as Markdown."""
    lines = [
        "| network | removed | " + " | ".join(COLUMNS) + " |",
        "| --- " * (2 + len(COLUMNS)) + "|",
    ]
    for network in NETWORKS:
        for granularity, sparsity in ROWS:
            cells = [known.get((network, granularity, column)) for column in COLUMNS]
            if any(cells):
                texts = " | ".join(map(_cell, cells))
                lines.append(f"| {network} | {granularity} {sparsity:.0%} | {texts} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    low, high = (f"{100 * end:.1f}" for end in row["interval"])
    return f"{100 * row['value']:.1f} [{low}, {high}] {row['seconds']:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--columns", default=",".join(COLUMNS))
    parser.add_argument("--calibration", type=int, default=Plan().calibration)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for name in options.networks.split(","):
        space = open_workspace(name, options.dataset)
        for granularity, sparsity in ROWS:
            plan = Plan(
                model=name,
                dataset=options.dataset,
                granularity=granularity,
                sparsity=sparsity,
                calibration=options.calibration,
            )
            known = read(options.out)
            wanted = options.columns.split(",")
            left = tuple(c for c in wanted if (name, granularity, c) not in known)
            for measured in measurements(plan, space, left):
                with options.out.open("a") as file:
                    file.write(json.dumps(measured) + "\n")
    print(table(read(options.out)))


if __name__ == "__main__":
    main()
