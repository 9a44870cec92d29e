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

PLAYING = "film plays"
"""Stored: the key of the slider that moves by itself."""
REWOUND = "film rewound"
"""Stored: does the film begin at its start in the next run?"""
SECONDS = 0.7
"""Between two mask updates of a film that plays."""


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
    state.set_widget("flow_layer", layer.name)
    st.selectbox(
        _("Layer"),
        [other.name for other in space.layers],
        key="flow_layer",
        help=HELP["flow_layer"],
        on_change=_layer_chosen,
        width=330,
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
    # Each new update makes a new slider, which starts at the newest.
    key = f"flow_moment_{run.id[:8]}_{len(history) - 1}"
    plays = state.stored(PLAYING, "") == key
    film = st.fragment(_film, run_every=SECONDS if plays else None)
    total = updates[-1].total if run.active else len(updates)
    film(key, updates, history, total)


def _film(key: str, updates: Sequence[MaskUpdate], history: History, total: int) -> None:
    """The mask at one update. While it plays, each run of this fragment shows the next one."""
    last = len(history) - 1
    plays = state.stored(PLAYING, "") == key
    number = state.widget_value(key, last)
    if state.stored(REWOUND, False):
        number = 0
        state.store(REWOUND, False)
    elif plays and number < last:
        number += 1
    state.set_widget(key, number)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label, icon = (_("Pause"), "pause") if plays else (_("Play"), "play_arrow")
        pressed = st.button(label, key="flow_film", icon=f":material/{icon}:")
        number = st.slider(_("Mask update"), 0, last, key=key, help=HELP["flow_moment"])
    figure = mask_over_time(history, number)
    st.plotly_chart(figure, key="flow_mask", alt=alt(figure), config={"displayModeBar": False})
    st.caption(_update_words(updates, number, total, history.layer))
    ended = plays and number == last
    if pressed or ended:
        _play("" if plays else key, last)
        st.rerun()


def _play(key: str, last: int) -> None:
    """Plays the film of that key, from its start if it is at its end; "" stops it."""
    state.store(PLAYING, key)
    if key and state.widget_value(key, last) == last:
        state.store(REWOUND, True)


def _update_words(updates: Sequence[MaskUpdate], number: int, total: int, layer: str) -> str:
    """What the picture of a mask update shows. total: of the whole run, also while it runs."""
    if not number:
        return _("Before the first mask update no weight is removed.")
    update = updates[number - 1]
    measured = update.evaluation
    task = measured.task
    return _(
        "Mask update {number} of {total}, after {steps:,} steps: {removed} of {layer} removed, "
        "{name} {value} (95%: {ends}) on {n:,} probe {samples}. The smallest "
        "squares are weights; a block of them is a kernel. Filters go downwards, input channels "
        "across, as in the mask lab.",
        number=number,
        total=total,
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
