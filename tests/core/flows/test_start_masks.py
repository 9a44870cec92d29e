"""A network that is sparse already: its zeros stay zero and count, in every criterion and flow."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pruning_core.allocation import ALLOCATIONS
from pruning_core.cli.main import main
from pruning_core.criteria import CRITERIA
from pruning_core.export import masks_by_parameter, masks_npz, masks_pt, masks_safetensors
from pruning_core.export.report import report_dict
from pruning_core.granularity import granularity
from pruning_core.masks import apply_masks, kept_groups
from pruning_core.model.inventory import inventory, oihw
from pruning_core.model.mask_files import read_masks
from pruning_core.pipeline import choose_masks, group_scores_of, prune, start_note
from pruning_core.plan import Plan
from pruning_core.start_masks import start_sparsity
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished, Masks, Pruned, PruningError, Tuned
from pruning_core.workspaces import Workspace, open_workspace
from tests.cases import check_each
from tests.core.flows.test_flows import TEXTS
from tests.core.quarters import quarters
from tests.core.small_networks import built
from tests.core.toy import is_sentence
from tests.core.zoo.uploads.files import bomb, lying_header, pt

CPU = torch.device("cpu")
TRAINING = TrainConfig(epochs=1, batch_size=10, lr=0.05, weight_decay=1e-2)


def drawn_masks(space: Workspace) -> Masks:
    """Half of the weights, and one whole filter of the first layer."""
    rng = torch.Generator().manual_seed(1)
    masks = {x.name: torch.rand(x.shape, generator=rng) < 0.5 for x in space.layers}
    masks[space.layers[0].name][2] = False
    return masks


def sparse() -> tuple[Workspace, Masks]:
    dense = quarters()
    masks = drawn_masks(dense)
    model = apply_masks(dense.model, masks, dense.layers)
    return Workspace(model, dense.dataset, dense.layers, ()), masks


def check_zeros(plan: Plan) -> None:
    space, start = sparse()
    *events, done = prune(replace(plan, start="zeros"), space, CPU)
    assert isinstance(done, Finished)
    for event in events:
        masks = event.masks if isinstance(event, Pruned) else {}
        assert all(name in masks for name in start) or not masks, "a layer has no mask"
        assert not any((mask & ~start[name]).any() for name, mask in masks.items())
        if isinstance(event, Pruned | Tuned):
            for layer in space.layers:
                weight = oihw(event.model.get_parameter(layer.name).detach(), layer)
                assert not weight[~start[layer.name]].any(), f"{layer.name} was revived"
    at_start = start_sparsity(start, space.layers)
    assert done.report.sparsity_start == pytest.approx(at_start)
    assert done.report.sparsity_masked >= at_start - 1e-9


def test_no_flow_revives_a_zero() -> None:
    plans = [Plan(flow=text, sparsity=0.7, fine_tune=TRAINING) for text in TEXTS]
    filters = [
        Plan(flow=text, granularity="filter", allocation="global", fine_tune=TRAINING)
        for text in TEXTS[:9]
    ]
    check_each([*plans, *filters], check_zeros)


def test_zeros_count_in_the_target_for_every_criterion_and_allocation() -> None:
    space, start = sparse()
    at_start = start_sparsity(start, space.layers)

    def meets(name: str, allocation: str) -> None:
        plan = Plan(criterion=name, allocation=allocation, start="zeros")
        for target in (0.3, 0.7):
            ratios, masks = choose_masks(replace(plan, sparsity=target), space)
            reached = start_sparsity(masks, space.layers)
            assert reached == pytest.approx(max(target, at_start), abs=0.02), target
            total = sum(ratios[x.name] * x.numel for x in space.layers)
            assert total / sum(x.numel for x in space.layers) == pytest.approx(reached, abs=0.002)

    criteria = [name for name, criterion in CRITERIA.items() if not criterion.per_filter]
    allocations = [name for name, chosen in ALLOCATIONS.items() if chosen.uses_target]
    check_each([(name, "global") for name in criteria] + [("grasp", a) for a in allocations], meets)


def test_a_layer_that_starts_above_its_ratio_leaves_less_to_remove_in_the_others() -> None:
    space = quarters()
    first, last = space.layers
    mask = (torch.arange(last.numel) % 4 == 0).view(last.shape)
    space = replace(space, start_masks={last.name: mask})
    plan = Plan(sparsity=0.72, start="zeros")
    ratios, masks = choose_masks(plan, space)
    assert ratios[last.name] == 0.75
    assert 0.0 < ratios[first.name] < 0.72
    assert start_sparsity(masks, space.layers) == pytest.approx(0.72, abs=0.005)


def test_a_layer_that_the_plan_cannot_prune_keeps_its_zeros() -> None:
    space, start = sparse()
    plan = Plan(granularity="filter", sparsity=0.0, start="zeros")
    _, masks = choose_masks(plan, space)
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        name: mask.tolist() for name, mask in start.items()
    }


def test_scores_stay_finite_and_what_is_removed_comes_first() -> None:
    space, start = sparse()
    for name in ("random", "grasp", "taylor", "magnitude_l1"):
        for g in ("fine", "filter", "row"):
            plan = Plan(criterion=name, granularity=g, start="zeros")
            layers, scores = group_scores_of(plan, space)
            for key, kept in kept_groups(start, layers, granularity(g)).items():
                assert scores[key].isfinite().all()
                assert kept.all() or scores[key][~kept].max() < scores[key][kept].min(), (name, g)


def test_heads_are_removed_at_the_start_only_where_all_their_layers_are_zero() -> None:
    model = built("vit")
    layers = inventory(model, (1, 8, 8))
    attention = [layer for layer in layers if layer.attention][:2]
    g = granularity("head")
    masks = {x.name: torch.ones(x.shape, dtype=torch.bool) for x in attention}
    size = attention[0].shape[0] // 3 // attention[0].heads
    masks[attention[0].name].view(3, -1, size, *attention[0].shape[1:])[:, 1] = False
    assert all(kept.all() for kept in kept_groups(masks, layers, g).values())
    masks[attention[1].name].view(attention[1].shape[0], -1, size)[:, 1] = False
    both = kept_groups(masks, layers, g)
    assert [(~both[x.name]).flatten().nonzero().tolist() for x in attention] == [[[1]], [[1]]]


def test_without_zeros_and_with_a_dense_start_nothing_changes() -> None:
    dense = quarters()
    plan = Plan(sparsity=0.6)
    for space in (dense, sparse()[0]):
        _, masks = choose_masks(plan, space)
        assert start_note(plan, space) is None
        zeros = choose_masks(replace(plan, start="zeros"), dense)[1]
        assert all(torch.equal(zeros[name], choose_masks(plan, dense)[1][name]) for name in masks)


def test_the_note_and_the_report_say_how_sparse_the_start_is() -> None:
    space, _ = sparse()
    plan = Plan(sparsity=0.3, start="zeros", fine_tune=TrainConfig(epochs=0))
    note = start_note(plan, space)
    assert note is not None
    assert note.endswith("stay removed, more than the target of 30.0%.")
    for chosen, has in ((plan, True), (replace(plan, start="dense"), False)):
        *_, done = prune(chosen, space, CPU)
        assert isinstance(done, Finished)
        computed = report_dict(chosen, done)["computed"]
        assert isinstance(computed, dict)
        assert ("sparsity_start" in computed) == has


def test_a_plan_with_a_dense_start_is_the_same_text_as_before() -> None:
    assert "start" not in json.loads(Plan().to_json())
    assert json.loads(Plan(start="zeros").to_json())["start"] == "zeros"
    with pytest.raises(PruningError, match="did you mean 'zeros'"):
        Plan(start="zero")


def test_masks_of_a_file_are_the_start_on_dense_weights(tmp_path: Path) -> None:
    dense = quarters()
    start = drawn_masks(dense)
    named = masks_by_parameter(start, dense.layers, {"0.bias": torch.ones(8, dtype=torch.bool)})
    files = [write(named, Plan()) for write in (masks_safetensors, masks_npz, masks_pt)]
    prunes = {name + "_mask": mask.float() for name, mask in named.items()}
    whole = dict(dense.model.state_dict())
    for name, mask in prunes.items():
        weight = whole.pop(name.removesuffix("_mask"))
        whole |= {name: mask, name.removesuffix("_mask") + "_orig": weight}
    wrapped = {f"module.{name}": value for name, value in whole.items()}
    for content in (*files, masks_pt(prunes, Plan()), masks_pt(whole, Plan()), pt(wrapped)):
        (tmp_path / "masks").write_bytes(content)
        masks = read_masks(tmp_path / "masks", dense.model, dense.layers)
        assert masks.keys() == start.keys()
        assert all(torch.equal(masks[name], mask) for name, mask in start.items())
    space = replace(dense, start_masks=masks)
    for text in ("rounds", "lottery:fresh=0", "rigl:updates=8"):
        plan = Plan(flow=text, sparsity=0.3, start="zeros", fine_tune=TRAINING)
        *_, done = prune(plan, space, CPU)
        assert isinstance(done, Finished)
        assert not any((mask & ~start[name]).any() for name, mask in done.masks.items())
        values = {x.name: oihw(done.model.get_parameter(x.name), x) for x in space.layers}
        assert not any(values[name][~mask].any() for name, mask in start.items())


def test_wrong_mask_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    space = quarters()
    one = torch.ones(1, 1, dtype=torch.bool)

    def refused(content: bytes, why: str) -> None:
        (tmp_path / "masks").write_bytes(content)
        with pytest.raises(PruningError, match=why) as error:
            read_masks(tmp_path / "masks", space.model, space.layers)
        assert is_sentence(str(error.value))

    good = masks_safetensors({"0.weight": one}, Plan())
    check_each(
        [
            (b"", "cannot be read: the file is no safetensors"),
            (b"PK\x05\x06" + bytes(18), "no safetensors, .pt or .npz"),
            (good[:-1], "cannot be read: the safetensors file is damaged"),
            (struct.pack("<Q", 2**40) + b"{", "1,099,511,627,776 bytes"),
            (lying_header(), "is damaged"),
            (bomb(), "compressed, or its parts overlap"),
            (pt({"0.weight": one.to_sparse()}), "holds sparse tensors"),
            (pt({"0.weight": 3}), "no plain tensor"),
            (pt({"0.weight": one.expand(10**6, 10**6)}), "no plain tensor"),
            (good, "its layer needs"),
            (masks_pt({"conv.weight": one}, Plan()), "'conv.weight', which the network"),
            (masks_npz({"0.bias": torch.ones(8)}, Plan()), "no mask of a layer"),
        ],
        refused,
    )


def test_the_command_goes_on_from_a_file_of_masks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = open_workspace("lenet_300_100", "digits")
    plan = Plan(model="lenet_300_100", sparsity=0.3, fine_tune=TrainConfig(epochs=0))
    (tmp_path / "plan.json").write_text(plan.to_json())
    named = masks_by_parameter(drawn_masks(space), space.layers)
    (tmp_path / "masks.npz").write_bytes(masks_npz(named, plan))
    given = ["run", str(tmp_path / "plan.json"), "--out", str(tmp_path), "--device", "cpu"]
    assert main([*given, "--start-masks", str(tmp_path / "masks.npz")]) == 0
    assert "are removed at the start" in capsys.readouterr().err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["computed"]["sparsity_masked"] == pytest.approx(
        report["computed"]["sparsity_start"]
    )
    assert report["plan"]["start"] == "zeros"
