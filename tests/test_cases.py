"""The helper for many cases in one test checks them all and names each that fails."""

import pytest

from tests.cases import check_each, for_each


def test_every_failing_case_is_named_and_the_rest_are_checked() -> None:
    seen: list[int] = []

    def small(number: int, limit: int) -> None:
        seen.append(number)
        assert number < limit, "too large"

    with pytest.raises(AssertionError) as caught:
        check_each([(1, 2), (3, 2), (1, 5), (8, 5)], small)
    first, *rest = str(caught.value).splitlines()
    assert seen == [1, 3, 1, 8]
    assert first == "2 of 4 cases fail"
    assert [line.split(": ")[0] for line in rest if "too large" in line] == ["3, 2", "8, 5"]


def test_another_error_than_an_assertion_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        check_each([0], lambda number: 1 // number)


def test_no_cases_are_a_failure() -> None:
    with pytest.raises(AssertionError, match="no case"):
        check_each([], print)


def test_a_decorated_check_is_one_test_of_all_cases() -> None:
    seen: list[int] = []

    @for_each([1, 2])
    def check(number: int) -> None:
        seen.append(number)
        assert number == 1

    with pytest.raises(AssertionError, match="1 of 2 cases fail\n2: "):
        check()
    assert seen == [1, 2]
