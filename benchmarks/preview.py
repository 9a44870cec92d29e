"""A preview against the full scan of the same images: its time, and how often its bands are right.

Run: python -m benchmarks.preview [--rounds 3] [--images 512] [--data digits fashion_mnist]
[--granularity fine filter]. ResNet-20 on digits (at most 359 images), and on Fashion-MNIST where
PRUNING_EXPLORER_DATA has it. Tied layers are pruned together by filters. inside_seed: the fraction
of points of the full scan inside their bands, for each seed. Times are those of the first seed.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

from benchmarks.timing import Row, interleaved
from pruning_core.granularity import granularity
from pruning_core.pipeline import group_scores_of, probe_split
from pruning_core.plan import Plan
from pruning_core.sensitivity.preview import Preview, preview
from pruning_core.sensitivity.scan import scan
from pruning_core.types import DataMissing, SensitivityPoint
from pruning_core.workspaces import Workspace, open_workspace
from pruning_core.zoo import load_data

CPU = torch.device("cpu")
SEEDS = (0, 1)
DATA = ("digits", "fashion_mnist")
GRANULARITIES = ("fine", "filter")


@dataclass(frozen=True, eq=False)
class Case:
    """One scan of one workspace."""

    plan: Plan
    space: Workspace
    tied: bool

    def scan(self) -> list[SensitivityPoint]:
        """Every point, measured on all images."""
        return list(scan(*self._arguments(), **self._options()))

    def previews(self, seed: int) -> list[Preview]:
        """The preview after every round."""
        return list(preview(*self._arguments(), **self._options(), seed=seed))

    def _arguments(self) -> tuple[Any, ...]:
        _, groups = group_scores_of(self.plan, self.space)
        split = probe_split(self.plan, self.space)
        return (
            self.space.model,
            self.space.layers,
            groups,
            granularity(self.plan.granularity),
            split,
        )

    def _options(self) -> dict[str, Any]:
        return {
            "couplings": self.space.tied[0] if self.tied else (),
            "tied": self.tied,
            "device": CPU,
        }


def row(case: Case, rounds: int) -> Row:
    """Measures both: bands of every seed, time of the first seed."""
    full = case.scan()
    lasts = [case.previews(seed)[-1] for seed in SEEDS]
    pairs = [
        [(b, p) for b, p in zip(last.bands, full, strict=True) if p.achieved > 0] for last in lasts
    ]
    inside = [
        sum(b.interval[0] - 1e-9 <= point.value <= b.interval[1] + 1e-9 for b, point in pruned)
        / len(pruned)
        for pruned in pairs
    ]
    both = [pair for pruned in pairs for pair in pruned]
    seconds = interleaved(
        {"full": case.scan, "preview": lambda: case.previews(0)}, rounds, warmup=0
    )
    more: dict[str, float | int | str] = {
        "time": seconds["preview"].cpu / seconds["full"].cpu,
        "time_wall": seconds["preview"].wall / seconds["full"].wall,
        "evaluations": max(last.evaluations / last.full_evaluations for last in lasts),
        "work": max(last.work for last in lasts),
        **{f"inside_seed_{seed}": share for seed, share in zip(SEEDS, inside, strict=True)},
        "mean_band": sum(b.interval[1] - b.interval[0] for b, _ in both) / len(both),
        "mean_error": sum(abs(b.value - p.value) for b, p in both) / len(both),
        "points": len(pairs[0]),
        "images": full[0].n,
        "threads": torch.get_num_threads(),
    }
    name = f"{case.plan.dataset}, {case.plan.granularity}{', tied' if case.tied else ''}"
    return Row(
        f"preview, ResNet-20 {name}",
        seconds["preview"],
        seconds["full"],
        "full scan",
        10.0,
        more=more,
    )


def rows(
    rounds: int = 3,
    images: int = 512,
    data: Sequence[str] = DATA,
    granularities: Sequence[str] = GRANULARITIES,
) -> list[Row]:
    """One row per data set and granularity. Data sets that are not on this machine are skipped."""
    made = []
    for dataset, g in product(data, granularities):
        try:
            load_data(dataset, download=False)
        except DataMissing as missing:
            print(missing)
            continue
        plan = Plan(model="resnet20", dataset=dataset, granularity=g, probe=images)
        made.append(
            row(Case(plan, open_workspace("resnet20", dataset), tied=g == "filter"), rounds)
        )
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--data", nargs="+", default=DATA)
    parser.add_argument("--granularity", nargs="+", default=GRANULARITIES)
    options = parser.parse_args()
    for measured in rows(options.rounds, options.images, options.data, options.granularity):
        print(measured)
