"""Search methods x measurements with a known optimum: how often each search finds it.

    nice -n 19 python -m benchmarks.search_planted

No network: ten parts of unequal cost, a budget of half the cost, and a score that is 1 at ratios
planted on the budget. `sum`: the score falls with the mean squared distance of all ratios from the
planted ones. `worst`: it is 1 minus the largest drop of any part, as where one layer that is cut
too far spoils the network; the planted ratios have equal drops. An optimum counts as found where
the best candidate closes at least 75% of the gap from the uniform ratios to it. The only start is
the uniform one. Writes a line per method as it ends: a Markdown table.
"""

import argparse
from collections.abc import Iterator
from time import perf_counter

import numpy as np
import torch

from pruning_core.search import SEARCHES, Evaluate, Judged
from pruning_core.types import Ratios
from tests.core.search.synthetic import SyntheticSpace, planted

PARTS = 10
CLOSED = 0.75
LANDSCAPES = ("sum", "worst")


def problem(landscape: str, seed: int, parts: int = PARTS) -> tuple[SyntheticSpace, Evaluate]:
    """A space with unequal parts, and measurements with a planted optimum on its budget."""
    draw = np.random.default_rng(1000 + seed)
    shares = draw.uniform(0.5, 2.0, parts)
    space = SyntheticSpace(tuple(float(share) for share in shares / shares.sum()))
    if landscape == "sum":
        drawn = {part.name: float(draw.uniform(part.least, part.most)) for part in space.parts}
        return space, planted(space, list(space.fitted(drawn).values()))
    return space, _worst_part(space, draw)


def _worst_part(space: SyntheticSpace, draw: np.random.Generator) -> Evaluate:
    """score = c - max over parts of s_l r_l^2, where c makes the best score on the budget 1."""
    slopes = {part.name: float(draw.uniform(0.2, 2.0)) for part in space.parts}

    def at(drop: float) -> Ratios:
        return {p.name: min(p.most, (drop / slopes[p.name]) ** 0.5) for p in space.parts}

    low = 0.0
    high = 2.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if space.cost(at(middle)) > 0.5 else (low, middle)

    def evaluate(ratios: Ratios) -> Judged:
        score = 1 + high - max(slopes[name] * ratio**2 for name, ratio in ratios.items())
        return Judged(score, score, 1 - score)

    return evaluate


def closed_gap(method: str, landscape: str, evaluations: int, seed: int) -> float:
    """The part of the gap from uniform to optimum that the best candidate closes."""
    space, evaluate = problem(landscape, seed)
    uniform = space.fitted({part.name: 0.5 for part in space.parts})
    start = evaluate(uniform).score
    candidates = SEARCHES[method](space, evaluate, evaluations, seed, {"uniform": uniform})
    best = [candidate.judged.score for candidate in candidates if candidate.best]
    return (best[-1] - start) / (1 - start) if best else 0.0


def rows(methods: list[str], evaluations: int, seeds: int) -> Iterator[str]:
    head = (f"found in {name} | median gap closed" for name in LANDSCAPES)
    yield f"| search | {' | '.join(head)} | seconds |"
    yield "|---|---|---|---|---|---|"
    for method in methods:
        begun = perf_counter()
        cells = []
        for landscape in LANDSCAPES:
            gaps = [closed_gap(method, landscape, evaluations, seed) for seed in range(seeds)]
            count = sum(gap >= CLOSED for gap in gaps)
            cells += [f"{count} of {seeds}", f"{np.median(gaps):.0%}"]
        seconds = (perf_counter() - begun) / (seeds * len(LANDSCAPES))
        yield f"| `{method}` | {' | '.join(cells)} | {seconds:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", help="default: all")
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for line in rows(options.methods or list(SEARCHES), options.evaluations, options.seeds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
