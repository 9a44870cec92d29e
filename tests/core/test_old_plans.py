"""Files plan.json of earlier versions are read as before."""

import json
from pathlib import Path
from typing import Any

import pytest

from pruning_core.plan import Plan

FIXTURES = Path(__file__).parent / "fixtures"
FILES = sorted((FIXTURES / "old_plans").glob("*.json"))
AS_READ: dict[str, dict[str, Any]] = json.loads(
    (FIXTURES / "old_plans_as_read.json").read_text(encoding="utf-8")
)
"""Name of a file -> the plan as the code of then read it."""


def test_every_file_has_an_expected_plan() -> None:
    assert {path.stem for path in FILES} == AS_READ.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_old_file_gives_the_same_plan(path: Path) -> None:
    plan = Plan.from_json(path.read_text(encoding="utf-8"))
    assert json.loads(plan.to_json()) == AS_READ[path.stem]


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if not path.stem.startswith("text-")],
    ids=lambda path: path.stem,
)
def test_an_old_file_is_written_as_before(path: Path) -> None:
    """The files that the app wrote; those of name "text-..." were written by hand."""
    text = path.read_text(encoding="utf-8")
    assert Plan.from_json(text).to_json().strip() == text.strip()
