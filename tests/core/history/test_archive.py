"""Runs as a zip: they come back equal, and hostile files are refused in one sentence."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruning_core.export.archive import zip_archive
from pruning_core.history import History, archive, import_zip, to_zip
from pruning_core.history.tensors import CURVES, MASKS, Curves, pack_curves, pack_masks
from pruning_core.types import PruningError
from tests.core.history.history_runs import example

FILES = {
    MASKS: pack_masks({"conv1.weight": torch.tensor([True, False, True])}),
    CURVES: pack_curves(Curves(((0.5, 1.0),), ((1.0, 1.0, 1.0, 0.9, 0.8, 0.95, 1.0),))),
}

OF_PYTHON = re.compile(r"indices|attribute|subscript|item named|damaged: '\w+'\.$")
"""In the messages of Python's own errors."""


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """Two runs, one with files."""
    history = History(tmp_path / "source")
    parent = example(note="=1+1", tags=("a",), pinned=True)
    history.save(parent, FILES)
    history.save(example(parent=parent.id))
    return to_zip(history, history.runs())


def test_runs_come_back_equal_and_only_once(content: bytes, tmp_path: Path) -> None:
    source = History(tmp_path / "source")
    target = History(tmp_path / "target")
    assert len(import_zip(target, io.BytesIO(content)).new) == 2
    assert target.runs() == source.runs()
    for run in target.runs():
        assert {name: target.file(run, name) for name in run.files} in (FILES, {})
    target.change(target.runs()[0].id, note="mine")
    again = import_zip(target, io.BytesIO(content))
    assert (again.new, again.known) == ((), 2)
    assert target.runs()[0].note == "mine"


def rewritten(content: bytes, change: Callable[[dict[str, Any]], object], **files: bytes) -> bytes:
    """The zip with a changed list of runs, and changed files by the beginning of their name."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    raw = json.loads(entries["runs.json"])
    change(raw)
    entries["runs.json"] = json.dumps(raw).encode()
    return zip_archive(entries | files)


def test_hostile_archives_are_refused_whole(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(**own: Any) -> Callable[[dict[str, Any]], object]:
        return lambda raw: raw["runs"][-1].update(own)

    with zipfile.ZipFile(io.BytesIO(content)) as source:
        named = {name: b"other" for name in source.namelist() if name != "runs.json"}
    wrong = {
        "no zip": b"PK nothing",
        "empty": b"",
        "no list": zip_archive({"a": b""}),
        "another list": zip_archive({"runs.json": b"[1]"}),
        "another format": rewritten(content, lambda raw: raw.update(format="x")),
        "no runs": rewritten(content, lambda raw: raw.pop("runs")),
        "an id that is a path": rewritten(content, first(id="../../../x")),
        "a parent that is a path": rewritten(content, first(parent="../x")),
        "a running run": rewritten(content, first(state="running")),
        "a file's name": rewritten(content, first(files={"../../x": "0" * 64})),
        "a file's hash": rewritten(content, first(files={"masks": "../../x"})),
        "a missing file": rewritten(content, first(files={"masks": "0" * 64})),
        "another content": rewritten(content, lambda raw: None, **named),
        "a list for a text": rewritten(content, first(note=[])),
        "a long note": rewritten(content, first(note="x" * 5000)),
        "an infinite time": rewritten(content, first(started=float("inf"))),
        "a deep list": zip_archive({"runs.json": b"[" * 100_000}),
    }
    target = History(tmp_path / "target")
    for name, hostile in wrong.items():
        with pytest.raises(PruningError) as caught:
            import_zip(target, io.BytesIO(hostile))
        assert "\n" not in str(caught.value), name
        assert not OF_PYTHON.search(str(caught.value)), f"{name}: {caught.value}"
        assert target.runs() == (), name
    for limit in ("MOST_RUNS", "MOST_ENTRIES", "LARGEST_LIST", "LARGEST_FILE", "LARGEST_SUM"):
        with monkeypatch.context() as small:
            small.setattr(archive, limit, 1)
            with pytest.raises(PruningError, match=r"at most|more than"):
                import_zip(target, io.BytesIO(content))
    assert not list((tmp_path / "target").glob("files/*/*"))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.pop("runs"),
        lambda raw: raw["runs"].append([]),
        lambda raw: raw["runs"][0].pop("parent"),
        lambda raw: raw["runs"][0].update(tags=3),
    ],
)
def test_a_list_of_another_form_is_said_to_be_none(
    content: bytes, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    with pytest.raises(PruningError, match=r"its runs\.json is no list of runs"):
        import_zip(History(tmp_path / "target"), io.BytesIO(rewritten(content, change)))


def test_an_error_after_the_list_is_not_said_to_be_of_the_list(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*arguments: object) -> None:
        raise KeyError("name")

    monkeypatch.setattr(History, "save", save)
    with pytest.raises(PruningError, match="a part of it has an unknown form"):
        import_zip(History(tmp_path / "target"), io.BytesIO(content))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_bytes_never_raise_another_error(
    content: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    hostile = bytes(damaged[: data.draw(st.sampled_from((end, len(content))))])
    target = History(tmp_path / "target")
    with suppress(PruningError):
        assert len(import_zip(target, io.BytesIO(hostile)).new) <= 2
    assert all(target.file(run, name) == FILES[name] for run in target.runs() for name in run.files)
