"""Runs every benchmark, prints one table, and writes benchmarks/results.json with the machine.

Run: python -m benchmarks.run [--quick]. The figures are medians of interleaved runs, by processor
time, which other programs disturb less. Benchmarks that need Chromium or images that are missing
are left out, and the table says why. Studies of accuracy take an hour each; they are in
benchmarks/studies and are run one by one.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks import (
    backends,
    global_select,
    incremental,
    latency,
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
    """The function that measures. rounds, quick: number of rounds in a full and in a quick run."""

    rows: Callable[[int], Iterable[Row]]
    rounds: int
    quick: int


SCRIPTS: dict[str, Script] = {
    "slider": Script(slider.rows, 41, 41),
    "masked_step": Script(masked_step.rows, 15, 15),
    "incremental": Script(incremental.rows, 3, 1),
    "scan": Script(scan.rows, 3, 1),
    "preview": Script(preview.rows, 3, 1),
    "latency": Script(latency.rows, 15, 7),
    "backends": Script(backends.rows, 3, 1),
    "global_select": Script(global_select.rows, 3, 1),
    "mask_lab_drag": Script(mask_lab_drag.rows, 3, 1),
    "mask_lab_large": Script(mask_lab_large.rows, 3, 1),
    "release": Script(release.rows, 10, 4),
}
"""Every benchmark of this folder, by the name of its module."""
RESULTS = Path(__file__).with_name("results.json")


def measured(
    scripts: Mapping[str, Script], *, quick: bool, path: Path
) -> tuple[list[Row], dict[str, str]]:
    """The rows, and why each missing benchmark was left out; printed and written after each."""
    made: list[Row] = []
    left_out: dict[str, str] = {}
    for name, script in scripts.items():
        try:
            for row in script.rows(script.quick if quick else script.rounds):
                print(row, flush=True)
                made.append(row)
        except Unmeasured as why:
            left_out[name] = str(why)
            print(f"{name:48} | left out: {why}", flush=True)
        write(made, path, left_out)
    return made, left_out


def main() -> None:
    """Prints each row as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds of the long benchmarks")
    quick = parser.parse_args().quick
    print(f"{'what':48} | {'ours':>9} | {'peer':>9} | peer / ours | peak memory, ours | peer")
    measured(SCRIPTS, quick=quick, path=RESULTS)


if __name__ == "__main__":
    main()
