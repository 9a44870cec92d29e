"""The layer that the user chose in a component. Its script has choice.js for it."""

from collections.abc import Mapping, Sequence


def chosen_name(report: object, names: Sequence[str]) -> str | None:
    """The layer that a report names, if it is one of the names.

    A report may be forged or outdated.
    """
    name = report.get("selected") if isinstance(report, Mapping) else None
    return name if isinstance(name, str) and name in names else None
