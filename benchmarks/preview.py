"""A preview against the full scan of the same images: a tenth of the time, and is the true curve
inside its bands?

Run: python -m benchmarks.preview [--rounds 3] [--images 512] [--data digits fashion_mnist]
[--granularity fine filter]. ResNet-20: digits (359 images at most), and Fashion-MNIST where
PRUNING_EXPLORER_DATA holds it; filters with tied layers as one. The points inside and their bands'
widths are counted for two draws of the images, times are of the first.
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
from pruning_core.workspace import Workspace, open_workspace
from pruning_core.zoo import load_data

CPU = torch.device("cpu")
DRAWS = (0, 1)
DATA = ("digits", "fashion_mnist")
GRANULARITIES = ("fine", "filter")


@dataclass(frozen=True, eq=False)
class Case:
    """One scan of one workspace."""

    plan: Plan
    space: Workspace
    tied: bool

    def scan(self) -> list[SensitivityPoint]:
        """Every point on all images."""
        return list(scan(*self._asked(), **self._more()))

    def previews(self, seed: int) -> list[Preview]:
        """Round by round."""
        return list(preview(*self._asked(), **self._more(), seed=seed))

    def _asked(self) -> tuple[Any, ...]:
        _, groups = group_scores_of(self.plan, self.space)
        split = probe_split(self.plan, self.space)
        return (
            self.space.model,
            self.space.layers,
            groups,
            granularity(self.plan.granularity),
            split,
        )

    def _more(self) -> dict[str, Any]:
        return {
            "couplings": self.space.tied[0] if self.tied else (),
            "tied": self.tied,
            "device": CPU,
        }


def row(case: Case, rounds: int) -> Row:
    """Coverage over both draws; time of the first."""
    truth = case.scan()
    lasts = [case.previews(seed)[-1] for seed in DRAWS]
    pairs = [
        [(b, p) for b, p in zip(last.bands, truth, strict=True) if p.achieved > 0] for last in lasts
    ]
    inside = [
        sum(b.interval[0] - 1e-9 <= p.top1 <= b.interval[1] + 1e-9 for b, p in cut) / len(cut)
        for cut in pairs
    ]
    both = [pair for cut in pairs for pair in cut]
    seconds = interleaved(
        {"full": case.scan, "preview": lambda: case.previews(0)}, rounds, warmup=0
    )
    more: dict[str, float | int | str] = {
        "time": seconds["preview"].cpu / seconds["full"].cpu,
        "time_wall": seconds["preview"].wall / seconds["full"].wall,
        "evaluations": max(last.evaluations / last.full_evaluations for last in lasts),
        "work": max(last.work for last in lasts),
        **{f"inside_seed_{seed}": share for seed, share in zip(DRAWS, inside, strict=True)},
        "mean_band": sum(b.interval[1] - b.interval[0] for b, _ in both) / len(both),
        "mean_error": sum(abs(b.top1 - p.top1) for b, p in both) / len(both),
        "points": len(pairs[0]),
        "images": truth[0].n,
        "threads": torch.get_num_threads(),
    }
    how = f"{case.plan.dataset}, {case.plan.granularity}{', tied' if case.tied else ''}"
    return Row(
        f"preview, ResNet-20 {how}",
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
    """One row per data set and granularity; a data set that is not on this machine has none."""
    found = []
    for dataset, g in product(data, granularities):
        try:
            load_data(dataset, download=False)
        except DataMissing as missing:
            print(missing)
            continue
        plan = Plan(model="resnet20", dataset=dataset, granularity=g, probe=images)
        found.append(
            row(Case(plan, open_workspace("resnet20", dataset), tied=g == "filter"), rounds)
        )
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--data", nargs="+", default=DATA)
    parser.add_argument("--granularity", nargs="+", default=GRANULARITIES)
    asked = parser.parse_args()
    for measured in rows(asked.rounds, asked.images, asked.data, asked.granularity):
        print(measured)
