"""Says what a network without filters of the chosen layer would be, where it is not the same."""

import streamlit as st

from explorer.texts.translate import _, from_core
from pruning_core.granularity import granularity
from pruning_core.plan import Plan
from pruning_core.tied_layers import unequal_couplings, unequal_note
from pruning_core.types import Layer
from pruning_core.workspaces import Workspace


def tied_caption(plan: Plan, space: Workspace, layer: Layer) -> None:
    """Draws the note, or the reason why there is no thinner network, where filters are removed."""
    if not granularity(plan.granularity).ties_layers:
        return
    known = space.with_norms(plan.norms).tied[0]
    coupling = next((tied for tied in known if layer.name in tied.layers), None)
    if coupling is None:
        return
    if coupling.reason is not None:
        words = _(
            "Without filters of {layer} no thinned network is known. {reason}",
            layer=layer.name,
            reason=from_core(coupling.reason),
        )
        st.caption(words)
        return
    if coupling.note is not None:
        st.caption(from_core(coupling.note))
    alone = unequal_note(unequal_couplings((coupling,)))
    if plan.tied and alone is not None:
        st.caption(from_core(alone))
