"""Worked values of the schedules, and the texts that `schedule` reads."""

from dataclasses import replace
from itertools import pairwise

import pytest

from pruning_core.schedule import MIN_DENSITY, SCHEDULES, agp, fractions, schedule
from tests.core.toy import refusal


def test_one_shot_removes_the_whole_target_at_once() -> None:
    assert fractions(schedule("one_shot")) == (1.0,)


def test_iterative_has_equal_steps() -> None:
    assert fractions(schedule("iterative:4")) == (0.25, 0.5, 0.75, 1.0)
    assert fractions(schedule("iterative:1")) == (1.0,)


def test_agp_worked_values() -> None:
    """1 - (1 - p)^3 at quarters: 1 - 27/64, 1 - 8/64, 1 - 1/64, 1."""
    assert fractions(schedule("agp:4")) == (37 / 64, 56 / 64, 63 / 64, 1.0)
    assert agp(0.0) == 0.0


@pytest.mark.parametrize("final", [0.5, 0.8, 0.9])
def test_agp_is_the_formula_of_its_paper(final: float) -> None:
    """s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))^3 with s_i = 0, t0 = 100, n = 5, dt = 20."""
    papers = [final + (0.0 - final) * (1 - (t - 100) / (5 * 20)) ** 3 for t in range(120, 201, 20)]
    assert [final * share for share in fractions(schedule("agp:5"))] == pytest.approx(
        papers, abs=1e-12
    )


def test_linear_is_a_line() -> None:
    assert fractions(schedule("linear:5")) == (0.2, 0.4, 0.6, 0.8, 1.0)
    assert SCHEDULES["linear"].rounds > SCHEDULES["iterative"].rounds


@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.99])
def test_exponential_removes_the_same_fraction_of_the_rest_in_every_round(sparsity: float) -> None:
    kept = [
        1.0,
        *(1 - sparsity * share for share in fractions(schedule("exponential:4", sparsity))),
    ]
    assert [after / before for before, after in pairwise(kept)] == pytest.approx(
        [(1 - sparsity) ** 0.25] * 4
    )


def test_exponential_at_targets_of_0_and_1() -> None:
    assert fractions(schedule("exponential:2", 0.0)) == (0.5, 1.0)
    assert fractions(schedule("exponential:2", 1.0))[1] == 1.0
    assert schedule("exponential:3", 0.75) == replace(
        SCHEDULES["exponential"], rounds=3, density=0.25
    )
    assert schedule("exponential", 1.0) == replace(SCHEDULES["exponential"], density=MIN_DENSITY)
    assert schedule("agp:3", 0.75) == replace(SCHEDULES["agp"], rounds=3)


@pytest.mark.parametrize("spec", [*SCHEDULES, "iterative:7", "agp:1", "agp:50", "exponential:50"])
def test_fractions_rise_to_one(spec: str) -> None:
    shares = fractions(schedule(spec))
    assert list(shares) == sorted(set(shares))
    assert all(0 < share <= 1 for share in shares)
    assert shares[-1] == 1.0


def test_rounds_are_read_from_the_name() -> None:
    assert schedule("iterative:5").rounds == 5
    assert schedule("iterative:5").label == "Iterative"
    assert schedule("agp:12") == replace(SCHEDULES["agp"], rounds=12)
    assert schedule("agp") == SCHEDULES["agp"]
    assert schedule("agp").rounds == 4
    assert len(fractions(schedule("iterative:5"))) == 5


@pytest.mark.parametrize(
    "spec",
    [
        "agp:0",
        "agp:51",
        "agp:-1",
        "agp:1.5",
        "agp:x",
        "agp:4:4",
        "one_shot:2",
        "cubic",
        "",
        "agp:999999999999",
    ],
)
def test_other_texts_are_refused_in_a_sentence(spec: str) -> None:
    refusal(lambda: schedule(spec))
