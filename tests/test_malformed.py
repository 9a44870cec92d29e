"""A sample of `benchmarks.malformed`: each malformed input is read or gives one sentence."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given

from benchmarks.malformed_kinds import Kind, always_the_same, kinds
from pruning_core.types import PruningError

EACH = 4


def check(kind: Kind, folder: Path) -> None:
    @always_the_same(EACH)
    @given(kind.inputs)
    def read(content: bytes) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(PruningError):
            kind.read(content, folder)

    kind.read(kind.whole, folder)
    read()


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_malformed_inputs_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path / "data"))
    for kind in kinds(tmp_path / "made"):
        check(kind, tmp_path / "data")
