"""Scans, previews, ratios, grids, training, flows and studies follow the value of every task."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from pruning_core import studies
from pruning_core.cli.main import main
from pruning_core.evaluation.accuracy import Judge
from pruning_core.evaluation.incremental import IncrementalForward
from pruning_core.export import report_dict
from pruning_core.granularity import GRANULARITIES, granularity
from pruning_core.masks import apply_masks
from pruning_core.pipeline import group_scores_of, masked_copy, probe_split, prune
from pruning_core.plan import Plan
from pruning_core.sensitivity.compare_granularities import (
    compare_granularities,
    group_scores_by_granularity,
)
from pruning_core.sensitivity.cost_curves import cost_curve
from pruning_core.sensitivity.grid import measure
from pruning_core.sensitivity.grid_jobs import Grid
from pruning_core.sensitivity.preview import preview_plan
from pruning_core.sensitivity.preview_bands import bands_csv
from pruning_core.sensitivity.prune_units import UnitPruner, prune_units
from pruning_core.sensitivity.ratios import FromSensitivity
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.sensitivity.scan import from_csv, scan_plan, to_csv
from pruning_core.subjects.from_objects import workspace
from pruning_core.tasks import change
from pruning_core.training.config import TrainConfig
from pruning_core.types import Epoch, Finished, SensitivityPoint, Tuned
from pruning_core.workspaces import Workspace
from tests.core.tasks.own_outputs import twins
from tests.core.tasks.task_spaces import MAKERS, N, space_of

CPU = torch.device("cpu")
TUNE = TrainConfig(epochs=3, lr=0.05, batch_size=8)
PLAN = Plan(model="own", dataset="noise", sparsity=0.5, probe=32, calibration=16, fine_tune=TUNE)
GRID = (0.3, 0.6, 0.9)
TASKS = tuple(MAKERS)
SOME = ("segmentation", "regression", "language_model", "agreement")
"""Enough where a test is slow: of means and of other sums, rising and falling, without targets."""


@cache
def trained(task: str) -> Workspace:
    """The workspace with a network that was trained for 12 epochs."""
    space = space_of(task)
    config = TrainConfig(epochs=12, lr=0.05, batch_size=8)
    context = Workspace(space.model, space.dataset, space.layers, (), space.example)
    if space.dataset.task.dense_answers:
        return context
    from pruning_core.training.fine_tune import fine_tune

    *_, tuned = fine_tune(space.model, {}, space.layers, space.dataset, config, CPU)
    assert isinstance(tuned, Tuned)
    return Workspace(tuned.model, space.dataset, space.layers, (), space.example)


@cache
def scanned(task: str) -> tuple[SensitivityPoint, ...]:
    return tuple(scan_plan(PLAN, trained(task), GRID, device=CPU))


def test_scans_measure_what_evaluate_measures() -> None:
    """One point per layer, against a masked copy of the network, and its paired change."""
    for task in TASKS:
        space = trained(task)
        judge = Judge.of(space.dataset)
        split = probe_split(PLAN, space)
        dense = judge.evaluate(space.model, split, CPU)
        _, groups = group_scores_of(PLAN, space)
        pruner = UnitPruner(space.model, space.layers, granularity("fine"))
        for unit in prune_units(space.layers, groups, granularity("fine")):
            masks = pruner.masks(unit, round(0.6 * unit.scores.shape[1]))
            pruned = judge.evaluate(apply_masks(space.model, masks, space.layers), split, CPU)
            (point,) = [p for p in scanned(task) if p.parameter in masks and p.sparsity == 0.6]
            found = (point.value, point.loss, point.interval, point.n, point.task)
            wanted = (pruned.value, pruned.loss, pruned.interval, pruned.n, dense.task)
            assert found == wanted, task
            versus = change(dense, pruned)
            assert (point.change, point.change_interval) == (versus.value, versus.interval), task


def test_tables_of_scans_are_read_back() -> None:
    for task in TASKS:
        points = scanned(task)
        text = to_csv(points)
        names = text.splitlines()[0].split(",")
        assert ("value" in names, "top1" in names, names[-1]) == (True, False, "task"), task
        for read, point in zip(from_csv(text), points, strict=True):
            assert read.task == point.task, task
            assert read.value == pytest.approx(point.value, abs=1e-6), task


def test_previews_contain_the_scan() -> None:
    """All evaluations give the scan's values; a part of them bands with most of its points."""
    inside = []
    for task in SOME:
        share = 1.0 if task in ("segmentation", "language_model") else 0.4
        *_, last = preview_plan(PLAN, trained(task), GRID, share=share, device=CPU)
        assert "task" in bands_csv(last.bands).splitlines()[0]
        for band, point in zip(last.bands, scanned(task), strict=True):
            assert band.task == point.task
            if band.images == band.n:
                assert band.interval == pytest.approx((point.value,) * 2, rel=1e-5), task
            low, high = band.interval
            inside.append(low - 1e-6 <= point.value <= high + 1e-6)
            assert low <= band.value <= high, task
    assert sum(inside) >= 0.9 * len(inside)


