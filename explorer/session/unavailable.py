"""What the page shows when the network or the images cannot be opened: buttons for a way out."""

import streamlit as st

from explorer.session import cache, state
from pruning_core.plan import Plan
from pruning_core.workspaces import datasets_of, known_datasets, known_models


def show_unavailable(plan: Plan) -> None:
    """Names the images that the network can be opened with, and shows the buttons."""
    usable = datasets_of(plan.model)
    st.markdown(_usable_images(plan.model, usable))
    with st.container(horizontal=True):
        _buttons(plan, usable)


def _usable_images(model: str, usable: tuple[str, ...]) -> str:
    network = known_models(model)[model].label
    if not usable:
        return f"{network} has not been trained on any images here yet."
    images = " or ".join(known_datasets(name)[name].label for name in usable)
    return f"{network} can be opened with {images}."


def _buttons(plan: Plan, usable: tuple[str, ...]) -> None:
    """A button per other data set, one to try again, and one for the default network."""
    network = known_models(plan.model)[plan.model].label
    default = Plan()
    for name in usable:
        if name != plan.dataset:
            st.button(
                f"Open {network} with {known_datasets(name)[name].label}",
                key=f"open_{name}",
                icon=":material/image:",
                on_click=_choose,
                args=(plan.model, name),
            )
    if plan.dataset in usable:
        st.button(
            "Try again",
            key="try_again",
            icon=":material/refresh:",
            on_click=cache.retry_missing,
        )
    if (plan.model, plan.dataset) != (default.model, default.dataset):
        st.button(
            f"Back to {known_models()[default.model].label} on "
            f"{known_datasets()[default.dataset].label}",
            key="back_home",
            icon=":material/home:",
            on_click=_choose,
            args=(default.model, default.dataset),
        )


def _choose(model: str, dataset: str) -> None:
    state.change(model=model, dataset=dataset)
