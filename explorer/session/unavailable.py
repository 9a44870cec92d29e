"""Where network or images could not be opened: what can be chosen in their place, so that no page
is a dead end.
"""

import streamlit as st

from explorer.session import cache, state
from pruning_core.plan import Plan
from pruning_core.zoo import DATASETS, MODELS, datasets_for


def show_unavailable(plan: Plan) -> None:
    """What the network can be opened with, and a button for each way: other images, the same ones
    again, the default network.
    """
    home = Plan()
    able = datasets_for(plan.model)
    others = [name for name in able if name != plan.dataset]
    net = MODELS[plan.model].label
    images = " or ".join(DATASETS[name].label for name in able)
    st.markdown(
        f"{net} can be opened with {images}."
        if able
        else f"{net} has not been trained on any images here yet."
    )
    with st.container(horizontal=True):
        for name in others:
            st.button(
                f"Open {net} with {DATASETS[name].label}",
                key=f"open_{name}",
                icon=":material/image:",
                on_click=_choose,
                args=(plan.model, name),
            )
        if plan.dataset in able:
            st.button("Try again", key="try_again", icon=":material/refresh:", on_click=cache.retry)
        if (plan.model, plan.dataset) != (home.model, home.dataset):
            st.button(
                f"Back to {MODELS[home.model].label} on {DATASETS[home.dataset].label}",
                key="back_home",
                icon=":material/home:",
                on_click=_choose,
                args=(home.model, home.dataset),
            )


def _choose(model: str, dataset: str) -> None:
    state.change(model=model, dataset=dataset)
