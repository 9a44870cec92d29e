"""A model card in Markdown: what a thinned network is, what it costs and what it can do."""

from collections.abc import Mapping

import torch

from pruning_core.compress.thin import Thinned
from pruning_core.criteria import criterion
from pruning_core.granularity import granularity
from pruning_core.model.model_io import sample_count
from pruning_core.plan import Plan
from pruning_core.types import Evaluation
from pruning_core.workspaces import Workspace

_TEMPLATE = """\
# {network}, thinned

{parameters[1]:,} of {parameters[0]:,} parameters. Made by Pruning Explorer from a plan \
(`kept.json` holds it): {granularity}, criterion {criterion}, {sparsity:.1%} of the weights \
requested, seed {seed}.

| | before | after | |
|---|---|---|---|
| parameters | {parameters[0]:,} | {parameters[1]:,} | {fewer:.1%} fewer, computed |
| multiply-adds per sample | {macs[0]:,} | {macs[1]:,} | {less:.1%} less, computed |
| bytes of all tensors | {bytes[0]:,} | {bytes[1]:,} | computed |

## Quality

{quality}

The thinned network gives the outputs of the masked network, checked on {samples} samples of the \
validation split: relative difference {error:.1e}.

## Use

{use}

Inputs are prepared as for the network before pruning. Data: {dataset}. {data_notes}
Written with torch {torch}.

## Widths

| layer | outputs | inputs |
|---|---|---|
{widths}
{remarks}"""


def model_card(
    plan: Plan,
    space: Workspace,
    thinned: Thinned,
    measured: Mapping[str, Evaluation],
    files: Mapping[str, str],
) -> str:
    """The card. measured: on the test split, by the name of the network; files: beside the card,
    with what each is for.
    """
    before, after = thinned.parameters
    macs, fewer_macs = thinned.macs
    remarks = [f"- {text}" for text in (*thinned.refused, *thinned.notes)]
    return _TEMPLATE.format(
        network=space.name or plan.model,
        dataset=plan.dataset or "your own",
        parameters=thinned.parameters,
        macs=thinned.macs,
        bytes=thinned.bytes,
        fewer=1 - after / before,
        less=1 - fewer_macs / macs if macs else 0.0,
        granularity=granularity(plan.granularity).label,
        criterion=criterion(plan.criterion, plan.seed).label,
        sparsity=plan.sparsity,
        seed=plan.seed,
        quality=_quality(measured),
        samples=sample_count(thinned.samples),
        error=thinned.error,
        data_notes=" ".join(space.notes),
        use="\n".join(f"- `{name}`: {purpose}" for name, purpose in files.items()),
        torch=torch.__version__,
        widths="\n".join(
            f"| `{w.layer}` | {arrow(w.out)} | {arrow(w.into)} |" for w in thinned.widths
        ),
        remarks="\n## Remarks\n\n" + "\n".join(remarks) + "\n" if remarks else "",
    )


def _quality(measured: Mapping[str, Evaluation]) -> str:
    """One row per network that was measured."""
    rows = [
        f"| {name} | {own.task.value_label} {own.task.text(own.value)} "
        f"| {own.task.text(own.interval[0])} to {own.task.text(own.interval[1])} | {own.n:,} |"
        for name, own in measured.items()
    ]
    return "\n".join(
        ["| network | on the test split, measured | 95% | n |", "|---|---|---|---|", *rows]
    )


def arrow(pair: tuple[int, int]) -> str:
    """A number before and after; once where it stays the same."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]} -> {pair[1]}"
