"""The suite's own checks of types and shapes: they are on, and they see what is wrong."""

from typing import Any

import pytest
import torch
from beartype import beartype
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from pruning_core.granularity import granularity
from pruning_core.masks import lowest
from pruning_core.plan import Plan
from tests.typechecks import checked, names_an_array


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
