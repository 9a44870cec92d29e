"""Finished runs on disk: whose they are, and that none is taken for another."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pruning_core import studies
from pruning_core.plan import Plan
from pruning_core.studies import Run, Study, study
from pruning_core.studies.store import folder_of, keep, kept
from pruning_core.training.fine_tune import TrainConfig
from pruning_core.workspace import Workspace, open_workspace

ASKED = Study(
    Plan(model="lenet5", fine_tune=TrainConfig(epochs=0)),
    granularities=("filter",),
    compressions=(2.0,),
    seeds=1,
)


@pytest.fixture(scope="module")
def space() -> Workspace:
    return open_workspace("lenet5", "digits")


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_other_images_with_the_same_labels_are_another_study(part: str, space: Workspace) -> None:
    split = getattr(space.dataset, part)
    mirrored = replace(space.dataset, **{part: replace(split, x=split.x.flip(-1))})
    found = studies.fingerprint(replace(space, dataset=mirrored))
    assert (
        found
        != studies.fingerprint(space)
        == studies.fingerprint(open_workspace("lenet5", "digits"))
    )


def test_losses_over_some_of_the_logits_are_another_study(space: Workspace) -> None:
    some = replace(space, dataset=replace(space.dataset, outputs=tuple(range(10))))
    assert studies.fingerprint(some) != studies.fingerprint(space)


def test_whole_filters_are_told_as_the_thinned_network_and_come_back_from_disk(
    space: Workspace, tmp_path: Path
) -> None:
    list(study(ASKED, space, tmp_path))
    for found in studies.results(ASKED, tmp_path):
        assert found.thinned_parameters is not None
        assert (
            found.compression
            == found.parameters / found.thinned_parameters
            > found.parameters / found.nonzeros
        )
        assert found.speedup == found.macs / found.thinned_macs > found.macs / found.macs_effective
    assert len(studies.results(ASKED, tmp_path)) == studies.saved(tmp_path) == 2


def test_a_study_without_a_penalty_keeps_the_folder_that_it_had_before_there_were_any(
    tmp_path: Path,
) -> None:
    """The name is the one that the code of before penalties gave."""
    tune = '"epochs": 1'
    told = '{"plan": {"model": "lenet5", "fine_tune": {%s}}, "criteria": ["random", "snip"]}'
    assert folder_of(Study.from_json(told % tune), "base", tmp_path).name == "068974cb7ac646e6"
    other = Study.from_json(told % f'{tune}, "penalty": "bn_scale_l1"')
    assert folder_of(other, "base", tmp_path).name != "068974cb7ac646e6"


def test_names_that_differ_in_a_sign_alone_have_a_file_each(
    space: Workspace, tmp_path: Path
) -> None:
    """`a:b` is a criterion of your own, `a_b` may be one of the registry; none of them is measured
    again or taken for another.
    """
    list(study(ASKED, space, tmp_path))
    found = studies.results(ASKED, tmp_path)[0]
    asked = [
        Run(name, shape, 2.0, 0)
        for name in ("a:b", "a_b", "a-b", "a%3Ab")
        for shape in ("2:4", "2_4", "b-2", "2-4")
    ]
    for run in asked:
        keep(replace(found, run=run), tmp_path)
    assert all((back := kept(run, tmp_path)) is not None and back.run == run for run in asked)
    assert studies.saved(tmp_path) == len(asked) + 2
    assert (tmp_path / "random-filter-2.0x-0.json").is_file()


def test_compressions_that_print_alike_have_a_file_each(space: Workspace, tmp_path: Path) -> None:
    list(study(ASKED, space, tmp_path))
    found = studies.results(ASKED, tmp_path)[0]
    for compression in (4.0, 4.0000001):
        keep(replace(found, run=Run("random", "filter", compression, 0)), tmp_path)
    for compression in (4.0, 4.0000001):
        assert (back := kept(Run("random", "filter", compression, 0), tmp_path)) is not None
        assert back.run.compression == compression


def test_a_record_names_its_threads_and_one_of_before_they_were_named_is_read(
    space: Workspace, tmp_path: Path
) -> None:
    list(study(ASKED, space, tmp_path))
    (found,) = (each for each in studies.results(ASKED, tmp_path) if each.run.criterion == "random")
    assert found.threads == torch.get_num_threads()
    (path,) = tmp_path.glob("random-*.json")
    raw = json.loads(path.read_text(encoding="utf-8"))
    assert raw["threads"] == found.threads
    for wrong in ("1", -1, [1]):
        path.write_text(json.dumps(raw | {"threads": wrong}), encoding="utf-8")
        assert kept(found.run, tmp_path) is None
    del raw["threads"]
    path.write_text(json.dumps(raw), encoding="utf-8")
    assert kept(found.run, tmp_path) == replace(found, threads=None)
