"""The whole flow on LeNet-5 and digits: rounds only shrink the masks, removed weights stay zero,
four states are measured.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import cross_entropy

from pruning_core.criteria import criterion
from pruning_core.evaluation.accuracy import evaluate
from pruning_core.granularity import granularity
from pruning_core.hand_edits import HandEdits
from pruning_core.masks import achieved
from pruning_core.model.inventory import weights
from pruning_core.pipeline import (
    choose_masks,
    final_test_split,
    group_scores_of,
    measure_states,
    probe_split,
    prune,
)
from pruning_core.plan import Plan
from pruning_core.resolved_plan import prunable
from pruning_core.schedule import fractions, schedule
from pruning_core.training.config import TrainConfig
from pruning_core.types import Epoch, Finished, Pruned, Step, Tuned
from pruning_core.workspaces import Workspace, open_workspace
from tests.core.events import last_of, of_kind, stop
from tests.core.quarters import quarters
from tests.core.toy import answers, gradient, pictures, refusal, same_state, state

CPU = torch.device("cpu")
PLAN = Plan(
    model="lenet5",
    dataset="digits",
    sparsity=0.8,
    allocation="global",
    fine_tune=TrainConfig(epochs=1, lr=0.02),
)


@cache
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


@pytest.fixture(autouse=True)
def _untouched() -> Iterator[None]:
    before = state(space().model)
    yield
    assert same_state(space().model, before)


@cache
def events(spec: str, shape: str = "fine", how: str = "magnitude_l1") -> tuple[object, ...]:
    return tuple(
        prune(replace(PLAN, schedule=spec, granularity=shape, criterion=how), space(), CPU)
    )


CASES = [
    ("one_shot", "fine", "magnitude_l1"),
    ("iterative:3", "fine", "random"),
    ("iterative:2", "channel", "taylor"),
    ("agp:3", "filter", "magnitude_l2"),
    ("agp:2", "2:4", "gradient"),
]


@pytest.mark.parametrize("case", CASES)
def test_every_round_is_a_cut_and_a_training_and_the_end_is_last(
    case: tuple[str, str, str],
) -> None:
    found = events(*case)
    steps = fractions(schedule(case[0]))
    kinds = [type(event) for event in found if not isinstance(event, Step | Epoch)]
    assert kinds == [Pruned, Tuned] * len(steps) + [Finished]
    cuts = of_kind(Pruned, found)
    assert [(c.round, c.rounds, c.fraction) for c in cuts] == [
        (k + 1, len(steps), share) for k, share in enumerate(steps)
    ]


@pytest.mark.parametrize("case", CASES)
def test_masks_only_shrink_and_reach_the_target(case: tuple[str, str, str]) -> None:
    cuts = of_kind(Pruned, events(*case))
    (last,) = of_kind(Finished, events(*case))
    for earlier, later in pairwise(cuts):
        assert all(not (later.masks[name] & ~mask).any() for name, mask in earlier.masks.items())
    assert all(torch.equal(last.masks[name], mask) for name, mask in cuts[-1].masks.items())
    taken = [x for x in space().layers if x.name in last.masks]
    removed = sum(int((~mask).sum()) for mask in last.masks.values()) / sum(x.numel for x in taken)
    assert removed == pytest.approx(granularity(case[1]).fixed_ratio or 0.8, abs=0.02)


@pytest.mark.parametrize("case", CASES)
def test_removed_weights_are_exactly_zero_after_every_training(case: tuple[str, str, str]) -> None:
    found = events(*case)
    for cut_, tuned in zip(of_kind(Pruned, found), of_kind(Tuned, found), strict=True):
        for model in (cut_.model, tuned.model):
            now = weights(model, space().layers)
            assert all((now[name][~mask] == 0).all() for name, mask in cut_.masks.items())
            assert all((now[name][mask] != 0).any() for name, mask in cut_.masks.items())


def test_the_four_states_are_measured_on_all_test_images() -> None:
    last = of_kind(Finished, events("one_shot"))[0]
    data = space().dataset
    assert last.dense.value == evaluate(space().model, data.test, device=CPU).value > 0.9
    assert last.recalibrated is None
    assert last.tuned is not None
    assert last.tuned.value == evaluate(last.model, data.test, device=CPU).value
    assert {e.n for e in (last.dense, last.pruned, last.tuned)} == {len(data.test)}
    by_hand = deepcopy(space().model)
    for x in space().layers:
        by_hand.get_parameter(x.name).data *= last.masks[x.name].reshape(x.param_shape)
    assert last.pruned.value == evaluate(by_hand, data.test, device=CPU).value
    assert last.report.sparsity_masked == pytest.approx(0.8, abs=1e-3)
    assert last.tuned.value > last.pruned.value - 0.02


def test_without_epochs_the_weights_stay_and_nothing_is_tuned() -> None:
    found = tuple(
        prune(replace(PLAN, fine_tune=TrainConfig(epochs=0), schedule="iterative:2"), space(), CPU)
    )
    assert [type(event) for event in found] == [Pruned, Pruned, Finished]
    last = last_of(Finished, found)
    assert last.tuned is None
    now = weights(last.model, space().layers)
    base = weights(space().model, space().layers)
    assert all(torch.equal(now[name], base[name] * mask) for name, mask in last.masks.items())


def test_one_shot_without_training_is_cut() -> None:
    plan = replace(PLAN, fine_tune=TrainConfig(epochs=0))
    ratios, masks = choose_masks(plan, space())
    first = next(iter(prune(plan, space(), CPU)))
    assert isinstance(first, Pruned)
    assert first.ratios == ratios
    assert all(torch.equal(first.masks[name], mask) for name, mask in masks.items())


def test_the_same_plan_gives_the_same_result_and_another_seed_another() -> None:
    plan = replace(PLAN, criterion="random", schedule="iterative:2")
    first, second = (of_kind(Finished, tuple(prune(plan, space(), CPU)))[0] for _ in range(2))
    assert same_state(first.model, state(second.model))
    _, other = choose_masks(replace(plan, seed=1), space())
    _, same = choose_masks(plan, space())
    assert any(not torch.equal(other[name], mask) for name, mask in same.items())


def test_ratios_set_by_hand_take_the_place_of_the_allocations() -> None:
    plan = replace(
        PLAN,
        allocation="uniform",
        sparsity=0.5,
        overrides=(("fc3.weight", 0.0), ("fc1.weight", 0.9)),
    )
    ratios, masks = choose_masks(plan, space())
    assert ratios == {
        "conv1.weight": 0.5,
        "conv2.weight": 0.5,
        "fc1.weight": 0.9,
        "fc2.weight": 0.5,
        "fc3.weight": 0.0,
    }
    assert achieved(masks) == pytest.approx(ratios, abs=0.004)
    resolved = plan.resolve(space())
    assert resolved.ratios(resolved.scores(), 0.5)["fc1.weight"] == pytest.approx(0.45)


def test_manual_cuts_only_what_is_set_by_hand() -> None:
    _, masks = choose_masks(
        replace(PLAN, allocation="manual", overrides=(("fc2.weight", 0.25),)), space()
    )
    assert {name: share for name, share in achieved(masks).items() if share} == {"fc2.weight": 0.25}


def test_n_of_m_takes_no_notice_of_the_sparsity_and_leaves_out_what_it_cannot_cut() -> None:
    ratios, masks = choose_masks(replace(PLAN, granularity="2:4", sparsity=0.1), space())
    assert set(ratios.values()) == {0.5}
    assert masks.keys() == {"fc1.weight", "fc2.weight", "fc3.weight"}


def test_n_of_m_by_hand_is_dense_or_its_own_share() -> None:
    able = [
        x.name for x in prunable(space().layers, granularity("2:4"), criterion(PLAN.criterion))[0]
    ]
    ratios, masks = choose_masks(
        replace(PLAN, granularity="2:4", overrides=((able[0], 0.0), (able[1], 0.3))), space()
    )
    assert (ratios[able[0]], ratios[able[1]]) == (0.0, 0.5)
    assert achieved(masks) == pytest.approx(ratios)


def test_a_layer_may_collapse_only_when_allowed() -> None:
    plan = replace(PLAN, allocation="uniform", sparsity=1.0)
    assert all(mask.sum() == 1 for mask in choose_masks(plan, space())[1].values())
    assert all(
        mask.sum() == 0
        for mask in choose_masks(replace(plan, allow_collapse=True), space())[1].values()
    )


@pytest.mark.parametrize("name", ["nowhere", "fc1.bias", ""])
def test_a_ratio_of_no_layer_is_refused_in_a_sentence(name: str) -> None:
    assert f"'{name}'" in refusal(
        lambda: list(prune(replace(PLAN, overrides=((name, 0.5),)), space(), CPU))
    )


def test_a_ratio_of_a_layer_that_cannot_be_cut_so_is_refused_in_a_sentence() -> None:
    assert "'fc3.weight'" in refusal(
        lambda: choose_masks(
            replace(PLAN, granularity="filter", overrides=(("fc3.weight", 0.5),)), space()
        )
    )


def test_a_plan_that_can_cut_nothing_says_why() -> None:
    assert "no heads" in refusal(lambda: choose_masks(replace(PLAN, granularity="head"), space()))
    assert "batch norm" in refusal(
        lambda: choose_masks(replace(PLAN, criterion="bn_scale"), space())
    )


def test_prunable_gives_every_other_layer_its_reason() -> None:
    layers, reasons = prunable(space().layers, granularity("kernel"), criterion("magnitude_l1"))
    assert [x.name for x in layers] == ["conv1.weight", "conv2.weight"]
    assert reasons.keys() == {"fc1.weight", "fc2.weight", "fc3.weight"}
    assert all(name in why for name, why in reasons.items())


def test_a_training_that_is_closed_stops_at_once() -> None:
    run = prune(PLAN, space(), CPU)
    assert isinstance(next(run), Pruned)
    assert isinstance(next(run), Step)
    stop(run)
    assert next(run, None) is None


def test_splits_are_fixed_and_small_images_are_examined_in_full() -> None:
    plan = replace(PLAN, probe=50)
    data = space().dataset
    assert len(probe_split(plan, space())) == 50
    assert torch.equal(probe_split(plan, space()).labels, probe_split(plan, space()).labels)
    assert final_test_split(plan, space()) is data.test
    large = replace(space(), dataset=replace(data, shape=(3, 224, 224)))
    assert len(final_test_split(plan, large)) == 50


def test_batch_norm_is_recalibrated_on_a_copy() -> None:
    here = quarters()
    before = state(here.model)
    last = measure_states(replace(PLAN, fine_tune=TrainConfig(epochs=0)), here, {}, here.model, CPU)
    assert last.recalibrated is not None
    assert last.recalibrated.loss != last.pruned.loss == last.dense.loss
    assert same_state(here.model, before)


def test_gradients_are_of_the_loss_that_is_evaluated() -> None:
    """Over the logits that stand for the classes; the others take no part, so that their rows have
    no slope.
    """
    here = quarters((7, 1, 0, 5))
    data = here.dataset.train
    (images,) = (pictures(batch) for batch in data.batches(len(data)))
    before = state(here.model)
    plan = replace(
        PLAN, criterion="gradient", sparsity=0.5, allocation="uniform", calibration=len(data)
    )
    layers, groups = group_scores_of(plan, here)
    model = deepcopy(here.model)
    loss = cross_entropy(model(images)[:, [7, 1, 0, 5]], data.labels)
    assert loss.item() == pytest.approx(
        evaluate(here.model, data, outputs=here.dataset.outputs, device=CPU).loss, abs=1e-5
    )
    loss.backward()
    for x in layers:
        torch.testing.assert_close(groups[x.name], gradient(model, x.name).abs().flatten()[None])
    assert same_state(here.model, before)
    assert not here.model._forward_hooks
    (last,) = of_kind(Finished, tuple(prune(plan, here, CPU)))
    assert last.tuned is not None
    assert answers(last.tuned).confusion.shape == (4, 4)


def test_edits_by_hand_are_on_top_of_the_ratio_and_only_at_their_granularity() -> None:
    plan = replace(PLAN, granularity="kernel", allocation="uniform", sparsity=0.5)
    before = choose_masks(plan, space())[1]["conv2.weight"].any((2, 3)).flatten()
    removed = int((~before).nonzero()[0])
    stays = int(before.nonzero()[0])
    edits = (
        HandEdits("conv2.weight", "kernel", ((0, removed, True), (0, stays, False))),
        HandEdits("conv2.weight", "fine", ((0, 0, True),)),
    )
    ratios, masks = choose_masks(replace(plan, edits=edits), space())
    after = masks["conv2.weight"].any((2, 3)).flatten()
    assert ratios["conv2.weight"] == 0.5
    assert (before != after).nonzero().flatten().tolist() == sorted((removed, stays))
    assert torch.equal(
        choose_masks(replace(plan, edits=edits[1:]), space())[1]["conv2.weight"]
        .any((2, 3))
        .flatten(),
        before,
    )


def test_edits_by_hand_hold_through_all_rounds() -> None:
    edits = (HandEdits("conv2.weight", "filter", ((0, 0, True), (0, 1, False), (0, 2, False))),)
    plan = replace(
        PLAN,
        granularity="filter",
        sparsity=0.5,
        schedule="iterative:2",
        allocation="uniform",
        edits=edits,
    )
    plan = replace(plan, fine_tune=replace(plan.fine_tune, epochs=0))
    finished = last_of(Finished, prune(plan, space(), CPU))
    kept = finished.masks["conv2.weight"].flatten(1).any(1)
    assert kept[:3].tolist() == [True, False, False]
    assert kept.sum() in (8, 9)


@pytest.mark.parametrize(
    ("layer", "group", "part"),
    [
        ("nowhere", 0, "'nowhere'"),
        ("fc1.weight", 0, "'fc1.weight'"),
        ("conv2.weight", 96, "Group 96"),
    ],
)
def test_edits_that_cannot_be_made_are_refused_in_a_sentence(
    layer: str, group: int, part: str
) -> None:
    plan = replace(
        PLAN, granularity="kernel", edits=(HandEdits(layer, "kernel", ((0, group, True),)),)
    )
    assert part in refusal(lambda: choose_masks(plan, space()))
