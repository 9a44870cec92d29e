"""Each method against its oracle: scores, and the overlap of the masks at 50, 90 and 99%.

    OMP_NUM_THREADS=1 python -m benchmarks.truth

Oracles: `scores.py` and `training.py`, written from the papers and their released rules with torch
alone. Networks of the zoo on digits, trained; seconds each. Prints the Markdown table of
docs/results.md. IoU: weights that both keep / weights that one of them keeps, over all layers; the
lowest of the networks.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.truth import scores, training
from benchmarks.truth.flows import TRAINED, trained
from benchmarks.truth.table import TARGETS, Line, overlap
from pruning_core.plan import Plan
from pruning_core.resolved_plan import ResolvedPlan
from pruning_core.training.config import TrainConfig
from pruning_core.workspaces import Workspace, calibration, open_workspace

ALL = ("lenet5", "resnet20", "vit")
HOOKED = ("lenet5", "resnet20")
ONE = "a layer that would be emptied keeps one weight"
CONFIG = TrainConfig(epochs=2, lr=0.05)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Scored:
    """A criterion with the oracle of its scores, and how the masks are chosen."""

    method: str
    text: str
    plan: Plan
    oracle: scores.Oracle
    networks: tuple[str, ...] = ALL
    why: str = "nothing"


def opened(network: str, plan: Plan) -> tuple[Workspace, ResolvedPlan, Tensor, Tensor]:
    """The network, the plan on it, and the batch that its criterion reads."""
    space = open_workspace(network, "digits")
    plan = replace(plan, model=network, calibration=128)
    ((x, y),) = calibration(space, 128)
    assert isinstance(x, Tensor)
    return space, plan.resolve(space), x, y


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


def scored(case: Scored) -> Line:
    """The largest difference of group scores, relative to the largest, and the overlaps."""
    worst = 0.0
    overlaps = [1.0] * len(TARGETS)
    for network in case.networks:
        space, resolved, x, y = opened(network, case.plan)
        names = [layer.name for layer in resolved.layers]
        wanted = case.oracle(space.model, names, x, y)
        ours = resolved.scores()
        if case.plan.allocation != "lamp":
            for name in names:
                gap = (ours[name].flatten() - wanted[name].flatten()).abs().max()
                worst = max(worst, float(gap / wanted[name].abs().max().clamp_min(1e-30)))
        for at, target in enumerate(TARGETS):
            _, masks = replace(resolved, sparsity=target).choose(ours, 1.0)
            kept = [masks[name] for name in names]
            if case.plan.granularity == "filter":
                kept = [mask.flatten(1).any(1) for mask in kept]
            other = RULES[case.plan.granularity](wanted, target)
            overlaps[at] = min(overlaps[at], overlap(kept, other))
    difference = "masks alone" if case.plan.allocation == "lamp" else f"{worst:.0e}"
    return Line(case.method, case.text, difference, tuple(overlaps), case.why)


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
        "one batch; the authors average over mini-batches (of 32 here)",
    ),
)


def torch_line() -> Line:
    """Global magnitude against torch.nn.utils.prune."""
    overlaps = [1.0] * len(TARGETS)
    for network in HOOKED:
        space, resolved, _, _ = opened(network, GLOBAL)
        names = [layer.name for layer in resolved.layers]
        groups = resolved.scores()
        for at, target in enumerate(TARGETS):
            _, masks = replace(resolved, sparsity=target).choose(groups, 1.0)
            other = scores.torch_global(space.model, names, target)
            found = overlap([masks[n] for n in names], [other[n] for n in names])
            overlaps[at] = min(overlaps[at], found)
    text = "`torch.nn.utils.prune`"
    return Line("`magnitude_l1`, Global", text, "masks alone", tuple(overlaps), ONE)


def erk_line() -> Line:
    """The densities of ERK, and the masks by magnitude with them."""
    worst = 0.0
    overlaps = [1.0] * len(TARGETS)
    for network in ALL:
        space, resolved, x, y = opened(network, Plan(allocation="erk"))
        names = [layer.name for layer in resolved.layers]
        groups = resolved.scores()
        sizes = scores.magnitude(space.model, names, x, y)
        for at, target in enumerate(TARGETS):
            ratios, masks = replace(resolved, sparsity=target).choose(groups, 1.0)
            density = scores.erk_densities(space.model, names, 1 - target)
            worst = max(worst, *(abs(1 - ratios[n] - density[n]) for n in names))
            other = [
                training.keep_top(sizes[n].flatten(), round(density[n] * sizes[n].numel()))
                for n in names
            ]
            overlaps[at] = min(overlaps[at], overlap([masks[n] for n in names], other))
    why = "a count per layer rounded to the nearest, at least one weight"
    return Line("`erk`", "Evci 2020", f"{worst:.0e} (density)", tuple(overlaps), why)


def synflow_line() -> Line:
    """The authors' own run to every target."""
    overlaps = [1.0] * len(TARGETS)
    for network in HOOKED:
        space, resolved, x, _ = opened(network, replace(GLOBAL, criterion="synflow"))
        names = [layer.name for layer in resolved.layers]
        groups = resolved.scores()
        for at, target in enumerate(TARGETS):
            _, masks = replace(resolved, sparsity=target).choose(groups, 1.0)
            other = scores.synflow_masks(space.model, names, x, 1 - target)
            found = overlap([masks[n] for n in names], [other[n] for n in names])
            overlaps[at] = min(overlaps[at], found)
    why = "one run to 99% for all targets, the authors run to each; at 99% a weight of rounding"
    return Line("`synflow`", "Tanaka 2020", "masks alone", tuple(overlaps), why)


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
