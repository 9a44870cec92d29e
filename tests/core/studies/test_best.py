"""The method of a study that is better than the others by more than chance."""

import pytest

from pruning_core.studies import Measurement, Result, Run, best_method


def result(criterion: str, compression: float, seed: int, top1: float) -> Result:
    after = Measurement(100, top1, top1 - 0.1, top1 + 0.1, None)
    before = Measurement(100, 1 - top1, 0.0, 1.0, None)
    run = Run(criterion, "fine", compression, seed)
    return Result(run, after, before, after, 1, 10, 100, 50, 1000, 500, None, None, 2.0)


TABLE = {"wanda": (0.80, 0.82, 0.81), "taylor": (0.79, 0.83, 0.80), "random": (0.5, 0.51, 0.52)}
RESULTS = [
    result(criterion, compression, seed, top1 - compression / 100)
    for criterion, by_seed in TABLE.items()
    for seed, top1 in enumerate(by_seed)
    for compression in (2.0, 8.0)
]


def test_the_best_method_leads_by_the_interval_of_paired_seeds() -> None:
    best = best_method(RESULTS)
    assert best is not None
    assert (best.method, best.seeds, best.compressions) == (("wanda", "fine"), 3, (2.0, 8.0))
    close, far = best.leads
    assert (close.other, far.other) == (("taylor", "fine"), ("random", "fine"))
    # Gains over Taylor: 0.01, -0.01, 0.01; two comparisons share the 5%.
    from scipy.stats import t as student  # slow to import

    half = student.ppf(1 - 0.05 / 4, 2) * 0.0115470054 / 3**0.5
    assert close.gain == pytest.approx(0.01 / 3)
    assert close.interval == pytest.approx((0.01 / 3 - half, 0.01 / 3 + half))
    assert (close.certain, far.certain) == (False, True)
    before = best_method(RESULTS, "before")
    assert before is not None
    assert before.method == ("random", "fine")


def test_runs_that_not_all_methods_have_do_not_count() -> None:
    more = [*RESULTS, result("taylor", 64.0, 0, 0.99), result("wanda", 2.0, 9, 0.1)]
    assert best_method(more) == best_method(RESULTS)
    assert best_method([r for r in RESULTS if r.run.seed == 0]) is None, "one seed has no spread"
    assert best_method([r for r in RESULTS if r.run.criterion == "wanda"]) is None
    assert best_method([]) is None
