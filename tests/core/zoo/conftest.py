"""Folders and files that several tests of the zoo use."""

from pathlib import Path

import pytest

from pruning_core.zoo import checkpoints


@pytest.fixture
def own_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's checkpoints. The package has none."""
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "nothing")
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"
