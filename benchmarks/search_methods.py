"""How good are the ratios that each search finds, before and after a short fine-tuning?

    PRUNING_EXPLORER_DATA=DATA OMP_NUM_THREADS=1 nice -n 5 \\
        python -m benchmarks.search_methods --out FILE [METHOD ...]

Whole filters, 50% of the multiply-adds of the thinned network: ResNet-20 on Fashion-MNIST, whose
layers are alike, and MobileNet on digits, whose layers are not. Every search measures at most 60
candidates without training on validation images, batch norm measured again, and begins with the
same ratios; `--evaluations` sets another number. Then its best candidate is measured on test
images, before and after one fine-tuning per seed. Gates are learned in a training that is six times
as long. Every result is written at once, and results that the file has are not measured again.
Prints the tables of docs/results.md.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter

import torch

from benchmarks.search_eagleeye import smaller
from pruning_core.evaluation.accuracy import Judge
from pruning_core.pipeline import final_test_split, prune
from pruning_core.plan import Plan
from pruning_core.search import search_method
from pruning_core.search.candidates import Candidate
from pruning_core.search.correlation import tuned
from pruning_core.search.evaluate import PlanEvaluate
from pruning_core.search.run import SearchSettings, prepared
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Finished, Ratios, Tuned
from pruning_core.workspaces import open_workspace

EVALUATIONS = 60
SEEDS = (0, 1, 2)
IMAGES = 4_000
PROBE = 500
CONFIG = TrainConfig(epochs=1, lr=0.02, batch_size=128)
NETWORKS = {"resnet20": "fashion_mnist", "mobilenet": "digits"}
EPOCHS = {"fashion_mnist": 1, "digits": 3}
STARTS = ("uniform", "global")
SEARCHES = (
    "random",
    "sensitivity_map",
    "netadapt",
    "annealing",
    "evolution",
    "tpe",
    "eagleeye",
    "nsga2",
    "amc",
)
GATES = "gates"
"""A flow, not a search: one training that learns weights and structure."""
LENGTH = 6
"""How many times as long as a fine-tuning that training is."""
SEEDLESS = (*STARTS, "sensitivity_map", "netadapt")
"""Methods that choose the same ratios with every seed."""


@dataclass(frozen=True)
class Row:
    """One method with one seed: the best ratios, and the network on the test images.

    value: on the validation images, by which the search chose; minutes: of the search, wall-clock;
    warmup, agent: AMC's mean score of its random episodes and of as many last ones of its agent.
    """

    network: str
    method: str
    seed: int
    evaluations: int
    minutes: float
    macs: float
    value: float
    before: float
    after: float
    ratios: Ratios = field(default_factory=dict)
    warmup: float | None = None
    agent: float | None = None


@dataclass(frozen=True)
class Chosen:
    """What a method chose, and what that took."""

    ratios: Ratios
    evaluations: int
    minutes: float
    extra: Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", help="default: all")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--evaluations", type=int, default=EVALUATIONS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    methods = options.methods or [*STARTS, *SEARCHES, GATES]
    for network in NETWORKS:
        known = [row for row in rows_of(options.out) if row.network == network]
        done = {(row.method, row.seed) for row in known}
        left = [
            (method, seed) for method in methods for seed in SEEDS if (method, seed) not in done
        ]
        for row in measured(network, left, options.evaluations) if left else ():
            known.append(row)
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
        print("\n".join(table(network, known)), flush=True)


def measured(network: str, left: list[tuple[str, int]], evaluations: int) -> Iterator[Row]:
    """The rows of these methods and seeds."""
    data = NETWORKS[network]
    plan = Plan(model=network, dataset=data, granularity="filter", probe=PROBE)
    space = smaller(open_workspace(network, data), IMAGES)
    ready = prepared(plan, space, SearchSettings("random"))
    config = replace(CONFIG, epochs=EPOCHS[data])
    chosen: dict[str, Chosen] = {}
    for method, seed in left:
        if method == GATES:
            yield learned(ready, replace(config, seed=seed))
            continue
        if method not in chosen or method not in SEEDLESS:
            chosen[method] = choose(ready, method, seed, evaluations)
        best = chosen[method]
        yield Row(
            network,
            method,
            seed,
            best.evaluations,
            best.minutes,
            ready.space.cost(best.ratios),
            ready(best.ratios).value,
            tuned(ready, best.ratios, replace(config, epochs=0)).value,
            tuned(ready, best.ratios, replace(config, seed=seed)).value,
            best.ratios,
            **best.extra,
        )


def learned(ready: PlanEvaluate, config: TrainConfig) -> Row:
    """The row of gates: `before` is after their own training."""
    long = replace(config, epochs=LENGTH * config.epochs)
    plan = replace(
        ready.space.plan, sparsity=0.5, allocation="global", flow="gates:macs=1", fine_tune=long
    )
    space = ready.space.space
    begun = perf_counter()
    *_, done = prune(plan, space)
    minutes = (perf_counter() - begun) / 60
    assert isinstance(done, Finished)
    assert done.tuned is not None
    dependent = plan.resolve(space).dependent_masks(done.masks)
    *_, last = fine_tune(
        done.model, done.masks, space.layers, space.dataset, config, dependent=dependent
    )
    assert isinstance(last, Tuned)
    before = done.tuned.value
    after = Judge.of(space.dataset).evaluate(last.model, final_test_split(plan, space)).value
    macs = done.report.remaining["macs"]
    return Row(plan.model, GATES, config.seed, 0, minutes, macs, before, before, after)


def choose(ready: PlanEvaluate, method: str, seed: int, evaluations: int) -> Chosen:
    """The ratios of an allocation, or the best candidate of a search within the budget."""
    starts = ready.space.starts()
    if method in STARTS:
        return Chosen(starts[method], 0, 0.0, {})
    begun = perf_counter()
    search = search_method(method)
    candidates = list(search(ready.space, ready, evaluations, seed, starts))
    minutes = (perf_counter() - begun) / 60
    best = [candidate for candidate in candidates if candidate.best][-1]
    return Chosen(best.ratios, len(candidates), minutes, _agent(candidates))


def _agent(candidates: list[Candidate]) -> dict[str, float]:
    """AMC's mean scores before and after learning; nothing for other searches."""
    random = [c.judged.score for c in candidates if c.origin == "random episode"]
    agent = [c.judged.score for c in candidates if c.origin.endswith("of the agent")]
    if not (random and agent):
        return {}
    return {
        "warmup": statistics.mean(random),
        "agent": statistics.mean(agent[-len(random) :]),
    }


def rows_of(path: Path) -> list[Row]:
    """The rows that the file has."""
    if not path.exists():
        return []
    return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def table(network: str, rows: list[Row]) -> Iterator[str]:
    """Mean and standard deviation over the seeds, by method."""
    yield f"| {network} | before | after | evaluations | minutes | multiply-adds |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        cells = [
            spread([100 * row.before for row in own]),
            spread([100 * row.after for row in own]),
        ]
        cells += [f"{own[0].evaluations}", f"{statistics.mean(row.minutes for row in own):.1f}"]
        cells.append(f"{max(row.macs for row in own):.1%}")
        yield f"| `{method}` | {' | '.join(cells)} |"
    for row in rows:
        if row.agent is not None:
            yield f"{row.method}, seed {row.seed}: random {row.warmup:.3f}, agent {row.agent:.3f}"


def spread(values: list[float]) -> str:
    """Mean ± standard deviation; the mean alone of one value."""
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


if __name__ == "__main__":
    main()
