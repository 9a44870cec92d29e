"""Addresses of earlier versions open with the same plan, and their text stays the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

from explorer.charts.style import LABELS
from explorer.pages.explore.look_closer import VIEWS
from explorer.pages.export.page import TUNED
from explorer.pages.sensitivity.form import OWN
from explorer.pages.sensitivity.rule_choice import UNITS
from explorer.pages.sensitivity.run import PRESETS
from explorer.session.url import PARAMS, read, write
from pruning_core.plan import Plan
from pruning_core.sensitivity.rules import SENSITIVITY_RULES

FIXTURES = Path(__file__).parent / "fixtures"
ADDRESSES: dict[str, dict[str, Any]] = json.loads(
    (FIXTURES / "old_addresses.json").read_text(encoding="utf-8")
)
"""Name -> the query of the address, its plan as the code of then read it, and the problems."""
NOT_AS_WRITTEN = {"written-otherwise", "overrides-by-pairs"}
"""Made by hand: the app writes the same plan in another way."""
NEEDS_A_RUN = "largest-values"
"""Its page parameter names the fine-tuned network, which only exists after a run."""


@pytest.mark.parametrize("name", ADDRESSES)
def test_an_old_address_gives_the_same_plan(name: str) -> None:
    address = ADDRESSES[name]
    parameters = dict(parse_qsl(address["query"], keep_blank_values=True))
    plan, sentences = read(parameters)
    assert json.loads(plan.to_json()) == address["plan"]
    assert len(sentences) == address["sentences"]
    assert parameters.get("layer") == address["layer"]


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, address in ADDRESSES.items()
        if not address["sentences"] and name not in NOT_AS_WRITTEN
    ],
)
def test_the_plan_of_an_old_address_is_written_as_before(name: str) -> None:
    address = ADDRESSES[name]
    parameters = dict(parse_qsl(address["query"], keep_blank_values=True))
    plan = Plan.from_json(json.dumps(address["plan"]))
    assert write(plan) == {key: parameters[key] for key in address["plan_params"]}
    assert set(address["plan_params"]) <= set(PARAMS)


@pytest.mark.parametrize(
    "name",
    [name for name, address in ADDRESSES.items() if address["page_params"] and name != NEEDS_A_RUN],
)
def test_a_page_takes_its_own_parameters_from_an_old_address(
    open_view: Callable[..., AppTest], name: str
) -> None:
    """A widget that does not know its parameter's value removes it from the address."""
    address = ADDRESSES[name]
    parameters = parse_qs(address["query"], keep_blank_values=True)
    single = {key: texts if len(texts) > 1 else texts[0] for key, texts in parameters.items()}
    at = open_view(address["page"].strip("/") or "explore", **{"model": Plan().model} | single)
    assert {key: at.query_params.get(key) for key in address["page_params"]} == address[
        "page_params"
    ]


def test_the_page_parameter_of_a_fine_tuned_network_is_as_before() -> None:
    assert ADDRESSES[NEEDS_A_RUN]["page_params"] == {"export_weights": TUNED}


def test_labels_that_an_address_contains_are_as_before() -> None:
    """A choice has its label in English in the address, so that label must not change."""
    rules = [rule.label for rule in SENSITIVITY_RULES.values()]
    assert rules == ["Equal accuracy", "Equal loss", "Inverse cost", "Least loss in sum"]
    assert UNITS == {"weights": "Weights", "macs": "Multiply-adds"}
    assert (*PRESETS, OWN) == ("Quick", "Standard", "Fine", "Own choice")
    assert list(VIEWS) == ["Granularities", "Activations", "Dropout", "Filters"]
    assert LABELS == {
        "dense": "dense",
        "pruned": "pruned",
        "recalibrated": "BN recalibrated",
        "tuned": "fine-tuned",
    }
