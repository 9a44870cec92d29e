"""A model card in Markdown: what a thinned network is, what it costs and what it can do."""

from collections.abc import Callable, Mapping, Sequence

import torch

from pruning_core.compress.thin import Thinned
from pruning_core.criteria import criterion
from pruning_core.granularity import granularity
from pruning_core.model.model_io import sample_count
from pruning_core.plan import Plan
from pruning_core.types import Evaluation
from pruning_core.workspaces import Workspace


def model_card(
    plan: Plan,
    space: Workspace,
    thinned: Thinned,
    measured: Mapping[str, Evaluation],
    files: Mapping[str, str],
    packages: Sequence[str],
    translate: Callable[[str], str] = str,
) -> str:
    """The card. measured: on the test split, by the name of the network; files: beside the card,
    with what each is for; packages: what the script among them needs; translate: gives a text in
    the reader's language.
    """
    checked = (
        "The thinned network gives the outputs of the masked network, checked on "
        f"{sample_count(thinned.samples)} samples of the validation split: relative difference "
        f"{thinned.error:.1e}."
    )
    remarks = [f"- {translate(text)}" for text in (*thinned.refused, *thinned.notes)]
    parts = (
        translate(f"# {space.name or plan.model}, thinned"),
        translate(_about(plan, thinned)),
        _costs(thinned, translate),
        f"## {translate('Quality')}",
        _quality(measured, translate),
        translate(checked),
        f"## {translate('Use')}",
        "\n".join(f"- `{name}`: {translate(purpose)}" for name, purpose in files.items()),
        *([translate(_needs(packages))] if packages else []),
        f"{translate(_data(plan, space))}\n{translate(f'Written with torch {torch.__version__}.')}",
        f"## {translate('Widths')}",
        _widths(thinned, translate),
        *([f"## {translate('Remarks')}", "\n".join(remarks)] if remarks else []),
    )
    return "\n\n".join(parts) + "\n"


def _about(plan: Plan, thinned: Thinned) -> str:
    """What the network was made from."""
    before, after = thinned.parameters
    made = (
        f"Made by Pruning Explorer from a plan (`kept.json` holds it): "
        f"{granularity(plan.granularity).label}, criterion "
        f"{criterion(plan.criterion, plan.seed).label}, {plan.sparsity:.1%} of the weights "
        f"requested, seed {plan.seed}."
    )
    return " ".join((f"{after:,} of {before:,} parameters.", made))


def _needs(packages: Sequence[str]) -> str:
    """What the script among the files needs."""
    names = ", ".join(packages)
    return f"`build_thinned.py` needs {names}. It does not need Pruning Explorer."


def _data(plan: Plan, space: Workspace) -> str:
    """What the network reads."""
    prepared = "Inputs are prepared as for the network before pruning."
    return " ".join((prepared, f"Data: {plan.dataset or 'your own'}.", *space.notes))


def _costs(thinned: Thinned, translate: Callable[[str], str]) -> str:
    """Sizes before and after."""
    before, after = thinned.parameters
    macs, fewer_macs = thinned.macs
    less = 1 - fewer_macs / macs if macs else 0.0
    rows: list[tuple[str | int, ...]] = [
        ("", "before", "after", ""),
        ("parameters", *thinned.parameters, f"{1 - after / before:.1%} fewer, computed"),
        ("multiply-adds per sample", *thinned.macs, f"{less:.1%} less, computed"),
        ("bytes of all tensors", *thinned.bytes, "computed"),
    ]
    return _table(rows, translate)


def _quality(measured: Mapping[str, Evaluation], translate: Callable[[str], str]) -> str:
    """One row per network that was measured."""
    rows = [("network", "on the test split, measured", "95%", "n")]
    for name, own in measured.items():
        low, high = map(own.task.text, own.interval)
        value = f"{translate(own.task.value_label)} {own.task.text(own.value)}"
        rows.append((name, value, f"{low} to {high}", f"{own.n:,}"))
    return _table(rows, translate)


def _widths(thinned: Thinned, translate: Callable[[str], str]) -> str:
    """One row per layer."""
    rows = [(f"`{w.layer}`", arrow(w.out), arrow(w.into)) for w in thinned.widths]
    return _table([("layer", "outputs", "inputs"), *rows], translate)


def _table(rows: Sequence[Sequence[str | int]], translate: Callable[[str], str]) -> str:
    """A table in Markdown. The first row is its head; numbers get commas."""
    cells = [
        [translate(cell) if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in rows
    ]
    head, *others = (f"| {' | '.join(row)} |".replace("|  |", "| |") for row in cells)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *others])


def arrow(pair: tuple[int, int]) -> str:
    """A number before and after; once where it stays the same."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]} -> {pair[1]}"
