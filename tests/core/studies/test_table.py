"""Tables of a study: means and spreads over seeds, and one row per run."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest

from pruning_core import studies
from pruning_core.studies import (
    BASELINES,
    Result,
)
from tests.core.studies.small_study import SMALL


def test_the_summary_has_means_and_spreads_over_seeds(
    finished: tuple[Path, tuple[Result, ...]],
) -> None:
    rows = studies.summary(finished[1])
    assert [(row.criterion, row.asked) for row in rows] == [
        (name, c) for name in BASELINES for c in (2.0, 8.0)
    ]
    for row in rows:
        own = [
            result
            for result in finished[1]
            if (result.run.criterion, result.run.compression) == (row.criterion, row.asked)
        ]
        tops = [result.final.value for result in own]
        assert row.seeds == len(own) == 2
        assert (row.after, row.spread) == (fmean(tops), stdev(tops))
        assert row.compression == fmean(result.compression for result in own)
        assert row.storage == fmean(result.storage or 0 for result in own)
    assert studies.summary(finished[1][:1])[0].spread is None
    (old, *_) = studies.summary([replace(finished[1][0], stored_bytes=None)])
    assert old.storage is None
    assert studies.to_text([old]).splitlines()[1].split()[4] == "-"
    assert old.measured_speedup is None
    timed = [replace(finished[1][0], measured_speedup=factor) for factor in (1.0, 2.0)]
    assert studies.summary(timed)[0].measured_speedup == 1.5
    assert studies.to_csv(SMALL, timed).splitlines()[-1].endswith(",2.0000")
    assert studies.summary(()) == ()
    assert all(row.criterion in studies.to_text(rows) for row in rows)


def test_the_csv_has_one_row_per_run_with_all_columns(
    finished: tuple[Path, tuple[Result, ...]],
) -> None:
    rows = list(csv.DictReader(io.StringIO(studies.to_csv(SMALL, finished[1]))))
    assert tuple(rows[0]) == studies.COLUMNS
    assert len(rows) == 8
    for row, result in zip(rows, finished[1], strict=True):
        assert float(row["compression"]) == pytest.approx(
            int(row["parameters"]) / int(row["nonzeros"]), abs=1e-4
        )
        assert float(row["speedup"]) == pytest.approx(
            int(row["macs"]) / int(row["macs_effective"]), abs=1e-4
        )
        assert float(row["after_top1"]) == pytest.approx(result.final.value, abs=1e-6)
        assert float(row["initial_low"]) < float(row["initial_top1"]) < float(row["initial_high"])
        assert (row["criterion"], row["seed"], row["n"]) == (
            result.run.criterion,
            str(result.run.seed),
            "359",
        )
