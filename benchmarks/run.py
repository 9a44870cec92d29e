"""Runs every benchmark of this folder, prints one table, writes benchmarks/results.json with the
machine described.

Run: python -m benchmarks.run [--quick]. Medians of interleaved runs; processor time, since a shared
machine disturbs it less. What needs Chromium or images that are not on this machine is left out,
and the table says so. Studies of accuracy, which take an hour each, are in benchmarks/studies and
run by themselves.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks import (
    backends,
    global_select,
    live,
    mask_lab_drag,
    mask_lab_large,
    masked_step,
    preview,
    release,
    scan,
    slider,
)
from benchmarks.timing import Row, Unmeasured, write


class Script(NamedTuple):
    """What measures, and how many rounds it takes, at length and in a quick run."""

    rows: Callable[[int], Iterable[Row]]
    rounds: int
    quick: int


SCRIPTS: dict[str, Script] = {
    "slider": Script(slider.rows, 41, 41),
    "masked_step": Script(masked_step.rows, 15, 15),
    "live": Script(live.rows, 3, 1),
    "scan": Script(scan.rows, 3, 1),
    "preview": Script(preview.rows, 3, 1),
    "backends": Script(backends.rows, 3, 1),
    "global_select": Script(global_select.rows, 3, 1),
    "mask_lab_drag": Script(mask_lab_drag.rows, 3, 1),
    "mask_lab_large": Script(mask_lab_large.rows, 3, 1),
    "release": Script(release.rows, 10, 4),
}
"""Every other module of this folder but `timing`, by its name."""
RESULTS = Path(__file__).with_name("results.json")


def measured(
    scripts: Mapping[str, Script], *, quick: bool, path: Path
) -> tuple[list[Row], dict[str, str]]:
    """The rows, and for each benchmark that cannot be run here the sentence why; printed and
    written as they come.
    """
    found: list[Row] = []
    left_out: dict[str, str] = {}
    for name, script in scripts.items():
        try:
            for row in script.rows(script.quick if quick else script.rounds):
                print(row, flush=True)
                found.append(row)
        except Unmeasured as why:
            left_out[name] = str(why)
            print(f"{name:48} | left out: {why}", flush=True)
        write(found, path, left_out)
    return found, left_out


def main() -> None:
    """Prints each row as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of the long ones")
    quick = parser.parse_args().quick
    print(f"{'what':48} | {'ours':>9} | {'peer':>9} | peer / ours | peak memory, ours | peer")
    measured(SCRIPTS, quick=quick, path=RESULTS)


if __name__ == "__main__":
    main()
