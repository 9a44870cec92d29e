"""A table of networks in a page of docs/: a process for each network, and rows kept as JSON."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ONE = "--one"
"""The option of the process that measures one network."""


@dataclass(frozen=True)
class NetworkTable:
    """module: run for each network; store: the rows; page: it has comments with the name `marker`
    where the table starts and ends. names: of all networks; measured: a network's row; table: all
    rows as markdown.
    """

    module: str
    store: Path
    page: Path
    marker: str
    names: Callable[[], Iterable[str]]
    measured: Callable[[str], Row]
    table: Callable[[dict[str, Row]], str]

    def main(self, arguments: list[str]) -> None:
        """Measures the networks of the arguments, else all that have no row yet."""
        if arguments[:1] == [ONE]:
            print(json.dumps(self.measured(arguments[1])))
            return
        rows = json.loads(self.store.read_text()) if self.store.exists() else {}
        for name in arguments or [name for name in self.names() if name not in rows]:
            command = [sys.executable, "-m", self.module, ONE, name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(name, done.stderr.splitlines()[-1:], flush=True)
                continue
            rows[name] = json.loads(done.stdout.splitlines()[-1])
            print(name, rows[name], flush=True)
            self.write(rows)

    def write(self, rows: dict[str, Row]) -> None:
        """Stores the rows, and writes the table between the page's markers."""
        self.store.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
        start, end = (f"<!-- {self.marker}: {place} -->" for place in ("start", "end"))
        before, rest = self.page.read_text().split(start)
        self.page.write_text(f"{before}{start}\n{self.table(rows)}\n{end}{rest.split(end)[1]}")
