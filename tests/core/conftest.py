"""Data for the core's tests: digits, and Fashion-MNIST where this machine has it."""

import gzip
import os
import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType

import pytest
from torchvision.datasets import FashionMNIST

from pruning_core.criteria import CRITERIA
from pruning_core.types import Dataset
from pruning_core.zoo import load_data
from pruning_core.zoo.request import VARIABLE

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def plain_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes run what is `__main__` here; Streamlit's test driver leaves its own script
    there.
    """
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Criteria that work in rounds use three."""
    for name, criterion in CRITERIA.items():
        if "rounds" in {entry.name for entry in fields(criterion)}:
            monkeypatch.setitem(CRITERIA, name, replace(criterion, rounds=3))


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_data("digits")


@pytest.fixture(scope="session")
def fashion_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds Fashion-MNIST unpacked: the user's own, or a temporary copy of the shared
    one.
    """
    names = [Path(name) for name, _ in FashionMNIST.resources]
    raw = Path("FashionMNIST", "raw")
    own = Path(os.environ.get(VARIABLE, ""))
    if VARIABLE in os.environ and all((own / raw / name.stem).is_file() for name in names):
        return own
    if not all((SHARED / raw / name).is_file() for name in names):
        pytest.skip(
            f"Fashion-MNIST is not on this machine: set {VARIABLE} to a folder that holds it."
        )
    root = tmp_path_factory.mktemp("fashion")
    (root / raw).mkdir(parents=True)
    for name in names:
        with gzip.open(SHARED / raw / name) as packed, (root / raw / name.stem).open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    return root
