"""What makes SEVEN different: the noise of each weight's gradient, and what it does to the ranking
of one layer.
"""

import streamlit as st

from explorer.charts import alt
from explorer.charts.noise import noise_histogram, noise_map, rank_moves
from explorer.pages.flows.noise import noise
from explorer.session import cache, state
from explorer.texts.formats import HELP, percent
from pruning_core.flows import flow
from pruning_core.flows.seven import SevenDyn, SevenPre
from pruning_core.pipeline import Workspace
from pruning_core.plan import Plan
from pruning_core.types import Layer

USUAL = {(0.8, 0.9, False): 0.80, (0.8, 0.9, True): 0.27}
"""The mean factor of a gradient that is nothing but noise around zero, at the usual memories."""

UNSIGNED = (
    "SEVEN weighs |w g| of every mini-batch by the running mean of |g| over its running root mean square. 1: all batches pull "
    "equally hard; low: a few batches pull, the rest hardly."
)
SIGNED = (
    "SEVEN weighs |w g| of every mini-batch by the running mean of g over its running root mean square. 1: all batches pull the "
    "same way; low: they cancel each other."
)


def seven_panel(plan: Plan, space: Workspace, layer: Layer) -> None:
    """Shown for SEVEN's flows; computed when asked for."""
    chosen = flow(plan.flow)
    if not isinstance(chosen, SevenPre | SevenDyn):
        return
    if not st.toggle(
        "Show what the noise correction does", key="seven_noise", help=HELP["seven_noise"]
    ):
        return
    knobs = chosen.beta1, chosen.beta2, chosen.signed_moment
    st.subheader("Gradient noise", anchor=False)
    state.set_widget("seven_layer", layer.name)
    st.selectbox(
        "Layer",
        [each.name for each in space.layers],
        key="seven_layer",
        width=320,
        help=HELP["seven_layer"],
        on_change=_looked,
    )
    with st.spinner("Reading gradients …"):
        found = cache.cached_detail(
            lambda: noise(plan, space, layer, *knobs),
            "noise",
            plan.model,
            plan.dataset,
            plan.calibration,
            layer.name,
            knobs,
        )
    st.caption(
        f"{SIGNED if chosen.signed_moment else UNSIGNED} Measured on {found.batches} mini-batches of calibration images: "
        f"mean factor {found.factor.mean():.2f}."
    )
    left, right = st.columns(2)
    figures = (
        (
            left,
            "How many weights have which factor",
            "seven_histogram",
            noise_histogram(found.factor, USUAL.get(knobs), name=layer.name),
        ),
        (
            right,
            "How the ranking moves, 0% goes first",
            "seven_ranks",
            rank_moves(found.plain, found.seven, name=layer.name),
        ),
        (st, "The factor, weight by weight", "seven_map", noise_map(found.factor, name=layer.name)),
    )
    for place, title, key, figure in figures:
        place.markdown(f"**{title}**")
        place.plotly_chart(figure, key=key, alt=alt(figure), config={"displayModeBar": False})
    st.caption(
        f"SEVEN's ranks correlate with those of the same sum without the factor by {found.agreement(found.plain):.3f}, and with "
        f"|w g| of all images as one batch, where opposite signs cancel, by {found.agreement(found.taylor):.3f} (Spearman). Of "
        f"the {percent(plan.sparsity)} that the plain sum would remove, SEVEN keeps {percent(found.exchanged(plan.sparsity))}."
    )


def _looked() -> None:
    state.select_layer(state.widget_value("seven_layer", None))
