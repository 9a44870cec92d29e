"""The stored runs of the page Learn: what takes too long to compute on the page.

    nice -n 15 python -m benchmarks.lessons [why] [search] [subnets]

Writes explorer/pages/learn/runs/NAME.json. tests/explorer/pages/learn makes points of each again.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from explorer.pages.learn import search, subnets, why
from explorer.pages.learn.stored import store
from explorer.pages.learn.two_layers import KEEP
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace, open_workspace


def why_run(space: Workspace) -> dict[str, Any]:
    return {"points": [asdict(why.measure(space, sparsity)) for sparsity in why.SPARSITIES]}


def search_run(space: Workspace) -> dict[str, Any]:
    landscape = [[search.height(space, x, y) for x in search.GRID] for y in search.GRID]
    even = search.height(space, 1 - KEEP, 1 - KEEP)
    return {
        "landscape": landscape,
        "n": len(space.dataset.val),
        "uniform": even,
        "path": search.path(space),
    }


def subnets_run(space: Workspace) -> dict[str, Any]:
    return {"subnets": [asdict(one) for one in subnets.sample(space)]}


RUNS: dict[str, Callable[[Workspace], dict[str, Any]]] = {
    "why": why_run,
    "search": search_run,
    "subnets": subnets_run,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*RUNS, []], help="runs to make; all if none")
    names = parser.parse_args().names or list(RUNS)
    plan = Plan()
    space = open_workspace(plan.model, plan.dataset)
    for name in names:
        store(name, RUNS[name](space))
        print(name)


if __name__ == "__main__":
    main()
