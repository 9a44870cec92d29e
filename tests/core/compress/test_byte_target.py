"""A target in bytes: the sparsity found is the smallest that fits, by a sweep over all of them."""

from dataclasses import replace

import pytest

from pruning_core.compress.byte_target import Fitted, dense_bytes, fit_bytes
from pruning_core.compress.sparse_file import write_sparse
from pruning_core.compress.storage_sizes import computed_sizes
from pruning_core.export import masks_by_parameter
from pruning_core.granularity import granularity
from pruning_core.model.model_io import tensors_of
from pruning_core.pipeline import choose_masks, dependent_masks_of, pruned_copy
from pruning_core.plan import Plan
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace, open_workspace


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


def fitted(plan: Plan, space: Workspace, limit: int, format_name: str = "sparse") -> Fitted:
    *tried, last = fit_bytes(plan, space, limit, format_name)
    assert isinstance(last, Fitted)
    assert len(tried) == len(last.tried) <= 9
    return last


@pytest.mark.parametrize("g", ["fine", "filter"])
def test_the_sparsity_is_the_smallest_that_fits(g: str, space: Workspace) -> None:
    plan = Plan(model="lenet5", granularity=g, allocation="global", probe=40)
    limit = dense_bytes(space) // 3
    found = fitted(plan, space, limit, "bitmap")

    def size(step: int) -> int:
        masks = choose_masks(replace(plan, sparsity=step / 100), space)[1]
        sizes = computed_sizes(space.model, space.layers, masks, granularity(g))
        return next(size.bytes for size in sizes if size.format == "bitmap")

    border = round(100 * found.plan.sparsity)
    assert found.bytes == size(border) <= limit < size(border - 1)
    assert not found.measured
    assert found.change.n == 40


def test_the_file_that_is_measured_is_the_one_that_would_be_written(space: Workspace) -> None:
    plan = Plan(model="lenet5", probe=40)
    found = fitted(plan, space, dense_bytes(space) // 5)
    masks = choose_masks(found.plan, space)[1]
    named = masks_by_parameter(masks, space.layers, dependent_masks_of(found.plan, space, masks))
    content = write_sparse(tensors_of(pruned_copy(found.plan, space, masks)), named)
    assert found.bytes == len(content) <= found.limit
    assert found.measured
    assert {tried.within for tried in found.tried} == {True, False}


def test_a_large_limit_removes_nothing(space: Workspace) -> None:
    found = fitted(Plan(model="lenet5", probe=20), space, 10**9, "dense")
    assert found.plan.sparsity == 0
    assert found.bytes == found.dense_bytes
    assert found.change.value == 0


def test_impossible_targets_are_refused(space: Workspace) -> None:
    plan = Plan(model="lenet5")
    for case, limit, name, sentence in (
        (plan, 10, "bitmap", "At most 10 bytes are not possible"),
        (plan, 10**6, "zip", "no storage format 'zip'"),
        (plan, 10**6, "n_of_m", "N:M packed cannot store masks of Fine-grained"),
        (replace(plan, granularity="2:4"), 10**6, "bitmap", "sets the sparsity of every layer"),
    ):
        with pytest.raises(PruningError, match=sentence):
            list(fit_bytes(case, space, limit, name))
