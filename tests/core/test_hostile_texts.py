"""Damaged and hostile texts of every kind that the program reads: one short sentence each."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.session import url
from pruning_core.errors import MAX_MESSAGE
from pruning_core.plan import Plan
from pruning_core.sensitivity.scan import COLUMNS, from_csv
from pruning_core.studies.study import Study
from pruning_core.types import PruningError
from pruning_core.zoo.checkpoints import SHIPPED, Card
from tests.cases import for_each

CARD = (SHIPPED / "lenet5-digits.json").read_text()
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, -1, 0, 10**30, int("9" * 3000), 1e308, float("nan"), float("inf")),
        *("", "x" * 20_000, "\x00", "\ud800", "agp:" + "1" * 5000, "rounds:lose=" + "9" * 400),
        *("2:" + "9" * 60, "0:4", "block:0x0", "../../etc", "package.module:f", "١٢", "1e999"),
        *([], {}, [[]], {"a": {}}, [1, 2], {"": 0}, {"a": float("nan")}),
    ]
)


@st.composite
def changed(draw: st.DrawFn, text: str) -> str:
    """A JSON object with one value, at any depth, replaced or removed; sometimes cut short."""
    whole = json.loads(text)
    inside = whole
    while True:
        key = draw(st.sampled_from(sorted(inside)))
        if not (isinstance(inside[key], dict) and inside[key] and draw(st.booleans())):
            break
        inside = inside[key]
    inside[key] = draw(ODD)
    if draw(st.booleans()):
        inside[draw(st.sampled_from(["", "seed", "unknown", "version"]))] = draw(ODD)
    written = json.dumps(whole)
    return written[: draw(st.integers(0, len(written)))] if draw(st.booleans()) else written


def reads_or_says_why(read: Callable[[Any], object], content: object) -> None:
    sentence = "read"
    try:
        read(content)
    except PruningError as error:
        sentence = str(error)
    assert 0 < len(sentence) <= MAX_MESSAGE + 3


@for_each(
    [
        (Plan.from_json, Plan().to_json()),
        (Study.from_json, Study(Plan()).to_json()),
        (Card.from_json, CARD),
    ]
)
def test_json(read: Callable[[str], object], text: str) -> None:
    @settings(max_examples=120, derandomize=True, deadline=None, database=None)
    @given(changed(text))
    def check(content: str) -> None:
        reads_or_says_why(read, content)

    check()


@settings(max_examples=120, derandomize=True, deadline=None, database=None)
@given(st.dictionaries(st.sampled_from(COLUMNS), ODD.map(str), min_size=1, max_size=3))
def test_curves(odd: dict[str, str]) -> None:
    line = [odd.get(name, "1").replace("\ud800", "") for name in COLUMNS]
    reads_or_says_why(from_csv, ",".join(COLUMNS) + "\n" + ",".join(f'"{v}"' for v in line))


@settings(max_examples=120, derandomize=True, deadline=None, database=None)
@given(st.dictionaries(st.sampled_from(url.PARAMS), ODD.map(str), min_size=1, max_size=4))
def test_addresses(odd: dict[str, str]) -> None:
    _, sentences = url.read(odd)
    assert all(len(sentence) <= MAX_MESSAGE + 60 for sentence in sentences)


def test_an_accuracy_above_one_is_refused() -> None:
    row = dict.fromkeys(COLUMNS, "1") | {"top1": "7", "why": "", "in_full": ""}
    with pytest.raises(PruningError, match="7 is outside the range of the accuracy"):
        from_csv(",".join(row) + "\n" + ",".join(row.values()))


def test_the_middle_of_a_long_message_is_left_out() -> None:
    message = str(PruningError("a" * 9_000 + "b" * 9_000))
    assert message == "a" * (MAX_MESSAGE // 2) + " … " + "b" * (MAX_MESSAGE // 2)
