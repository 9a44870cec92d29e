"""The generated page of choices: every entry of every axis, and which of them work together."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import CRITERIA, Criterion, refusal
from pruning_core.flows import FLOWS, Flow
from pruning_core.granularity import GRANULARITIES, Granularity, supports
from pruning_core.model.inventory import inventory
from pruning_core.penalties import PENALTIES
from pruning_core.registry import Entry
from pruning_core.repairs import REPAIRS
from pruning_core.schedule import SCHEDULES
from pruning_core.search import SEARCHES
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.types import Layer
from pruning_core.zoo import ARCHITECTURES

AXES: dict[str, Mapping[str, Any]] = {
    "criterion": CRITERIA,
    "granularity": GRANULARITIES,
    "allocation": ALLOCATIONS,
    "schedule": SCHEDULES,
    "flow": FLOWS,
    "penalty": PENALTIES,
    "repair": REPAIRS,
}
OTHERS: dict[str, Mapping[str, Any]] = {
    "sensitivity rule": SENSITIVITY_RULES,
    "search": SEARCHES,
}
SHAPE = (1, 8, 8)
"""The images that the networks are built for."""
HEAD = """# Every choice

Made by `pruning list --markdown > docs/choices.md`; a test compares this file with that output.
"""
QUESTIONS = {
    "criterion": "Which weights matter?",
    "granularity": "What is removed together?",
    "allocation": "How much in each layer?",
    "schedule": "When?",
    "flow": "How are pruning and training combined?",
    "penalty": "What does training make small?",
    "repair": "What may the weights that stay do, without training?",
    "sensitivity rule": "Which ratios follow from sensitivity curves?",
    "search": "Which ratios does a machine find?",
}
COSTS = """
## What criteria and flows read, and what they cost

"""
PAIRS = """
## Criterion and granularity

Counted on the {layers} prunable layers of the zoo's {networks} small networks, built for 8 x 8
images. "all": the criterion ranks every layer that the granularity supports. "n of m": it refuses
some of them. "no": it refuses all. The reasons follow below.

"""
REFUSED = """
## Where a criterion refuses

Each reason, with the granularities that it holds for. The sentence names the first layer.

"""
SUPPORTED = """
## Granularity and kind of layer

How many layers of each kind a granularity supports. The reason for the first refused layer follows
below.

"""
REST = """
## Allocation and schedule

They use group scores and numbers of weights alone: every pair above that runs, runs with each of
the allocations {allocations} and in each of the schedules {schedules}.
N:M sets its own ratio: no allocation and no schedule changes it.
"""


def markdown() -> str:
    """All tables, as the text of docs/choices.md."""
    networks = {name: _layers(name) for name in ARCHITECTURES}
    layers = [layer for part in networks.values() for layer in part]
    allocations, schedules = (
        ", ".join(f"`{name}`" for name in axis) for axis in (ALLOCATIONS, SCHEDULES)
    )
    parts = [
        HEAD,
        *_axis_sections(),
        COSTS,
        _table(["criterion", "", "needs", "passes"], _costs(CRITERIA)),
        "\n",
        _table(["flow", "", "needs", "passes"], _costs(FLOWS)),
        PAIRS.format(layers=len(layers), networks=len(networks)),
        _table(["criterion", *(f"`{name}`" for name in GRANULARITIES)], _pairs(layers)),
        REFUSED,
        _table(["criterion", "granularity", "sentence"], _refusals(layers)),
        SUPPORTED,
        _table(["granularity", *_kinds(layers)], _supported(layers)),
        "\n",
        _table(["granularity", "kind", "sentence"], _unsupported(layers)),
        REST.format(allocations=allocations, schedules=schedules),
    ]
    return "".join(parts)


def _axis_sections() -> Iterator[str]:
    """A heading and a table for every axis."""
    for axis, entries in (AXES | OTHERS).items():
        yield f"\n## {axis.capitalize()}: {QUESTIONS[axis].lower()}\n\n"
        yield _table(["name", "label", "what it does", "formula", "source"], _entries(entries))


def _entries(entries: Mapping[str, Entry]) -> Iterator[list[str]]:
    for name, entry in entries.items():
        yield [f"`{name}`", entry.label, entry.help, entry.formula, entry.source]


def _layers(name: str) -> tuple[Layer, ...]:
    """The prunable layers of a network of the zoo."""
    with torch.random.fork_rng(devices=[]):
        return inventory(ARCHITECTURES[name].build(SHAPE, 10), SHAPE)


def _table(head: list[str], rows: Iterator[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )


def _costs(entries: Mapping[str, Criterion | Flow]) -> Iterator[list[str]]:
    for name, entry in entries.items():
        yield [f"`{name}`", entry.label, entry.needs, entry.passes]


def _pairs(layers: list[Layer]) -> Iterator[list[str]]:
    """A row per criterion: how many layers it can rank with each granularity."""
    for name, criterion in CRITERIA.items():
        cells = (_ranked(criterion, granularity, layers) for granularity in GRANULARITIES.values())
        yield [f"`{name}`", *cells]


def _ranked(criterion: Criterion, granularity: Granularity, layers: list[Layer]) -> str:
    supported = [layer for layer in layers if supports(granularity, layer) is None]
    n = sum(refusal(criterion, granularity, layer) is None for layer in supported)
    if n == len(supported):
        return "all"
    return f"{n} of {len(supported)}" if n else "no"


def _refusals(layers: list[Layer]) -> Iterator[list[str]]:
    """A row per criterion and reason: the granularities and the first sentence with this reason."""
    for name, criterion in CRITERIA.items():
        granularities: dict[str, list[str]] = {}
        sentences: dict[str, str] = {}
        for reason, key, sentence in _reasons(criterion, layers):
            sentences.setdefault(reason, sentence)
            if f"`{key}`" not in granularities.setdefault(reason, []):
                granularities[reason].append(f"`{key}`")
        for reason, sentence in sentences.items():
            yield [f"`{name}`", ", ".join(granularities[reason]), sentence]


def _reasons(criterion: Criterion, layers: list[Layer]) -> Iterator[tuple[str, str, str]]:
    """Reason, granularity and sentence of every refusal. A reason is a sentence without names."""
    for key, granularity in GRANULARITIES.items():
        for layer in layers:
            if supports(granularity, layer) is not None:
                continue
            if (sentence := refusal(criterion, granularity, layer)) is not None:
                reason = sentence.replace(layer.name, "").replace(granularity.label, "")
                yield reason, key, sentence


def _kinds(layers: list[Layer]) -> list[str]:
    return list(dict.fromkeys(layer.kind for layer in layers))


def _supported(layers: list[Layer]) -> Iterator[list[str]]:
    """A row per granularity: how many layers of each kind it supports."""
    for name, granularity in GRANULARITIES.items():
        row = [f"`{name}`"]
        for kind in _kinds(layers):
            reasons = [supports(granularity, layer) for layer in layers if layer.kind == kind]
            row.append(f"{reasons.count(None)} of {len(reasons)}")
        yield row


def _unsupported(layers: list[Layer]) -> Iterator[list[str]]:
    """A row per granularity and kind of layer: why the first unsupported layer is refused."""
    for name, granularity in GRANULARITIES.items():
        for kind in _kinds(layers):
            reasons = (supports(granularity, layer) for layer in layers if layer.kind == kind)
            if (first := next((reason for reason in reasons if reason), None)) is not None:
                yield [f"`{name}`", kind, first]
