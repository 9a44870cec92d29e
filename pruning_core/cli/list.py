"""`pruning list`: every choice of every axis, and the networks and data sets."""

import argparse
from collections.abc import Iterator, Mapping

from pruning_core.cli.choices import AXES, markdown
from pruning_core.cli.command import Command
from pruning_core.cli.options import add_json, add_subject
from pruning_core.cli.output import print_json
from pruning_core.criteria import Criterion
from pruning_core.flows import Flow
from pruning_core.registry import Entry
from pruning_core.search import SEARCHES
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.workspaces import known_datasets, known_models
from pruning_core.zoo.uploads import uploads

INDENT = " " * 31


def add_options(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    add_json(parser)
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="print docs/choices.md: every choice, and which choices work together",
    )


def run(options: argparse.Namespace) -> int:
    if options.markdown:
        print(markdown(), end="")
        return 0
    rows = [*_choices(), *_catalogue()]
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        print("\n".join(_lines(row)))
    return 0


def _choices() -> Iterator[dict[str, str]]:
    """A row per choice of the axes and per way to find ratios: rules from curves, searches."""
    for axis, entries in AXES.items():
        for name, entry in entries.items():
            yield _row(axis, name, entry) | _costs(entry)
    for name, rule in SENSITIVITY_RULES.items():
        yield _row("ratios", name, rule)
    for name, method in SEARCHES.items():
        yield _row("search", name, method)


def _row(axis: str, name: str, entry: Entry) -> dict[str, str]:
    return {
        "axis": axis,
        "name": name,
        "label": entry.label,
        "help": entry.help,
        "formula": entry.formula,
        "source": entry.source,
    }


def _costs(entry: object) -> dict[str, str]:
    """What a criterion or a flow needs; empty for other axes."""
    if isinstance(entry, Criterion | Flow):
        return {"needs": entry.needs, "passes": entry.passes}
    return {}


def _catalogue() -> Iterator[dict[str, str]]:
    """A row per network and per data set."""
    uploaded = [stored.name for stored in uploads()]
    for name, model in known_models(*uploaded).items():
        yield {"axis": "model", "name": name, "label": model.label, "help": model.help}
    for name, source in known_datasets(*uploaded).items():
        yield {"axis": "dataset", "name": name, "label": source.label, "help": source.help}


def _lines(row: Mapping[str, str]) -> Iterator[str]:
    yield f"{row['axis']:12} {row['name']:18} {row['help']}"
    if "formula" in row:
        yield f"{INDENT} {row['formula']}  [{row['source']}]"
    if "passes" in row:
        yield f"{INDENT} needs: {row['needs']}; passes: {row['passes']}"


COMMAND = Command(
    "list",
    "print every choice of every axis, with formula and source",
    "pruning list --json",
    add_options,
    run,
)
