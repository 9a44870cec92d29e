"""Numbers about the server in the text format of Prometheus; nothing about a visitor."""

import threading
from collections.abc import Callable, Mapping

from explorer.memory import resident_mb

PREFIX = "pruning_explorer_"
METRICS = {
    "sessions": ("gauge", "Open pages of all browsers."),
    "sessions_opened_total": ("counter", "Pages that were opened since the start."),
    "script_runs_total": ("counter", "Runs of a whole page; not of a part that is drawn alone."),
    "jobs": ("gauge", "Background runs by state: running or waiting."),
    "jobs_ended_total": ("counter", "Background runs that ended, by kind and status."),
    "job_seconds_total": ("counter", "Computing time of background runs that ended, by kind."),
    "resident_memory_bytes": ("gauge", "Memory of the server and its workers."),
}
"""Name without `PREFIX` -> type and help."""
Numbers = Mapping[str, float]
"""Name with its labels, as in the text: jobs{state="running"} -> number."""

sources: dict[str, Callable[[], Numbers]] = {}
"""Functions whose numbers are part of the text, each under the name of what it counts."""
_counted: dict[str, float] = dict.fromkeys(
    ("sessions", "sessions_opened_total", "script_runs_total"), 0
)
_lock = threading.Lock()


def add(metric: str, amount: float = 1, **labels: str) -> None:
    """Adds to a number. Any thread may call it. labels: chosen by the code, never by a visitor."""
    with _lock:
        name = named(metric, **labels)
        _counted[name] = _counted.get(name, 0) + amount


def named(metric: str, **labels: str) -> str:
    """jobs{state="running"}."""
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{metric}{{{inside}}}" if inside else metric


def markdown() -> str:
    """The table of the docs."""
    rows = [f"| `{PREFIX}{name}` | {kind} | {words} |" for name, (kind, words) in METRICS.items()]
    return "\n".join(["| metric | type | what |", "|---|---|---|", *rows])


def text() -> str:
    """All metrics."""
    with _lock:
        numbers = dict(_counted)
    for source in list(sources.values()):
        numbers |= source()
    if (used := resident_mb()) is not None:
        numbers["resident_memory_bytes"] = round(used * 1e6)
    lines = []
    for metric, (kind, help_text) in METRICS.items():
        own = [name for name in numbers if name.partition("{")[0] == metric]
        if own:
            lines += [f"# HELP {PREFIX}{metric} {help_text}", f"# TYPE {PREFIX}{metric} {kind}"]
            lines += [f"{PREFIX}{name} {numbers[name]:.15g}" for name in own]
    return "\n".join(lines) + "\n"
