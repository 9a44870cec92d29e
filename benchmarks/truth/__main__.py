"""Each method against its oracle: scores, and the overlap of the masks at 50, 90 and 99%.

    OMP_NUM_THREADS=1 python -m benchmarks.truth

Oracles: `scores.py` and `training.py`, written from the papers and their released rules with torch
alone. Networks of the zoo on digits, trained; seconds each. Prints the Markdown table of
docs/results.md. IoU: weights that both keep / weights that one of them keeps, over all layers; the
lowest of the networks.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.truth import scores, training
from benchmarks.truth.flows import TRAINED, trained
from benchmarks.truth.table import TARGETS, Line, overlap
from pruning_core.plan import Plan
from pruning_core.resolved_plan import ResolvedPlan
from pruning_core.types import GroupScores, Ratios
from pruning_core.workspaces import calibration, open_workspace

ALL = ("lenet5", "resnet20", "vit")
HOOKED = ("lenet5", "resnet20")
ONE = "a layer that would be emptied keeps one weight"


@dataclass(frozen=True)
class Scored:
    """A criterion with the oracle of its scores, and how the masks are chosen."""

    method: str
    text: str
    plan: Plan
    oracle: scores.Oracle
    networks: tuple[str, ...] = ALL
    why: str = "nothing"


@dataclass(frozen=True, eq=False)
class Case:
    """A plan on a network: the names of its weights, the product's scores, and the batch read."""

    model: nn.Module
    resolved: ResolvedPlan
    names: list[str]
    ours: GroupScores
    x: Tensor
    y: Tensor

    def chosen(self, target: float) -> tuple[Ratios, list[Tensor]]:
        """The product's ratios and masks at a sparsity."""
        ratios, masks = replace(self.resolved, sparsity=target).choose(self.ours, 1.0)
        return ratios, [masks[name] for name in self.names]


def opened(network: str, plan: Plan) -> Case:
    """The plan on a network of the zoo."""
    space = open_workspace(network, "digits")
    resolved = replace(plan, model=network, calibration=128).resolve(space)
    ((x, y),) = calibration(space, 128)
    assert isinstance(x, Tensor)
    names = [layer.name for layer in resolved.layers]
    return Case(space.model, resolved, names, resolved.scores(), x, y)


def kept_globally(wanted: scores.PerName, sparsity: float) -> list[Tensor]:
    """The highest scores of all layers together."""
    row = torch.cat([s.flatten() for s in wanted.values()])
    mask = training.keep_top(row, len(row) - round(sparsity * len(row)))
    return list(mask.split([s.numel() for s in wanted.values()]))


def kept_per_row(wanted: scores.PerName, sparsity: float) -> list[Tensor]:
    """In every row, all but the lowest int(sparsity x columns), as Wanda's release does."""
    masks = []
    for s in wanted.values():
        lowest = s.argsort(dim=1, stable=True)[:, : int(sparsity * s.shape[1])]
        masks.append(torch.ones_like(s).scatter(1, lowest, 0))
    return masks


def kept_filters(wanted: scores.PerName, sparsity: float) -> list[Tensor]:
    """In every layer, the highest filters; at least one."""
    return [
        training.keep_top(s, max(1, len(s) - round(sparsity * len(s)))) for s in wanted.values()
    ]


RULES = {"fine": kept_globally, "row": kept_per_row, "filter": kept_filters}


def scored(row: Scored) -> Line:
    """The largest difference of group scores, relative to the largest, and the overlaps."""
    worst = 0.0
    overlaps = [1.0] * len(TARGETS)
    for network in row.networks:
        case = opened(network, row.plan)
        wanted = row.oracle(case.model, case.names, case.x, case.y)
        if row.plan.allocation != "lamp":
            for name in case.names:
                gap = (case.ours[name].flatten() - wanted[name].flatten()).abs().max()
                worst = max(worst, float(gap / wanted[name].abs().max().clamp_min(1e-30)))
        for at, target in enumerate(TARGETS):
            _, kept = case.chosen(target)
            if row.plan.granularity == "filter":
                kept = [mask.flatten(1).any(1) for mask in kept]
            other = RULES[row.plan.granularity](wanted, target)
            overlaps[at] = min(overlaps[at], overlap(kept, other))
    difference = "masks alone" if row.plan.allocation == "lamp" else f"{worst:.0e}"
    return Line(row.method, row.text, difference, tuple(overlaps), row.why)


