"""The numbers of the lessons: computed by the core, and stored runs that are made again here."""

import numpy as np
import pytest
import torch

from explorer.pages.learn import granularity, one_step, search, seven, storage, subnets, why
from explorer.pages.learn.lesson import network
from explorer.pages.learn.stored import stored
from explorer.pages.learn.two_layers import NAMES, two_layers

ONE_IMAGE = 1.5 / 359
"""Results of different processors may differ in the answer to an image."""


def test_every_pattern_meets_the_budget_of_zeros() -> None:
    for budget in granularity.BUDGETS:
        cuts = granularity.cuts(budget)
        assert all((~cut.kept).mean() == budget for cut in cuts.values())
        magnitudes = {name: cut.magnitude for name, cut in cuts.items()}
        assert max(magnitudes, key=magnitudes.__getitem__) == "fine"
        assert cuts["filter"].outputs == round(8 * (1 - budget))
        assert cuts["channel"].inputs == round(4 * (1 - budget))
        assert cuts["fine"].index_bits > cuts["kernel"].index_bits > cuts["channel"].index_bits


def test_the_mask_stops_the_weight_and_the_gradient() -> None:
    every = one_step.steps()
    tune = every["tune"]
    assert (~tune.mask).sum() == 4
    assert not tune.after[~tune.mask].any()
    assert tune.gradient[~tune.mask].all(), "there is a gradient to stop"
    assert np.allclose(tune.after, tune.used - one_step.RATE * tune.gradient * tune.mask)
    assert np.array_equal(every["again"].weight, tune.after)
    assert not (every["again"].mask & ~tune.mask).any()


def test_every_format_gives_the_matrix_back() -> None:
    made = storage.stored(storage.small_matrix())
    assert np.array_equal(storage.read_back(made.relative), made.matrix)
    rows = zip(made.starts, made.starts[1:], strict=False)
    back = np.zeros_like(made.matrix)
    values = made.matrix[made.matrix != 0]
    for row, (start, end) in enumerate(rows):
        back[row, list(made.columns[start:end])] = values[start:end]
    assert np.array_equal(back, made.matrix)
    entry_bits = storage.VALUE_BITS + storage.GAP_BITS
    assert made.bits["relative"] == len(made.relative) * entry_bits
    assert made.bits["csr"] == 32 * (2 * len(made.columns) + len(made.starts))
    assert max(gap for gap, _ in made.relative) < 2**storage.GAP_BITS


def test_the_noise_factor_separates_two_weights_with_equal_sums() -> None:
    measured = seven.noise()
    shown = seven.pair(measured)
    assert abs(measured.plain[shown["steady"]] - measured.plain[shown["noisy"]]) < 0.05
    assert measured.factor[shown["steady"]] > 3 * measured.factor[shown["noisy"]]
    assert measured.seven[shown["steady"]] > measured.seven[shown["noisy"]]


def test_the_search_meets_its_budget() -> None:
    space = two_layers(network())
    for ratios in ((0.1, 0.2), (0.9, 0.3)):
        fitted = space.fitted(dict(zip(NAMES, ratios, strict=True)))
        assert space.cost(fitted) == pytest.approx(space.keep, abs=1e-6)


def test_stored_runs_are_what_the_code_gives() -> None:
    torch.manual_seed(0)
    space = network()
    points = [why.Point(**point) for point in stored(why.RUN)["points"]]
    old = next(point for point in points if point.sparsity == 0.9)
    new = why.measure(space, old.sparsity)
    assert (new.dense, new.pruned) == pytest.approx((old.dense, old.pruned), abs=ONE_IMAGE)
    assert new.tuned == pytest.approx(old.tuned, abs=0.02)
    run = stored(search.RUN)
    for row, column in ((3, 17), (16, 8)):
        height = search.height(space, search.GRID[column], search.GRID[row])
        assert height == pytest.approx(run["landscape"][row][column], abs=ONE_IMAGE)
    first, second = search.path(space, 2)
    assert first["ratios"] == pytest.approx(run["path"][0]["ratios"])
    assert second["accuracy"] == pytest.approx(run["path"][1]["accuracy"], abs=ONE_IMAGE)
    (net,) = subnets.sample(space, 1)
    told = subnets.SubNet(**stored(subnets.RUN)["subnets"][0])
    assert net.ratios == pytest.approx(told.ratios)
    assert (net.before, net.after) == pytest.approx((told.before, told.after), abs=2 * ONE_IMAGE)


def test_the_stored_texts_are_true_of_the_stored_runs() -> None:
    """The right answers of questions about stored runs."""
    points = [why.Point(**point) for point in stored(why.RUN)["points"]]
    good = [point.sparsity for point in points if point.tuned > point.dense - 0.02]
    assert max(good) == 0.9
    run = stored(search.RUN)
    best = [candidate for candidate in run["path"] if candidate["best"]][-1]
    assert best["accuracy"] > run["uniform"]
    assert best["ratios"][0] < best["ratios"][1]
