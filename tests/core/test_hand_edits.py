"""Hand edits as text and as JSON; impossible edits are refused in one sentence."""

from collections.abc import Callable

import pytest

from pruning_core.hand_edits import (
    MAX_GROUPS,
    HandEdits,
    check_edits,
    from_raw,
    parse_edits,
    to_raw,
)
from tests.core.toy import refusal


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ((), ""),
        (((0, 3, True),), "k3"),
        (((0, 3, True), (0, 4, True), (0, 5, True)), "k3-5"),
        (((0, 3, True), (0, 4, False), (0, 5, False), (0, 7, False)), "k3_p4-5_p7"),
        (((0, 9, True), (1, 0, True), (1, 1, True)), "k9_k1.0-1"),
    ],
)
def test_text_worked_by_hand(groups: tuple[tuple[int, int, bool], ...], text: str) -> None:
    edits = HandEdits("a.weight", "filter", groups)
    assert edits.text == text
    assert parse_edits("a.weight", "filter", text) == edits


def test_groups_are_sorted_so_that_equal_edits_are_equal() -> None:
    assert HandEdits("a", "fine", ((1, 0, True), (0, 2, False))) == HandEdits(
        "a", "fine", ((0, 2, False), (1, 0, True))
    )


@pytest.mark.parametrize(
    "text", ["x3", "k", "k-3", "k3.", "k3-", "3", "k3 p4", "k3__p4x", "k1.2.3", f"k{'9' * 12}"]
)
def test_other_text_is_refused(text: str) -> None:
    assert "of a.weight is not of the form" in refusal(
        lambda: parse_edits("a.weight", "fine", text)
    )


@pytest.mark.parametrize(
    ("build", "part"),
    [
        (lambda: HandEdits("a", "fines", ()), "no granularity 'fines'"),
        (lambda: HandEdits("a", "fine", ((0, -1, True),)), "negative group"),
        (lambda: HandEdits("a", "fine", ((0, 1, True), (0, 1, False))), "one group twice"),
        (lambda: parse_edits("a", "fine", f"k0-{MAX_GROUPS}"), "coarser granularity"),
        (lambda: parse_edits("a", "fine", "k9-999999999"), "coarser granularity"),
        (
            lambda: check_edits(
                (HandEdits("a", "fine", ()), HandEdits("a", "fine", ((0, 1, True),)))
            ),
            "one layer twice",
        ),
        (
            lambda: check_edits(
                parse_edits(name, "fine", f"k1-{MAX_GROUPS // 2 + 1}") for name in "ab"
            ),
            "2,002 groups",
        ),
        (lambda: from_raw([]), "must map layers"),
        (lambda: from_raw({"a": "k3"}), "must map layers"),
        (lambda: from_raw({"a": {"fine": 3}}), "not of the form"),
    ],
)
def test_impossible_edits_are_refused_in_one_sentence(
    build: Callable[[], object], part: str
) -> None:
    assert part in refusal(build)


def test_json_is_read_as_it_was_written() -> None:
    edits = (
        parse_edits("a", "fine", "k3"),
        parse_edits("a", "filter", "p1-2"),
        parse_edits("b", "2:4", "k7.1"),
    )
    assert to_raw(edits) == {"a": {"fine": "k3", "filter": "p1-2"}, "b": {"2:4": "k7.1"}}
    assert from_raw(to_raw(edits)) == edits
