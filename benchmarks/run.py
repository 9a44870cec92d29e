"""Runs every benchmark that finishes in minutes, prints one table, writes benchmarks/results.json with the machine described.

Run: python -m benchmarks.run [--quick]. Medians of interleaved runs; processor time, since a shared machine disturbs it less.
"""

import argparse
from pathlib import Path

from benchmarks import doors, global_select, live, mask_lab_large, masked_step, preview, scan, slider
from benchmarks.timing import write

SCRIPTS = {
    "slider": (slider.rows, 41),
    "masked step": (masked_step.rows, 15),
    "live": (live.rows, 3),
    "scan": (scan.rows, 3),
    "preview": (preview.rows, 3),
    "doors": (doors.rows, 3),
    "select": (global_select.rows, 3),
    "mask lab": (mask_lab_large.rows, 3),
}
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Prints each row as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of the long ones")
    quick = parser.parse_args().quick
    print(f"{'what':48} | {'ours':>9} | {'peer':>9} | peer / ours | peak memory, ours | peer")
    found = []
    for rows, rounds in SCRIPTS.values():
        for row in rows(min(rounds, 1) if quick and rounds < 5 else rounds):
            print(row, flush=True)
            found.append(row)
            write(found, RESULTS)


if __name__ == "__main__":
    main()
