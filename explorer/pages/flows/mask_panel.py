"""What a flow removed at each mask update, and one layer's mask over time."""

from collections.abc import Sequence

import streamlit as st

from explorer.charts import alt, mask_over_time, mask_update_chart
from explorer.jobs.job import Snapshot
from explorer.pages.flows.run import mask_history
from explorer.session import state
from explorer.texts.formats import interval_words, percent, title, value_text
from explorer.texts.help import HELP
from explorer.texts.translate import _, from_core
from explorer.training.engine import MaskUpdate, mask_updates_of
from pruning_core.flows import History
from pruning_core.types import Evaluation, Layer
from pruning_core.workspaces import Workspace


def updates_panel(updates: Sequence[MaskUpdate], dense: Evaluation, layer: str) -> None:
    """The removed fraction and the accuracy at each mask update; nothing for fewer than two."""
    if len(updates) < 2:
        return
    st.subheader(_("Mask updates"), anchor=False, help=HELP["flow_moment"])
    measured = [dense, *(update.evaluation for update in updates)]
    figure = mask_update_chart(
        [0.0, *(update.removed for update in updates)],
        measured,
        [0.0, *(update.layers.get(layer, 0.0) for update in updates)],
        layer,
    )
    st.plotly_chart(figure, key="flow_moments", alt=alt(figure), config={"displayModeBar": False})
    st.caption(
        _(
            "{value} on {n:,} probe {samples}, with 95% intervals, before the training continues.",
            value=title(dense.task),
            n=dense.n,
            samples=from_core(dense.task.samples),
        )
    )


def mask_panel(run: Snapshot, space: Workspace, layer: Layer) -> None:
    """The layer's mask, with a slider over the mask updates."""
    updates = mask_updates_of(run.events)
    if not updates:
        return
    st.subheader(_("One layer's mask over time"), anchor=False)
    layer_column, slider_column = st.columns([1, 2], vertical_alignment="bottom")
    state.set_widget("flow_layer", layer.name)
    layer_column.selectbox(
        _("Layer"),
        [other.name for other in space.layers],
        key="flow_layer",
        help=HELP["flow_layer"],
        on_change=_layer_chosen,
    )
    history = mask_history(updates, layer)
    if history is None:
        st.info(
            _(
                "The masks of this layer were not recorded: it was never pruned, or the network is "
                "too large to record all layers. Choose the layer before you run the flow."
            )
        )
        return
    with slider_column:
        number = _update_slider(run, history)
    figure = mask_over_time(history, number)
    st.plotly_chart(figure, key="flow_mask", alt=alt(figure), config={"displayModeBar": False})
    st.caption(_update_words(updates, number, layer.name))


def _update_slider(run: Snapshot, history: History) -> int:
    """The chosen mask update. Each new update makes a new slider, which starts at the newest."""
    last = len(history) - 1
    key = f"flow_moment_{run.id[:8]}_{last}"
    return st.slider(_("Mask update"), 0, last, last, key=key, help=HELP["flow_moment"])


def _update_words(updates: Sequence[MaskUpdate], number: int, layer: str) -> str:
    """What the picture of a mask update shows."""
    if not number:
        return _("Before the first mask update no weight is removed. Move the slider.")
    update = updates[number - 1]
    measured = update.evaluation
    task = measured.task
    return _(
        "Mask update {number} of {total}, after {steps:,} steps: {removed} of {layer} removed, "
        "{name} {value} (95%: {ends}) on {n:,} probe {samples}. One square is one weight. Filters "
        "follow each other downwards, then in the next column.",
        number=number,
        total=len(updates),
        steps=update.steps,
        removed=percent(update.layers.get(layer, 0.0)),
        layer=layer,
        name=from_core(task.value_label),
        value=value_text(measured.value, task),
        ends=interval_words(measured.interval, task),
        n=measured.n,
        samples=from_core(task.samples),
    )


def _layer_chosen() -> None:
    state.select_layer(state.widget_value("flow_layer", None))