def test_ratios_prune_more_where_the_value_suffers_less() -> None:
    """By every rule: the layer whose value suffers most at 90% does not get the largest ratio."""
    for task in TASKS:
        space = trained(task)
        layers, groups = group_scores_of(PLAN, space)
        sign = space.dataset.task.sign
        ends = {p.parameter: sign * p.change for p in scanned(task) if p.sparsity == 0.9}
        for rule in SENSITIVITY_RULES:
            ratios = FromSensitivity(scanned(task), rule)(layers, groups, 0.5)
            removed = sum(ratios[layer.name] * layer.numel for layer in layers)
            total = sum(layer.numel for layer in layers)
            assert removed / total == pytest.approx(0.5, abs=0.03), (task, rule)
        by_value = FromSensitivity(scanned(task), "equal_accuracy")(layers, groups, 0.5)
        worst = min(ends, key=ends.__getitem__)
        assert by_value[worst] <= max(by_value.values()), task
        for name in ends:
            assert (cost_curve(scanned(task), name, "accuracy").cost >= 0).all(), task


def test_a_cost_curve_rises_where_a_lower_value_is_better() -> None:
    points = scanned("language_model")
    name = min(points, key=lambda point: -point.value).parameter
    curve = cost_curve(points, name, "accuracy")
    dense = next(point.value for point in points if point.sparsity == 0)
    assert curve.cost[-1] > max(p.value for p in points if p.parameter == name) - dense - 1e-9


def test_grids_and_the_page_have_the_numbers_of_the_scan() -> None:
    for task in SOME:
        space = trained(task)
        found = [p.point for p in measure(Grid(GRID, ("fine",)), PLAN, space, device=CPU)]
        assert [point.value for point in found] == [point.value for point in scanned(task)], task
        judge = Judge.of(space.dataset)
        layer = space.layers[-1]
        zeros = torch.zeros_like(space.model.get_parameter(layer.name))
        live = IncrementalForward(space.model, space.dataset.val, device=CPU, judge=judge)
        without = apply_masks(
            space.model, {layer.name: torch.zeros(layer.shape, dtype=torch.bool)}, space.layers
        )
        for _ in range(2):
            measured = live.evaluation({layer.name: zeros})
            wanted = judge.evaluate(without, space.dataset.val, CPU)
            assert (measured.value, measured.loss) == (wanted.value, wanted.loss), task
        scores = {layer.name: torch.rand(layer.shape)}
        cuts = group_scores_by_granularity(
            [scores], layer, [GRANULARITIES["fine"], GRANULARITIES["row"]], "mean_abs"
        )
        for cut in compare_granularities(
            space.model, space.layers, layer, cuts, 0.5, space.dataset.val, judge=judge
        ):
            masked = apply_masks(space.model, {layer.name: cut.mask}, space.layers)
            wanted = judge.evaluate(masked, space.dataset.val, CPU)
            assert cut.evaluation.value == wanted.value, task


