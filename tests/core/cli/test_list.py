"""`pruning list`."""

import json

import pytest

from pruning_core.cli.choices import AXES
from pruning_core.cli.main import main
from pruning_core.sensitivity.rules import SENSITIVITY_RULES
from pruning_core.zoo import DATASETS, MODELS


def test_json_has_every_choice_with_formula_and_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    listed = {(row["axis"], row["name"]) for row in rows}
    assert {(axis, name) for axis, entries in AXES.items() for name in entries} <= listed
    assert {("model", name) for name in MODELS} <= listed
    assert {("dataset", name) for name in DATASETS} <= listed
    assert {("ratios", name) for name in SENSITIVITY_RULES} <= listed
    assert ("model", "resnet18") in listed
    choices = [row for row in rows if row["axis"] in AXES]
    assert all(row["formula"] and row["source"] and row["help"] for row in choices)


def test_text_has_every_formula(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert all(entry.formula in text for entries in AXES.values() for entry in entries.values())
