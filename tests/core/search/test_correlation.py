"""The correlation lab: coefficients with intervals, spread candidates, and short fine-tunes."""

from pathlib import Path

import numpy as np
import pytest

from pruning_core.search.candidates import Candidate, Judged
from pruning_core.search.correlation import LEAST, correlations, differences, spread, trials
from pruning_core.search.run import SearchSettings, search
from pruning_core.training.config import TrainConfig
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace
from tests.core.search.test_run import PLAN, space

__all__ = ["space"]


def candidate(number: int, score: float) -> Candidate:
    return Candidate(number, {"a": score}, Judged(score, score), 0.5, {}, "drawn", False)


def test_coefficients_of_a_table_worked_out_by_hand() -> None:
    before = [1.0, 2.0, 3.0, 4.0, 5.0]
    found = correlations(before, [1.0, 2.0, 3.0, 5.0, 4.0])
    # One of ten pairs is exchanged: tau = (9 - 1) / 10; rho = 1 - 6 * 2 / (5 * 24).
    assert found["kendall"].value == pytest.approx(0.8)
    assert found["spearman"].value == pytest.approx(0.9)
    assert found["pearson"].value == pytest.approx(0.9)
    for each in found.values():
        low, high = each.interval
        assert -1 <= low < each.value <= high <= 1
        assert each.n == 5
    first = [1.0, 1.0, 2.0, 3.0, 3.0, 4.0]
    second = [2.0, 1.0, 1.0, 4.0, 3.0, 3.0]
    tied = correlations(first, second)["kendall"].value
    from scipy.stats import kendalltau  # slow to import

    assert tied == pytest.approx(kendalltau(first, second)[0])
    assert correlations(before, before)["pearson"].interval == pytest.approx((1, 1))
    assert correlations(before, [0.1] * 5)["kendall"].interval == (-1, 1)
    draw = np.random.default_rng(1)
    after = draw.normal(size=20).tolist()
    near = [value + 0.3 * draw.normal() for value in after]
    far = [value + 4 * draw.normal() for value in after]
    apart = differences(near, far, after)["spearman"]
    both = [correlations(side, after)["spearman"] for side in (near, far)]
    assert apart.value == pytest.approx(both[0].value - both[1].value)
    # The same resamples serve both, so the difference is surer than the two alone.
    assert both[0].interval[0] < both[1].interval[1]
    assert apart.interval[0] > 0
    same = differences(near, near, after)["kendall"]
    assert (same.value, same.interval) == (0, (0, 0))
    assert differences(near, [0.1] * 20, after)["pearson"].value == pytest.approx(
        correlations(near, after)["pearson"].value
    )
    with pytest.raises(PruningError, match="at least 4 pairs"):
        correlations(before[:3], before[:3])


def test_spread_candidates_are_different_and_reach_both_ends() -> None:
    known = [candidate(n, score / 10) for n, score in enumerate((5, 1, 9, 3, 7, 5, 2, 8), 1)]
    chosen = spread(known, 4)
    assert [c.judged.score for c in chosen] == [0.1, 0.3, 0.7, 0.9]
    assert len(spread(known, 99)) == 7
    with pytest.raises(PruningError, match="at least 4 different candidates: 2 are known"):
        spread(known[:2], 20)


def test_trials_measure_before_and_after_training(space: Workspace, tmp_path: Path) -> None:
    settings = SearchSettings("random", evaluations=6)
    *candidates, _ = search(PLAN, space, settings, tmp_path)
    chosen = spread([c for c in candidates if isinstance(c, Candidate)], LEAST)
    config = TrainConfig(epochs=2, lr=0.05, batch_size=16)
    measured = list(trials(PLAN, space, settings, chosen, config))
    assert [trial.number for trial in measured] == [c.number for c in chosen]
    assert [trial.repaired for trial in measured] == [c.judged.value for c in chosen]
    assert max(trial.tuned for trial in measured) > 0.25
    assert {trial.masked for trial in measured} != {trial.repaired for trial in measured}