def test_training_keeps_the_best_epoch_and_helps() -> None:
    for task in SOME:
        space = trained(task)
        kind = space.dataset.task
        events = list(prune(PLAN, space, CPU))
        done = events[-1]
        assert isinstance(done, Finished)
        assert done.tuned is not None
        epochs = [event.evaluation.value for event in events if isinstance(event, Epoch)]
        (tuned,) = [event for event in events if isinstance(event, Tuned)]
        best = max(epochs) if kind.higher_is_better else min(epochs)
        assert tuned.evaluation.value == best == epochs[tuned.best_epoch - 1], task
        if task in ("segmentation", "regression", "language_model"):
            assert kind.better(done.tuned.value, done.pruned.value), task
        measured = report_dict(PLAN, done)["measured"]
        assert isinstance(measured, dict)
        assert measured["dense"]["value"] == done.dense.value
        assert measured["dense"]["task"] == kind.name
        json.dumps(measured, allow_nan=False)


@pytest.mark.parametrize("criterion", ["taylor", "obd", "grasp", "seven", "wanda"])
def test_criteria_use_the_loss_of_the_task(criterion: str) -> None:
    """Every criterion gives finite scores; Taylor's are |w dL/dw| of the task's loss."""
    plan = Plan(model="own", dataset="noise", criterion=criterion, calibration=16)
    for task in TASKS:
        space = trained(task)
        layers, groups = group_scores_of(plan, space)
        assert all(scores.isfinite().all() for scores in groups.values()), task
        if criterion != "taylor":
            continue
        x, y = next(space.dataset.train.batches(16))
        judge = Judge.of(space.dataset)
        model = masked_copy(plan, space, {})
        model.zero_grad()
        out = model(x)
        judge.task.loss(judge.judged(out), y, "none").mean().backward()
        for layer in layers:
            weight = model.get_parameter(layer.name)
            assert weight.grad is not None
            wanted = (weight * weight.grad).abs().flatten()
            found = groups[layer.name].flatten()
            assert torch.allclose(found.sort().values, wanted.sort().values, atol=1e-6), task


def test_flows_train_by_the_loss_of_the_task() -> None:
    for flow, task in (
        ("gradual", "segmentation"),
        ("lottery", "regression"),
        ("gradual", "agreement"),
        ("seven_pre:steps=3", "language_model"),
    ):
        done = list(prune(replace(PLAN, flow=flow), trained(task), CPU))[-1]
        assert isinstance(done, Finished)
        assert done.tuned is not None
        assert done.tuned.task.name == task


def test_studies_save_and_load_the_value(tmp_path: Path) -> None:
    for task in ("language_model", "segmentation"):
        space = trained(task)
        study = studies.Study(PLAN, compressions=(2.0,), seeds=1)
        folder = tmp_path / task
        first = list(studies.run_study(study, space, folder, CPU))
        again = list(studies.run_study(study, space, folder, CPU))
        assert all(isinstance(e, studies.RunFinished) and e.from_disk for e in again)
        done = {e.result.run: e.result for e in first if isinstance(e, studies.RunFinished)}
        results = studies.load_results(study, folder, space.dataset.task)
        assert list(results) == [done[result.run] for result in results]
        assert studies.load_results(study, folder) == ()
        rows = list(csv.DictReader(io.StringIO(studies.to_csv(study, results))))
        assert {row["task"] for row in rows} == {task}
        assert float(rows[0]["after_value"]) == pytest.approx(results[0].final.value, abs=1e-6)
        line = studies.event_line(again[0])
        assert line is not None
        assert space.dataset.task.short_label in line
        number = f"{results[0].final.value:.4g}"
        percent = f"{100 * results[0].final.value:.2f}"
        shown = percent if space.dataset.task.percent else number
        assert shown in studies.to_text(studies.summary(results))


@contextmanager
def patch_all(targets: Mapping[str, object]) -> Iterator[None]:
    """Replaces several objects by their paths."""
    with ExitStack() as stack:
        for path, value in targets.items():
            stack.enter_context(patch(path, value))
        yield


