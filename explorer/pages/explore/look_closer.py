"""Look closer at the chosen layer: nothing is computed before the user asks for it."""

from collections.abc import Callable

import streamlit as st

from explorer.pages.explore.dropout_panel import dropout_panel
from explorer.pages.explore.feature_maps import feature_maps_panel
from explorer.pages.explore.filter_panel import filter_panel, follow
from explorer.pages.explore.granularity_panel import granularity_panel
from explorer.session.notices import show_errors
from explorer.texts.help import HELP
from pruning_core.plan import Plan
from pruning_core.types import Layer
from pruning_core.workspace import Workspace

VIEWS: dict[str, tuple[Callable[[Plan, Workspace, Layer, str | None], None], str]] = {
    "Granularities": (
        granularity_panel,
        "The same share of this layer cut in every shape, and what each shape costs.",
    ),
    "Activations": (
        feature_maps_panel,
        "What the layer says about one image, before and after the whole network is pruned.",
    ),
    "Dropout": (
        dropout_panel,
        "What training with Dropout or DropConnect would drop here, pass by pass.",
    ),
    "Filters": (
        filter_panel,
        "One filter (one output of the layer): its weights, and how every criterion ranks it.",
    ),
}
HINT = (
    "Choose one: how much the shape of a cut matters here, what the layer makes of an image, what dropping at random does, or "
    "what one filter is worth."
)


@st.fragment(parallel=True)
def look_closer(
    plan: Plan, space: Workspace, layer: Layer, refusal: str | None, chosen: int | None = None
) -> None:
    """Draws the choice and what was chosen. refusal: why the plan cannot cut the layer; chosen: the
    filter to show.

    Runs beside the rest of the page, which does not wait for it.
    """
    follow(layer, chosen)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    view = row.segmented_control(
        "Look closer", tuple(VIEWS), key="closer", bind="query-params", help=HELP["closer"]
    )
    draw, hint = VIEWS.get(view or "", (None, HINT))
    st.caption(hint)
    if draw is not None:
        body = st.container()
        with (
            row,
            st.spinner("Computing …"),
            body,
            show_errors(),
        ):  # the wait is told beside the choice, so that nothing moves
            draw(plan, space, layer, refusal)
