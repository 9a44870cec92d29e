""" "Look closer" at the chosen layer: nothing is computed before the user chooses a view."""

from collections.abc import Callable

import streamlit as st

from explorer.pages.explore.dropout_panel import dropout_panel
from explorer.pages.explore.feature_maps import feature_maps_panel
from explorer.pages.explore.filter_panel import filter_panel, follow
from explorer.pages.explore.granularity_panel import granularity_panel
from explorer.session.address_choice import address_choice
from explorer.session.kernel_threads import with_kernel_threads
from explorer.session.notices import show_errors
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _
from pruning_core.plan import Plan
from pruning_core.types import Layer
from pruning_core.workspaces import Workspace

VIEWS: dict[str, tuple[Callable[[Plan, Workspace, Layer, str | None], None], str]] = {
    N_("Granularities"): (
        granularity_panel,
        N_(
            "The same ratio of this layer removed by every granularity, with the measured accuracy."
        ),
    ),
    N_("Activations"): (
        feature_maps_panel,
        N_("The layer's activations for one image, before and after the whole network is pruned."),
    ),
    N_("Dropout"): (
        dropout_panel,
        N_("What Dropout or DropConnect would drop here in training, pass by pass."),
    ),
    N_("Filters"): (
        filter_panel,
        N_(
            "One filter (one output of the layer): its weights, and its rank under every criterion."
        ),
    ),
}
HINT = N_(
    "Choose a view: all granularities on this layer, its activations for one input, "
    "random dropping, or one filter."
)


@st.fragment(parallel=True)
@with_kernel_threads
def look_closer(
    plan: Plan, space: Workspace, layer: Layer, refusal: str | None, chosen: int | None = None
) -> None:
    """Draws the choice of a view and the view.

    refusal: why the plan cannot prune the layer; chosen: the filter to show. It runs in parallel
    with the rest of the page.
    """
    follow(layer, chosen)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    view = row.segmented_control(
        _("Look closer"),
        tuple(VIEWS),
        format_func=_,
        help=HELP["closer"],
        **address_choice("closer", {name: name for name in VIEWS}, None),
    )
    draw, hint = VIEWS.get(view or "", (None, HINT))
    st.caption(_(hint))
    if draw is not None:
        body = st.container()
        # The spinner is beside the choice, so that nothing below moves.
        with row, st.spinner(_("Computing …")), body, show_errors():
            draw(plan, space, layer, refusal)