def test_the_command_line_names_the_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A perplexity is printed as such, never as top-1."""
    space = trained("language_model")
    plan = tmp_path / "plan.json"
    plan.write_text(PLAN.to_json())
    opened = {
        f"pruning_core.{module}.open_workspace": lambda *_, **__: space
        for module in ("cli.files", "sensitivity.grid", "cli.farthest")
    }
    with patch_all(opened):
        for command in (
            ["run", str(plan), "--out", str(tmp_path / "out"), "--device", "cpu"],
            ["scan", str(plan), "--out", str(tmp_path / "c.csv"), "--grid", "0.5"],
            ["preview", str(plan), "--out", str(tmp_path / "b.csv"), "--grid", "0.5"],
        ):
            assert main(command) == 0
    shown = capsys.readouterr()
    assert "top-1" not in shown.out + shown.err
    assert "validation perplexity " in shown.err
    assert "load_masks.py is not written. There is no script for noise" in shown.err
    assert (tmp_path / "out" / "weights.safetensors").is_file()
    assert "head.weight 0.5: perplexity " in shown.err
    assert shown.out.startswith("dense         perplexity ")


def test_the_users_own_objects_open_with_every_task() -> None:
    """Inputs without targets are enough for agreement with the dense network."""
    for task in TASKS:
        space = space_of(task)
        x, y = next(space.dataset.val.batches(N))
        assert isinstance(x, torch.Tensor)
        data = x if space.dataset.task.dense_answers else (x, y)
        opened = workspace(space.model, train=data, val=data, test=data, task=task)
        judge = Judge.of(opened.dataset)
        own = judge.evaluate(opened.model, opened.dataset.test, CPU)
        wanted = judge.evaluate(space.model, space.dataset.val, CPU)
        assert (own.value, own.loss) == pytest.approx((wanted.value, wanted.loss)), task


def test_outputs_by_name_as_torchvisions_segmentation_has_them() -> None:
    """The key `out`, traced and measured as the plain tensor is."""

    class Named(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"out": self.inner(x), "aux": x}

    space = space_of("segmentation")
    x, y = next(space.dataset.val.batches(N))
    named = workspace(
        Named(space.model), train=(x, y), val=(x, y), test=(x, y), task="segmentation"
    )
    (found,) = [
        point.value
        for point in scan_plan(PLAN, named, (0.6,), device=CPU)
        if point.sparsity and point.parameter == "inner.0.weight"
    ]
    plain = workspace(space.model, train=(x, y), val=(x, y), test=(x, y), task="segmentation")
    (wanted,) = [
        point.value
        for point in scan_plan(PLAN, plain, (0.6,), device=CPU)
        if point.sparsity and point.parameter == "0.weight"
    ]
    assert found == wanted


def test_outputs_of_a_task_of_the_users_are_judged_everywhere() -> None:
    """A model without logits: scans, pages and training measure what `Task.outputs` gives."""
    x = torch.rand(40, 6, generator=torch.Generator().manual_seed(1))
    data = x, x.repeat(1, 2)[:, :8]
    for form, reason in {"traced": None, "replayed": None, "whole": "writes over"}.items():
        model = twins(form)
        right = model.get_parameter("right.weight")
        task = "tests.core.tasks.own_outputs:EMBEDDING"
        space = workspace(model, train=data, val=data, test=data, task=task)
        judge = Judge.of(space.dataset)
        forward = IncrementalForward(space.model, space.dataset.test, device=CPU, judge=judge)
        assert (forward.reason is None) == (reason is None), (form, forward.reason)
        half = torch.arange(64).view(8, 8) % 2 * right.data
        changed = {"right.weight": half}
        found = forward.evaluation(changed)
        right.data = half
        wanted = judge.evaluate(model, space.dataset.test, CPU)
        assert (found.value, found.loss) == (wanted.value, wanted.loss), form
        points = list(scan_plan(replace(PLAN, probe=40), space, (0.6,), device=CPU))
        assert len({point.value for point in points}) > 2, form
        assert list(preview_plan(replace(PLAN, probe=40), space, (0.6,), device=CPU)), form
