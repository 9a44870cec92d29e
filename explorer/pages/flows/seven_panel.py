"""The noise of each weight's gradient, and how SEVEN's correction changes one layer's ranking."""

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.charts import alt
from explorer.charts.noise import noise_histogram, noise_map, rank_moves
from explorer.pages.flows.noise import Noise, noise
from explorer.session import cache, state
from explorer.texts.formats import percent
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _
from pruning_core.flows import flow
from pruning_core.flows.seven import SevenDyn, SevenPre
from pruning_core.plan import Plan
from pruning_core.types import Layer
from pruning_core.workspaces import Workspace

MEAN_FACTORS = {(0.8, 0.9, False): 0.80, (0.8, 0.9, True): 0.27}
"""The mean factor of a gradient that is only noise around zero, by (beta1, beta2, signed)."""

UNSIGNED = N_(
    "SEVEN multiplies |w g| of every mini-batch by the running mean of |g| over the running root "
    "mean square of g. Factor 1: |g| is the same in all batches. Low factor: |g| is large in a few "
    "batches and small in the others."
)
SIGNED = N_(
    "SEVEN multiplies |w g| of every mini-batch by the running mean of g over the running root "
    "mean square of g. Factor 1: g is the same in all batches. Low factor: gradients of different "
    "batches cancel each other."
)


def seven_panel(plan: Plan, space: Workspace, layer: Layer) -> None:
    """Drawn for SEVEN's flows. The gradients are computed only when the toggle is on."""
    chosen = flow(plan.flow)
    if not isinstance(chosen, SevenPre | SevenDyn):
        return
    label = _("Show what the noise correction does")
    state.keep_widget("seven_noise")
    if not st.toggle(label, key="seven_noise", help=HELP["seven_noise"]):
        return
    st.subheader(_("Gradient noise"), anchor=False)
    _choose_layer(space, layer)
    settings = chosen.beta1, chosen.beta2, chosen.signed_moment
    measured = _measured(plan, space, layer, settings)
    st.caption(
        _(
            "{rule} Measured on {batches} mini-batches of calibration images. Mean factor: "
            "{factor:.2f}.",
            rule=_(SIGNED if chosen.signed_moment else UNSIGNED),
            batches=measured.batches,
            factor=measured.factor.mean(),
        )
    )
    _charts(measured, MEAN_FACTORS.get(settings), layer.name)
    st.caption(_ranking_words(measured, plan.sparsity))


def _choose_layer(space: Workspace, layer: Layer) -> None:
    state.set_widget("seven_layer", layer.name)
    st.selectbox(
        _("Layer"),
        [other.name for other in space.layers],
        key="seven_layer",
        width=320,
        help=HELP["seven_layer"],
        on_change=_layer_chosen,
    )


def _layer_chosen() -> None:
    state.select_layer(state.widget_value("seven_layer", None))


def _measured(
    plan: Plan, space: Workspace, layer: Layer, settings: tuple[float, float, bool]
) -> Noise:
    """The noise of the layer, cached. settings: beta1, beta2, signed."""
    with st.spinner(_("Computing gradients …")):
        return cache.cached_detail(
            lambda: noise(plan, space, layer, *settings),
            space,
            "noise",
            plan.model,
            plan.dataset,
            plan.calibration,
            layer.name,
            settings,
        )


def _charts(measured: Noise, only_noise: float | None, layer: str) -> None:
    """Histogram and ranks side by side, the map below. only_noise: the factor of pure noise."""
    left, right = st.columns(2)
    histogram = noise_histogram(measured.factor, only_noise, name=layer)
    _chart(left, _("Number of weights by factor"), "seven_histogram", histogram)
    ranks = rank_moves(measured.plain, measured.seven, name=layer)
    title = _("Rank without and with the factor (0% is removed first)")
    _chart(right, title, "seven_ranks", ranks)
    factors = noise_map(measured.factor, name=layer)
    _chart(st.container(), _("The factor of each weight"), "seven_map", factors)


def _chart(place: DeltaGenerator, title: str, key: str, figure: go.Figure) -> None:
    place.markdown(f"**{title}**")
    place.plotly_chart(figure, key=key, alt=alt(figure), config={"displayModeBar": False})


def _ranking_words(measured: Noise, sparsity: float) -> str:
    """How much the factor changes the ranking, and the weights removed at that sparsity."""
    return _(
        "Spearman rank correlation of SEVEN's scores: {plain:.3f} with the same sum without the "
        "factor, {taylor:.3f} with |w g| of all images as one batch, where opposite signs cancel. "
        "SEVEN keeps {kept} of the weights that the sum without the factor removes at sparsity "
        "{sparsity}.",
        plain=measured.agreement(measured.plain),
        taylor=measured.agreement(measured.taylor),
        kept=percent(measured.exchanged(sparsity)),
        sparsity=percent(sparsity),
    )
