"""The axis repair: its entries, and every place that measures a pruned network."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pruning_core.cli.main import main
from pruning_core.evaluation.accuracy import Judge
from pruning_core.granularity import granularity
from pruning_core.masks import apply_masks
from pruning_core.model.model_io import tensors_of
from pruning_core.pipeline import choose_masks, masked_copy, probe_split, prune, pruned_copy
from pruning_core.plan import Plan
from pruning_core.repairs import REPAIRS
from pruning_core.sensitivity.compare_granularities import (
    compare_granularities,
    group_scores_by_granularity,
)
from pruning_core.sensitivity.farthest import Farthest, farthest
from pruning_core.sensitivity.grid import measure
from pruning_core.sensitivity.grid_jobs import Grid
from pruning_core.sensitivity.preview import preview_plan
from pruning_core.sensitivity.scan import scan_plan
from pruning_core.training.config import TrainConfig
from pruning_core.types import Finished, PruningError
from pruning_core.workspaces import Workspace, calibration, open_workspace

PLAN = Plan(
    granularity="kernel",
    probe=40,
    calibration=32,
    repair="bn",
    fine_tune=TrainConfig(epochs=0),
)


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace("resnet20", "digits")


def test_a_plan_without_repair_is_the_same_text_as_before() -> None:
    assert "repair" not in json.loads(Plan().to_json())
    assert Plan.from_json(PLAN.to_json()) == PLAN
    with pytest.raises(PruningError, match="no repair 'batch'; known are none, bn, bias"):
        Plan(repair="batch")


def test_batch_norms_get_the_averages_of_the_pruned_network(space: Workspace) -> None:
    """Against a pre-hook that reads the first batch norm's inputs."""
    _, masks = choose_masks(PLAN, space)
    before = masked_copy(PLAN, space, masks)
    repaired = pruned_copy(PLAN, space, masks)
    name, norm = next(
        (n, m) for n, m in before.named_modules() if isinstance(m, torch.nn.BatchNorm2d)
    )
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    with torch.no_grad():
        before(calibration(space, 32)[0][0])
    mean = repaired.get_buffer(f"{name}.running_mean")
    assert torch.allclose(mean, seen[0].mean((0, 2, 3)), atol=1e-5)
    learned = dict(before.named_parameters())
    assert all(p.equal(learned[n]) for n, p in repaired.named_parameters())


def test_a_network_without_batch_norm_stays_as_it_is() -> None:
    space = open_workspace("lenet5", "digits")
    plan = replace(PLAN, model="lenet5")
    _, masks = choose_masks(plan, space)
    there = tensors_of(masked_copy(plan, space, masks))
    assert all(v.equal(there[n]) for n, v in tensors_of(pruned_copy(plan, space, masks)).items())
    assert "no batch norm" in str(REPAIRS["bn"].no_effect(space.model))


def test_scans_grids_and_comparisons_measure_the_repaired_network(space: Workspace) -> None:
    split = probe_split(PLAN, space)
    judge = Judge.of(space.dataset)
    resolved = PLAN.resolve(space)
    layer = resolved.layers[2]
    masks = {layer.name: resolved.masks(resolved.scores(), resolved.ratios(resolved.scores()))}
    one = {layer.name: masks[layer.name][layer.name]}
    assert resolved.repairing is not None
    network = resolved.repairing(apply_masks(space.model, one, space.layers), one)
    expected = judge.evaluate(network, split)
    part = replace(space, layers=(layer,))
    point = next(p for p in scan_plan(PLAN, part, (0.5,)) if p.sparsity == 0.5)
    grid = Grid((0.5,), ("kernel",), layers=(layer.name,))
    cell = next(p.point for p in measure(grid, PLAN, space) if p.point.sparsity == 0.5)
    scores = resolved.criterion(space.model, (layer,), ())
    kernel = [granularity("kernel")]
    (tile,) = compare_granularities(
        space.model,
        space.layers,
        layer,
        group_scores_by_granularity([scores], layer, kernel, resolved.criterion.pool),
        0.5,
        split,
        judge=judge,
        repairing=resolved.repairing,
    )
    values = {point.value, tile.evaluation.value}
    losses = (point.loss, cell.loss, tile.evaluation.loss)
    assert values == {expected.value}
    assert losses == pytest.approx([expected.loss] * 3, rel=1e-5)
    assert point.in_full == "the repair changes the whole network"


def test_a_preview_is_refused_in_one_sentence(space: Workspace) -> None:
    with pytest.raises(PruningError, match="preview cannot repair"):
        next(preview_plan(PLAN, space, (0.5,)))


def test_a_run_without_training_ends_with_the_repaired_network(space: Workspace) -> None:
    *_, done = prune(PLAN, space)
    assert isinstance(done, Finished)
    assert done.recalibrated == done.pruned
    again = Judge.of(space.dataset).evaluate(done.model, space.dataset.test)
    assert again.value == done.pruned.value
    *_, bare = prune(replace(PLAN, repair="none"), space)
    assert isinstance(bare, Finished)
    assert bare.recalibrated is not None
    assert bare.recalibrated.value == done.pruned.value > bare.pruned.value + 0.2


def test_a_repaired_plan_goes_further(space: Workspace) -> None:
    *_, bare = farthest(replace(PLAN, repair="none"), space, 0.05)
    *_, repaired = farthest(PLAN, space, 0.05)
    assert isinstance(bare, Farthest)
    assert isinstance(repaired, Farthest)
    assert repaired.plan.sparsity > bare.plan.sparsity


def test_the_script_of_a_repaired_run_prints_its_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(replace(PLAN, repair="none").to_json())
    main(["run", str(plan), "--out", str(tmp_path / "out"), "--repair", "bn", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["plan"]["repair"] == "bn"
    script = tmp_path / "out" / "load_masks.py"
    exec(compile(script.read_text(), str(script), "exec"), {"__file__": str(script)})
    top1 = report["measured"]["pruned"]["top1"]
    assert f"accuracy {top1:.6f}" in capsys.readouterr().out
