"""Finished runs on disk: each file belongs to one run of one study."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pruning_core import studies
from pruning_core.compress.storage_sizes import computed_sizes, smallest_stored
from pruning_core.granularity import granularity
from pruning_core.pipeline import choose_masks
from pruning_core.plan import Plan
from pruning_core.studies import Run, Study, run_study
from pruning_core.studies.store import load_result, save_result, study_folder
from pruning_core.studies.study import run_plan
from pruning_core.training.config import TrainConfig
from pruning_core.workspaces import Workspace, open_workspace
from tests.core.studies.small_study import SMALL

ASKED = Study(
    Plan(model="lenet5", fine_tune=TrainConfig(epochs=0)),
    granularities=("filter",),
    compressions=(2.0,),
    seeds=1,
)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_other_images_with_equal_labels_give_another_fingerprint(
    part: str, space: Workspace
) -> None:
    split = getattr(space.dataset, part)
    mirrored = replace(space.dataset, **{part: replace(split, x=split.x.flip(-1))})
    mirrored_fingerprint = studies.fingerprint(replace(space, dataset=mirrored))
    assert (
        mirrored_fingerprint
        != studies.fingerprint(space)
        == studies.fingerprint(open_workspace("lenet5", "digits"))
    )


def test_losses_over_some_of_the_logits_give_another_fingerprint(space: Workspace) -> None:
    some = replace(space, dataset=replace(space.dataset, outputs=tuple(range(10))))
    assert studies.fingerprint(some) != studies.fingerprint(space)


def test_results_of_filters_count_the_thinned_network_and_are_loaded_unchanged(
    space: Workspace, tmp_path: Path
) -> None:
    timed = replace(ASKED, time=True)
    assert Study.from_json(timed.to_json()) == timed
    list(run_study(timed, space, tmp_path))
    for result in studies.load_results(timed, tmp_path):
        assert result.measured_speedup is not None
        assert result.measured_speedup > 0
        assert result.thinned_nonzeros is not None
        assert result.thinned_macs is not None
        assert (
            result.compression
            == result.parameters / result.thinned_nonzeros
            > result.parameters / result.nonzeros
        )
        assert (
            result.speedup
            == result.macs / result.thinned_macs
            > result.macs / result.macs_effective
        )
        masks = choose_masks(run_plan(ASKED, result.run), space)[1]
        sizes = computed_sizes(space.model, space.layers, masks, granularity("filter"))
        assert result.dense_bytes is not None
        assert result.stored_bytes is not None
        assert result.stored_bytes == smallest_stored(sizes).bytes < result.dense_bytes
        assert result.storage == result.dense_bytes / result.stored_bytes
    assert len(studies.load_results(timed, tmp_path)) == studies.count_saved_runs(tmp_path) == 2


def test_a_study_without_a_penalty_keeps_its_older_folder_name(
    tmp_path: Path,
) -> None:
    """The expected name was computed by the code from before penalties existed."""
    tune = '"epochs": 1'
    text = '{"plan": {"model": "lenet5", "fine_tune": {%s}}, "criteria": ["random", "snip"]}'
    assert study_folder(Study.from_json(text % tune), "base", tmp_path).name == "068974cb7ac646e6"
    other = Study.from_json(text % f'{tune}, "penalty": "bn_scale_l1"')
    assert study_folder(other, "base", tmp_path).name != "068974cb7ac646e6"


def test_names_that_differ_in_one_character_have_separate_files(
    space: Workspace, tmp_path: Path
) -> None:
    """`a:b` is a custom criterion, `a_b` one of the registry: neither is loaded for the other."""
    list(run_study(ASKED, space, tmp_path))
    result = studies.load_results(ASKED, tmp_path)[0]
    runs = [
        Run(name, granularity, 2.0, 0)
        for name in ("a:b", "a_b", "a-b", "a%3Ab")
        for granularity in ("2:4", "2_4", "b-2", "2-4")
    ]
    for run in runs:
        save_result(replace(result, run=run), tmp_path)
    assert all((back := load_result(run, tmp_path)) is not None and back.run == run for run in runs)
    assert studies.count_saved_runs(tmp_path) == len(runs) + 2
    assert (tmp_path / "random-filter-2.0x-0.json").is_file()


def test_compressions_that_print_equally_have_separate_files(
    space: Workspace, tmp_path: Path
) -> None:
    list(run_study(ASKED, space, tmp_path))
    result = studies.load_results(ASKED, tmp_path)[0]
    for compression in (4.0, 4.0000001):
        save_result(replace(result, run=Run("random", "filter", compression, 0)), tmp_path)
    for compression in (4.0, 4.0000001):
        assert (back := load_result(Run("random", "filter", compression, 0), tmp_path)) is not None
        assert back.run.compression == compression


def test_an_old_record_without_threads_and_stored_bytes_is_read(
    space: Workspace, tmp_path: Path
) -> None:
    list(run_study(ASKED, space, tmp_path))
    (result,) = (
        saved for saved in studies.load_results(ASKED, tmp_path) if saved.run.criterion == "random"
    )
    assert result.threads == torch.get_num_threads()
    (path,) = tmp_path.glob("random-*.json")
    raw = json.loads(path.read_text(encoding="utf-8"))
    assert raw["threads"] == result.threads
    for wrong in ("1", -1, [1]):
        path.write_text(json.dumps(raw | {"threads": wrong}), encoding="utf-8")
        assert load_result(result.run, tmp_path) is None
    later = ("threads", "dense_bytes", "stored_bytes")
    older = {k: v for k, v in raw.items() if k not in (*later, "thinned_nonzeros")}
    older["thinned_parameters"] = raw["thinned_nonzeros"]
    path.write_text(json.dumps(older), encoding="utf-8")
    old = load_result(result.run, tmp_path)
    assert old == replace(result, threads=None, dense_bytes=None, stored_bytes=None)
    assert old.storage is None


def test_each_study_and_each_network_has_its_own_folder(space: Workspace, tmp_path: Path) -> None:
    base = studies.fingerprint(space)
    other = studies.fingerprint(
        replace(space, model=open_workspace("lenet_300_100", "digits").model)
    )
    asked = (
        SMALL,
        replace(SMALL, time=True),
        replace(SMALL, images=128),
        replace(SMALL, plan=replace(SMALL.plan, allocation="global")),
    )
    folders = {
        studies.study_folder(study, start, tmp_path) for study in asked for start in (base, other)
    }
    assert len(folders) == 8
    assert studies.study_folder(SMALL, base).parent == studies.studies_root()


def test_saved_studies_of_a_network_come_newest_first(space: Workspace, tmp_path: Path) -> None:
    base = studies.fingerprint(space)
    one = replace(SMALL, seeds=1)
    for when, asked in enumerate((SMALL, one)):
        folder = studies.study_folder(asked, base, tmp_path)
        next(run_study(asked, space, folder))
        os.utime(folder / "study.json", (when, when))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.json").write_text('{"base": ')
    assert studies.saved_studies(base, tmp_path) == (one, SMALL)
    assert studies.saved_studies("another", tmp_path) == ()
