"""Does EagleEye find a better sub-network than uniform ratios, and does its proxy rank well?

    PRUNING_EXPLORER_DATA=DATA OMP_NUM_THREADS=1 nice -n 15 \\
        python -m benchmarks.search_eagleeye --out FOLDER [--dataset digits]

ResNet-20, whole filters, 50% of the multiply-adds of the thinned network. 200 candidates; 20 of
them, spread over their scores, after a short fine-tune; then the best one and uniform ratios at
equal multiply-adds, over three seeds. Fine-tuning sees a part of the training images. Every
result is written at once, and results that a file has are not measured again. Prints the tables of
docs/results.md.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pruning_core.plan import Plan
from pruning_core.search.candidates import Candidate
from pruning_core.search.correlation import (
    Trial,
    correlations,
    differences,
    spread,
    trials,
    tuned,
)
from pruning_core.search.run import SearchResult, SearchSettings, prepared, search
from pruning_core.training.config import TrainConfig
from pruning_core.types import Ratios
from pruning_core.workspaces import Workspace, open_workspace
from pruning_core.zoo import probe

SETTINGS = SearchSettings("eagleeye", "macs", 0.5, evaluations=200)
SPREAD = 20
SEEDS = (0, 1, 2)
SHORT = TrainConfig(epochs=1, lr=0.02, batch_size=128)
LONG = TrainConfig(epochs=3, lr=0.02, batch_size=128)
SHORT_IMAGES = 6_000
LONG_IMAGES = 12_000
PROBE = 1_000
"""Validation images that candidates are measured on."""
JUDGED = 2_000
"""Test images that fine-tuned networks are measured on."""


@dataclass(frozen=True)
class Tuning:
    """The accuracy on the test images of one network after fine-tuning with one seed."""

    ratios: str
    seed: int
    value: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--dataset", default="fashion_mnist")
    options = parser.parse_args()
    plan = Plan(dataset=options.dataset, granularity="filter", probe=PROBE)
    space = open_workspace(plan.model, plan.dataset)
    *events, found = search(plan, space, SETTINGS, options.out)
    assert isinstance(found, SearchResult)
    candidates = [event for event in events if isinstance(event, Candidate)]
    print(f"{len(candidates)} candidates, best {found.best.judged.value:.4f}", flush=True)
    _correlation(plan, space, candidates, options.out)
    _against_uniform(plan, space, found, options.out)


def _correlation(plan: Plan, space: Workspace, candidates: list[Candidate], out: Path) -> None:
    """The table of the correlation lab."""
    path = out / "trials.jsonl"
    known = {raw["number"]: Trial(**raw) for raw in _lines(path)}
    wanted = spread(candidates, SPREAD)
    short = smaller(space, SHORT_IMAGES)
    left = [candidate for candidate in wanted if candidate.number not in known]
    for trial in trials(plan, short, SETTINGS, left, SHORT):
        known[trial.number] = trial
        _append(path, asdict(trial))
        print(trial, flush=True)
    measured = [known[candidate.number] for candidate in wanted]
    print("| without training | Pearson | Spearman | Kendall |\n| --- | --- | --- | --- |")
    after = [trial.tuned for trial in measured]
    repaired = [trial.repaired for trial in measured]
    masked = [trial.masked for trial in measured]
    for label, found in (
        ("batch norm measured again", correlations(repaired, after)),
        ("masks alone", correlations(masked, after)),
        ("difference", differences(repaired, masked, after)),
    ):
        cells = (
            f"{c.value:.2f} [{c.interval[0]:.2f}, {c.interval[1]:.2f}]" for c in found.values()
        )
        print(f"| {label} | {' | '.join(cells)} |")


def _against_uniform(plan: Plan, space: Workspace, found: SearchResult, out: Path) -> None:
    """The table of the best candidate and uniform ratios, both fine-tuned."""
    path = out / "tunings.jsonl"
    known = [Tuning(**raw) for raw in _lines(path)]
    short = smaller(space, LONG_IMAGES)
    ready = prepared(plan, short, SETTINGS)
    methods: dict[str, Ratios] = {
        "uniform": ready.space.starts()["uniform"],
        "eagleeye": found.best.ratios,
    }
    done = {(run.ratios, run.seed) for run in known}
    for seed in SEEDS:
        for name, ratios in methods.items():
            if (name, seed) not in done:
                value = tuned(ready, ratios, replace(LONG, seed=seed)).value
                known.append(Tuning(name, seed, value))
                _append(path, asdict(known[-1]))
                print(known[-1], flush=True)
    print("| ratios | multiply-adds | without training | after fine-tuning, 3 seeds |")
    print("| --- | --- | --- | --- |")
    for name, ratios in methods.items():
        values = [run.value for run in known if run.ratios == name]
        spread_text = f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"
        before = ready(ratios).value
        print(f"| {name} | {ready.space.cost(ratios):.1%} | {before:.4f} | {spread_text} |")


def smaller(space: Workspace, images: int) -> Workspace:
    """The workspace with a part of its images."""
    data = space.dataset
    few = replace(
        data,
        train=probe(data.train, min(images, len(data.train))),
        val=probe(data.val, min(PROBE, len(data.val))),
        test=probe(data.test, min(JUDGED, len(data.test))),
    )
    return replace(space, dataset=few)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def _append(path: Path, raw: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(raw) + "\n")


if __name__ == "__main__":
    main()
