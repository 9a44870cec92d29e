"""What the page shows when the network or the images cannot be opened: buttons for a way out."""

import streamlit as st

from explorer.session import cache, state
from explorer.texts.translate import _, from_core
from pruning_core.plan import Plan
from pruning_core.workspaces import datasets_of, known_datasets, known_models


def show_unavailable(plan: Plan) -> None:
    """Names the images that the network can be opened with, and shows the buttons."""
    usable = datasets_of(plan.model)
    if usable != (plan.dataset,):  # the only images, and the network could not be opened with them
        st.markdown(_usable_images(plan.model, usable))
    with st.container(horizontal=True):
        _buttons(plan, usable)


def _usable_images(model: str, usable: tuple[str, ...]) -> str:
    network = from_core(known_models(model)[model].label)
    if not usable:
        return _("{network} has not been trained on any images here yet.", network=network)
    images = _(" or ").join(from_core(known_datasets(name)[name].label) for name in usable)
    return _("{network} can be opened with {images}.", network=network, images=images)


def _buttons(plan: Plan, usable: tuple[str, ...]) -> None:
    """A button per other data set, one to try again, and one for the default network."""
    network = from_core(known_models(plan.model)[plan.model].label)
    default = Plan()
    for name in usable:
        if name != plan.dataset:
            st.button(
                _(
                    "Open {network} with {images}",
                    network=network,
                    images=from_core(known_datasets(name)[name].label),
                ),
                key=f"open_{name}",
                icon=":material/image:",
                on_click=_choose,
                args=(plan.model, name),
            )
    if plan.dataset in usable:
        st.button(
            _("Try again"),
            key="try_again",
            icon=":material/refresh:",
            on_click=cache.retry_missing,
        )
    if (plan.model, plan.dataset) != (default.model, default.dataset):
        st.button(
            _(
                "Back to {network} on {images}",
                network=from_core(known_models()[default.model].label),
                images=from_core(known_datasets()[default.dataset].label),
            ),
            key="back_home",
            icon=":material/home:",
            on_click=_choose,
            args=(default.model, default.dataset),
        )


def _choose(model: str, dataset: str) -> None:
    state.change(model=model, dataset=dataset)
