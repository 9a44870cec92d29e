"""The suite's own checks of types and shapes: they are on, and they see what is wrong."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import AnnotationError, Float, Int, TypeCheckError
from torch import Tensor

from pruning_core.granularity import granularity
from pruning_core.masks import lowest
from pruning_core.plan import Plan
from tests.array_checks import is_instance, jaxtypings_check
from tests.typechecks import all_fit, checked, jaxtyped, names_an_array

Kind = TypeVar("Kind", bound="Plan | int")


def of_kind(value: Any, kind: type[Kind]) -> Kind:
    assert isinstance(value, kind)
    return value


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(TypeCheckError, match="scores"):
        lowest(torch.zeros(3), 1)


def test_another_wrong_type_is_refused() -> None:
    number: Any = 4
    word: Any = "half"
    with pytest.raises(TypeError, match="parameter name=4 violates type hint"):
        granularity(number)
    with pytest.raises(TypeError, match="sparsity='half' violates type hint"):
        Plan(sparsity=word)


def test_sizes_of_one_name_must_agree() -> None:
    """Between two arguments, and between an argument and what is returned."""

    def first(one: Float[Tensor, " n"], other: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return one[: len(other) - 1] if other.sum() else one

    guarded = checked(first, typechecker=beartype)
    assert guarded(torch.ones(3), torch.zeros(3)).shape == (3,)
    with pytest.raises(TypeCheckError, match="other"):
        guarded(torch.ones(3), torch.zeros(2))
    with pytest.raises(TypeCheckError, match=r"return .tensor\(\[1., 1.\]\). violates"):
        guarded(torch.ones(3), torch.ones(3))


def test_a_function_inside_another_one_is_checked_as_itself() -> None:
    """From the second one on, its checker is another one's."""

    def made(amount: int) -> Any:
        def plus(number: int, more: int = amount) -> int:
            return number + amount + more

        return checked(plus, typechecker=beartype)

    functions = [made(amount) for amount in range(3)]
    assert [plus(1) for plus in functions] == [1, 3, 5]
    assert [plus(1, more=0) for plus in functions] == [1, 2, 3]
    for plus in functions:
        with pytest.raises(TypeError, match="number='one' violates type hint"):
            plus("one")


def test_what_fits_an_array_type_is_what_jaxtyping_says() -> None:
    """With sizes of the same names in earlier values, which a wrong value must not leave behind."""
    values: list[Any] = [
        torch.zeros(shape) for shape in ((), (1,), (3,), (3, 3), (3, 4), (1, 3, 4))
    ]
    values += [torch.zeros(3, 4).int(), torch.nn.Parameter(torch.zeros(3, 4)), np.zeros((3, 4)), 3]
    sizes = ("", "...", " n", "n n", "n k", "3 k", "_ k", "n ...", "... n", "#n k", "*n", "n n+1")
    types = [
        kind[array, text]
        for kind in (Float, Int)
        for array in (Tensor, np.ndarray)
        for text in sizes
    ]
    for first, second in product(types, types[2:5]):
        for one, other in product(values, values[2:5]):
            answers = []
            for check in (is_instance, jaxtypings_check):
                with jaxtyped("context"):
                    try:
                        answers.append([check(first, one), check(second, other), check(first, one)])
                    except AnnotationError as error:
                        answers.append([str(error)])
            assert answers[0] == answers[1], (first, one, second, other)


def test_dataclasses_whose_fields_have_the_same_names_are_checked_as_themselves() -> None:
    @dataclass
    class Words:
        held: str

    @dataclass
    class Numbers:
        held: int

    for kind in (Words, Numbers):
        checked(kind, typechecker=beartype)
    made: Any = Numbers
    assert made(3).held == 3
    assert Words("a").held == "a"
    with pytest.raises(TypeError, match="held='a' violates"):
        made("a")


def test_the_arguments_of_a_generator_are_checked_before_its_first_step() -> None:
    def up_to(number: int) -> Iterator[int]:
        yield from range(number)

    guarded = checked(up_to, typechecker=beartype)
    assert list(guarded(3)) == [0, 1, 2]
    with pytest.raises(TypeError, match="number='three' violates type hint"):
        guarded("three")


@runtime_checkable
class Named(Protocol):
    name: str

    def show(self) -> str: ...


class NamedSaid(Named):
    """No protocol, but a class of its own."""


@dataclass
class WithField:
    name: str

    def show(self) -> str:
        return self.name


@dataclass
class WithFunction:
    name: str
    show: Any = None


class FromOutside:
    def show(self) -> str:
        return ""


def test_what_fits_a_protocol_is_what_python_says() -> None:
    late = FromOutside()
    assert not isinstance(late, Named)
    vars(late)["name"] = "late"
    assert isinstance(late, Named)
    assert not isinstance(FromOutside(), Named)
    assert all_fit(Named, WithField)
    assert isinstance(WithField("a"), Named)
    assert not isinstance(WithField("a"), NamedSaid)
    assert not isinstance(WithFunction("a"), Named)
    assert isinstance(WithFunction("a", str), Named)


def test_what_a_checked_function_closes_over_does_not_stay_in_memory() -> None:
    class Kept:
        """Stands for what is large."""

    def counter(kept: Kept) -> Any:
        def same(number: int) -> int:
            return number if kept else 0

        return checked(same, typechecker=beartype)

    kept = Kept()
    assert counter(kept)(3) == 3
    freed = weakref.ref(kept)
    del kept
    gc.collect()
    assert freed() is None


def test_a_bound_given_as_text_is_checked_in_a_function_of_a_module() -> None:
    guarded = checked(of_kind, typechecker=beartype)
    assert guarded(3, int) == 3
    with pytest.raises(TypeError, match="kind=3 violates"):
        guarded(3, 3)


def test_a_type_given_as_text_is_checked() -> None:
    def named(plan: "Plan", other: "OnlyForMypy | None" = None) -> "Plan":  # type: ignore[name-defined] # noqa: F821
        return other or plan

    guarded = checked(named, typechecker=beartype)
    assert guarded(Plan(), Plan()) == Plan()
    with pytest.raises(TypeError, match="plan=3 violates"):
        guarded(3)
    with pytest.raises(TypeError, match="return 'no plan' violates"):
        guarded(Plan(), "no plan")


@pytest.mark.parametrize(
    ("annotation", "is_array"),
    [
        (Float[Tensor, " n"], True),
        (dict[str, Float[Tensor, " n"]], True),
        (tuple[int, Float[Tensor, " n"] | None], True),
        ("Plan", True),
        (Tensor, False),
        (dict[str, int] | None, False),
    ],
)
def test_arrays_are_found_inside_other_types(annotation: object, is_array: bool) -> None:
    assert names_an_array(annotation) is is_array
