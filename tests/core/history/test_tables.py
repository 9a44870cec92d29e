"""The tree of runs, tables, and comparisons of two runs."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pruning_core.history import History, to_csv, tree_order
from pruning_core.history.compare import masks_of, overlap, paired_change, total_overlap
from pruning_core.history.tables import COLUMNS, differing_fields
from pruning_core.history.tensors import ANSWERS, MASKS, pack_answers, pack_masks
from pruning_core.tasks import CLASSIFICATION, change
from tests.core.history.history_runs import PLAN, example


def test_the_tree_has_every_run_once_after_its_parent() -> None:
    root, pinned, circle = (example(started=float(n)) for n in range(3))
    pinned = replace(pinned, pinned=True)
    child = example(parent=root.id, started=9.0)
    grandchild = example(parent=child.id, started=3.0)
    lost = example(parent="0" * 12, started=10.0)
    circle = replace(circle, parent=circle.id)
    one = example(started=20.0)
    other = example(started=21.0, parent=one.id)
    one = replace(one, parent=other.id)
    runs = [grandchild, lost, child, circle, pinned, root, one, other]
    order = [pinned, root, child, grandchild, circle, lost]
    listed = tree_order(runs)
    assert [run.id for _, run in listed][:6] == [run.id for run in order]
    assert [depth for depth, _ in listed] == [0, 0, 1, 2, 0, 0, 0, 0]
    assert {run.id for _, run in listed} == {run.id for run in runs}


def test_differences_are_the_fields_in_which_plans_differ() -> None:
    other = replace(PLAN, sparsity=0.8, fine_tune=replace(PLAN.fine_tune, epochs=7))
    runs = [example(), example(plan=other.to_json())]
    assert differing_fields(runs) == ["sparsity", "fine_tune.epochs"]


def test_the_csv_has_a_row_per_run_and_no_formula() -> None:
    run = example(note="=HYPERLINK(1)", tags=("a", "b"))
    (row,) = csv.DictReader(io.StringIO(to_csv([run])))
    assert tuple(row) == COLUMNS
    assert row["note"] == "'=HYPERLINK(1)"
    assert (row["id"], row["tags"], row["measured"]) == (run.id, "a, b", "tuned")
    assert (row["value"], row["dense"], row["macs_left"]) == ("0.85", "0.9", "0.5")
    assert row["bytes_left"] == "0.525"


def test_two_runs_are_compared_by_their_samples_and_masks(tmp_path: Path) -> None:
    history = History(tmp_path)
    logits = torch.eye(4)[torch.arange(40) % 4]
    targets = (torch.arange(40) // 3) % 4
    measured = [
        CLASSIFICATION.summarise(CLASSIFICATION.measure(own, targets))
        for own in (logits, logits.roll(1, 0))
    ]
    masks = [torch.tensor([True, False, False, True]), torch.tensor([True, True, False, False])]
    runs = [example(), example()]
    for run, own, mask in zip(runs, measured, masks, strict=True):
        files = {ANSWERS: pack_answers({"tuned": own}), MASKS: pack_masks({"w": mask})}
        history.save(run, files)
    one, other = (history.get(run.id) for run in runs)
    assert paired_change(history, one, other) == change(*measured)
    shares = overlap(masks_of(history, one), masks_of(history, other))
    assert shares == {"w": pytest.approx(1 / 3)}
    assert total_overlap(masks_of(history, one), masks_of(history, other)) == shares["w"]
    assert total_overlap({}, masks_of(history, other)) is None
    assert overlap({"w": masks[0]}, {"w": masks[0][:2]}) == {}
    elsewhere = replace(other, fingerprint="e")
    assert paired_change(history, one, elsewhere) is None
    assert paired_change(history, one, example()) is None


def test_masks_are_in_the_order_of_the_network(tmp_path: Path) -> None:
    """Not in that of the file, which is by size."""
    history = History(tmp_path)
    small = torch.tensor([True, False])
    masks = {"stem": small, "b": torch.ones(9, dtype=torch.bool), "a": small, "end": small}
    run = example(kept=dict.fromkeys(masks, 0.5))
    history.save(run, {MASKS: pack_masks(masks)})
    assert list(masks_of(history, history.get(run.id))) == list(masks)
