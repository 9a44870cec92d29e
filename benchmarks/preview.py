"""A preview against the full scan of the same images: a tenth of the evaluations, and is the true curve inside its bands?

Run: python -m benchmarks.preview [--rounds 3]. ResNet-20: digits, and Fashion-MNIST where PRUNING_EXPLORER_DATA holds it; each
granularity with two orders of the images.
"""

from dataclasses import dataclass
from itertools import product

import torch

from benchmarks.timing import Row, command, interleaved
from pruning_core.granularity import granularity
from pruning_core.pipeline import Workspace, groups_of, open_workspace, probe_split
from pruning_core.plan import Plan
from pruning_core.preview import Preview, preview
from pruning_core.sensitivity import scan
from pruning_core.types import DataMissing, SensitivityPoint
from pruning_core.zoo import load_data

CPU = torch.device("cpu")
ORDERS = (0, 1)


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

    def _asked(self) -> tuple:
        _, groups = groups_of(self.plan, self.space)
        split = probe_split(self.plan, self.space)
        return self.space.model, self.space.layers, groups, granularity(self.plan.granularity), split

    def _more(self) -> dict:
        return {"couplings": self.space.tied[0] if self.tied else (), "tied": self.tied, "device": CPU}


def row(case: Case, rounds: int) -> Row:
    """Coverage over both orders; time of one of them."""
    truth, covered, spent, width, shown = case.scan(), [], 0.0, [], 0
    for seed in ORDERS:
        found = case.previews(seed)
        last, shown = found[-1], len(found)
        spent = max(spent, last.spent / last.full)
        cut = [(b, p) for b, p in zip(last.bands, truth, strict=True) if p.achieved > 0]
        covered.append(sum(b.interval[0] - 1e-9 <= p.top1 <= b.interval[1] + 1e-9 for b, p in cut) / len(cut))
        width += [b.interval[1] - b.interval[0] for b, _ in cut]
    seconds = interleaved({"full": case.scan, "preview": lambda: case.previews(0)}, rounds, warmup=0)
    more = {
        "evaluations": spent, "points": len(cut), "inside_seed_0": covered[0], "inside_seed_1": covered[1],
        "mean_band": sum(width) / len(width), "rounds": shown, "images": truth[0].n,
    }  # fmt: skip
    how = f"{case.plan.dataset}, {case.plan.granularity}{', tied' if case.tied else ''}"
    return Row(f"preview, ResNet-20 {how}", seconds["preview"], seconds["full"], "full scan", 1.0, more=more)


def rows(rounds: int = 3) -> list[Row]:
    """One row per data set and granularity; a data set that is not on this machine has none."""
    found = []
    for data, (name, tied) in product(("digits", "fashion_mnist"), (("fine", False), ("filter", True))):
        try:
            load_data(data, download=False)
        except DataMissing as missing:
            print(missing)
            continue
        found.append(
            row(Case(Plan(model="resnet20", dataset=data, granularity=name), open_workspace("resnet20", data), tied), rounds)
        )
    return found


if __name__ == "__main__":
    command(rows, 3, __doc__)
