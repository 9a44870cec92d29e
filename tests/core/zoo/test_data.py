"""The registry of data sets, the data folder, and the error for missing files."""

from pathlib import Path

import pytest

from pruning_core.types import DataMissing, PruningError
from pruning_core.zoo import DATASETS, data_root, load_data


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server can be reached."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def test_the_data_folder_is_the_argument_the_variable_or_the_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path / "a"))
    assert data_root() == tmp_path / "a"
    assert data_root(tmp_path / "b") == tmp_path / "b"
    monkeypatch.delenv("PRUNING_EXPLORER_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_root() == tmp_path / "pruning-explorer"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("fashion_mnist", "FashionMNIST"),
        ("mnist", "MNIST"),
        ("cifar10", "cifar-10"),
        ("imagenette", "imagenette2"),
    ],
)
@pytest.mark.parametrize("download", [True, False])
def test_the_error_for_missing_files_says_what_is_missing_and_where(
    name: str, folder: str, download: bool, tmp_path: Path, offline: None
) -> None:
    with pytest.raises(DataMissing) as caught:
        load_data(name, root=tmp_path, download=download)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert folder in message
    assert "PRUNING_EXPLORER_DATA" in message
    assert ("no route to host" in message) == download
    assert "\n" not in message


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(PruningError, match="did you mean 'digits'"):
        load_data("digit")


def test_every_data_set_has_label_help_and_origin() -> None:
    assert all(
        entry.label and entry.help.endswith(".") and entry.get.endswith(".")
        for entry in DATASETS.values()
    )
