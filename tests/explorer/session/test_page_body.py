"""What the side bar says stays true where the body of a page is drawn alone."""

from collections.abc import Callable

import pytest

from tests.explorer.driven import opened


def unchanged() -> None:
    pass


def one_ratio() -> None:
    from explorer.session import state

    state.set_ratio("conv1.weight", 0.7)


def one_group() -> None:
    from explorer.session import state

    state.set_hand_edits("conv1.weight", "fine", ((0, 3, False),))


def all_ratios() -> None:
    from explorer.session import cache, state

    layers = cache.workspace("lenet5", "digits").layers
    state.set_ratios({layer.name: 0.5 for layer in layers})


def unused_ratio() -> None:
    from explorer.session import state

    state.set_ratio("conv3.weight", 0.7)


def other_field() -> None:
    from explorer.session import state

    state.change(sparsity=0.35)


def refused() -> None:
    from explorer.session import state

    state.change(sparsity=2.0)


@pytest.mark.parametrize(
    ("change", "true"),
    [
        (unchanged, True),
        (one_ratio, True),
        (one_group, True),
        (all_ratios, False),
        (unused_ratio, False),
        (other_field, False),
        (refused, False),
    ],
)
def test_the_app_runs_again_where_the_side_bar_changes(
    change: Callable[[], None], true: bool
) -> None:
    def script(change: str) -> None:
        import streamlit as st

        from explorer.session import cache, page_body, state
        from pruning_core.plan import Plan
        from tests.explorer.session import test_page_body

        state.set_plan(Plan(model="lenet5"))
        state.store(page_body.DRAWN, page_body._drawn_now())
        getattr(test_page_body, change)()
        space = cache.workspace("lenet5", "digits")
        st.text(page_body._still_true(space))

    assert opened(script, {}, change.__name__).text[0].value == str(true)