GLOBAL = Plan(allocation="global")
FILTERS = Plan(granularity="filter")
ROWS = Plan(granularity="row")
SCORED = (
    Scored(
        "`taylor`",
        "Molchanov 2019, eq. 7",
        replace(GLOBAL, criterion="taylor"),
        scores.taylor,
        why=ONE,
    ),
    Scored(
        "`snip_batch`", "Lee 2019", replace(GLOBAL, criterion="snip_batch"), scores.snip, why=ONE
    ),
    Scored(
        "`snip`",
        "Lee 2019",
        replace(GLOBAL, criterion="snip"),
        scores.snip,
        ("resnet20",),
        "running statistics, the authors' are of the batch: take `snip_batch`",
    ),
    Scored(
        "`grasp_batch`",
        "Wang 2020",
        replace(GLOBAL, criterion="grasp_batch"),
        scores.grasp,
        HOOKED,
    ),
    Scored(
        "`grasp`",
        "Wang 2020",
        replace(GLOBAL, criterion="grasp"),
        scores.grasp,
        ("resnet20",),
        "running statistics, the authors' are of the batch: take `grasp_batch`",
    ),
    Scored("`obd`", "LeCun 1990, Fisher", replace(GLOBAL, criterion="obd"), scores.obd, why=ONE),
    Scored("`seven`", "Xiao 2024", replace(GLOBAL, criterion="seven"), scores.seven, why=ONE),
    Scored("`lamp`", "Lee 2021", Plan(allocation="lamp"), scores.lamp),
    Scored(
        "`wanda`, Row",
        "Sun 2023, one pass",
        replace(ROWS, criterion="wanda"),
        scores.wanda,
        HOOKED,
        "the release rounds the number removed per row down, here to the nearest",
    ),
    Scored("`fpgm`, Filter", "He 2019", replace(FILTERS, criterion="fpgm"), scores.fpgm, HOOKED),
    Scored(
        "`taylor_group`, Filter",
        "Molchanov 2019, eq. 8",
        replace(FILTERS, criterion="taylor_group"),
        scores.taylor_filters,
        HOOKED,
    ),
)


def mask_overlaps(plan: Plan, oracle: Callable[[Case, float], scores.PerName]) -> tuple[float, ...]:
    """The overlaps with an oracle that gives masks at a sparsity, the lowest of two networks."""
    overlaps = [1.0] * len(TARGETS)
    for network in HOOKED:
        case = opened(network, plan)
        for at, target in enumerate(TARGETS):
            masks = oracle(case, target)
            other = [masks[name] for name in case.names]
            overlaps[at] = min(overlaps[at], overlap(case.chosen(target)[1], other))
    return tuple(overlaps)


def torch_line() -> Line:
    """Global magnitude against torch.nn.utils.prune."""
    overlaps = mask_overlaps(
        GLOBAL, lambda case, target: scores.torch_global(case.model, case.names, target)
    )
    text = "`torch.nn.utils.prune`"
    return Line("`magnitude_l1`, Global", text, "masks alone", overlaps, ONE)


def erk_line() -> Line:
    """The densities of ERK, and the masks by magnitude with them."""
    worst = 0.0
    overlaps = [1.0] * len(TARGETS)
    for network in ALL:
        case = opened(network, Plan(allocation="erk"))
        sizes = scores.magnitude(case.model, case.names, case.x, case.y)
        for at, target in enumerate(TARGETS):
            ratios, kept = case.chosen(target)
            density = scores.erk_densities(case.model, case.names, 1 - target)
            worst = max(worst, *(abs(1 - ratios[n] - density[n]) for n in case.names))
            other = [
                training.keep_top(sizes[n].flatten(), round(density[n] * sizes[n].numel()))
                for n in case.names
            ]
            overlaps[at] = min(overlaps[at], overlap(kept, other))
    why = "a count per layer rounded to the nearest, at least one weight"
    return Line("`erk`", "Evci 2020", f"{worst:.0e} (density)", tuple(overlaps), why)


def synflow_line() -> Line:
    """The authors' own run to every target."""
    overlaps = mask_overlaps(
        replace(GLOBAL, criterion="synflow"),
        lambda case, target: scores.synflow_masks(case.model, case.names, case.x, 1 - target),
    )
    why = "one run to 99% for all targets, the authors run to each; at 99% a weight of rounding"
    return Line("`synflow`", "Tanaka 2020", "masks alone", overlaps, why)


def lines() -> Iterator[Line]:
    """All lines, the fast ones first."""
    yield torch_line()
    yield erk_line()
    yield from map(scored, SCORED)
    yield synflow_line()
    yield from map(trained, TRAINED)


def main() -> None:
    """Prints the table, one line as soon as it is known."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("| method | oracle | largest difference | 50% | 90% | 99% | what differs, and why |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for line in lines():
        print(line, flush=True)


if __name__ == "__main__":
    main()
