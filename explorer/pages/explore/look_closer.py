""" "Look closer" at the chosen layer: nothing is computed before the user chooses a view."""

from collections.abc import Callable

import streamlit as st

from explorer.pages.explore.dropout_panel import dropout_panel
from explorer.pages.explore.feature_maps import feature_maps_panel
from explorer.pages.explore.filter_panel import filter_panel, follow
from explorer.pages.explore.granularity_panel import granularity_panel
from explorer.pages.explore.layer_details import filter_of
from explorer.session import cache, state
from explorer.session.address_choice import address_choice
from explorer.session.notices import show_errors
from explorer.session.page_body import part
from explorer.session.shown_layer import shown_layer
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _
from pruning_core.granularity import granularity
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

SCROLL = """<script>
const choice = document.querySelector('.st-key-closer')
if (choice) {
  const page = choice.closest('[data-testid=stMainBlockContainer]')
  const above = [...page.querySelectorAll('.st-key-network_map, .st-key-lab')]
  let acted = false
  const act = () => {
    acted = true
    delete page.dataset.leads
  }
  for (const input of ['wheel', 'touchstart', 'pointerdown', 'keydown'])
    addEventListener(input, act, { once: true, capture: true })
  const drawn = each => [...each.querySelectorAll('[data-worded]')].some(
    host => host.shadowRoot?.querySelector('[data-drawn]'))
  const late = () => [...page.querySelectorAll('[data-testid=stSkeleton]')].some(
    each => each.compareDocumentPosition(choice) & Node.DOCUMENT_POSITION_FOLLOWING)
  const lead = (_, observer) => acted ? observer.disconnect() : choice.scrollIntoView()
  const begin = () => {
    if (acted || !choice.isConnected) return
    if (late() || !above.every(drawn)) requestAnimationFrame(begin)
    else new ResizeObserver(lead).observe(page)
  }
  choice.style.scrollMarginTop = '5rem'
  page.dataset.leads = ''
  begin()
}
</script>"""
"""A link to a view leads to it: it is far below the first screen. It waits until all above the view
is drawn and no grey box is left there: a part that grows would move the view. The page stays at the
view while it grows, until the user does something."""
DRAWN = '<i class="pe-closer-drawn" hidden></i>'
"""Stands after the view. Until then, page.css hides what follows on the page, which would move. It
is also hidden while a grey box stands in the view that a link leads to."""


@part("look_closer", parallel=True)
def look_closer(plan: Plan, space: Workspace) -> None:
    """Draws the choice of a view and the view, of the layer that the page shows."""
    try:
        layer = shown_layer(plan, space)
        refusal = cache.prunable(plan, space)[1].get(layer.name)
        chosen = None if refusal else _selected_filter(plan, layer)
        closer_look(plan, space, layer, refusal, chosen)
    finally:
        st.html(DRAWN)


def closer_look(
    plan: Plan, space: Workspace, layer: Layer, refusal: str | None, chosen: int | None = None
) -> None:
    """refusal: why the plan cannot prune the layer; chosen: the filter to show."""
    follow(layer, chosen)
    row = st.container(horizontal=True, vertical_alignment="bottom")
    view = row.segmented_control(
        _("Look closer"),
        tuple(VIEWS),
        format_func=_,
        help=HELP["closer"],
        **address_choice("closer", {name: name for name in VIEWS}, None),
    )
    if view and state.arrived_with("closer") == view and not state.arrived_with("lesson_title"):
        row.html(SCROLL, unsafe_allow_javascript=True)
    draw, hint = VIEWS.get(view or "", (None, HINT))
    st.caption(_(hint))
    body = st.container()  # also without a view: what follows keeps its place in the part
    if draw is not None:
        # The spinner is beside the choice, so that nothing below moves.
        with row, st.spinner(_("Computing …")), body, show_errors():
            draw(plan, space, layer, refusal)


def _selected_filter(plan: Plan, layer: Layer) -> int | None:
    """The filter of the group that was selected last in the lab, if it is in this layer."""
    name, granularity_name, scope, group = state.stored("group", ("", "", 0, 0))
    return (
        filter_of(layer, granularity(granularity_name), scope, group)
        if (name, granularity_name) == (layer.name, plan.granularity)
        else None
    )
