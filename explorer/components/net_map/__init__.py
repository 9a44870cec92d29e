"""The network map: a box per layer in data-flow order. A click or the arrow keys choose a layer.

    view = map_view(network, layers)  # depends on the network alone
    net_map(view, chosen=name, kept=report.kept, sensitivity=None, key="map", on_select=choose)

Repeated blocks are one box until the user opens them, in the browser, which keeps them open while
other pages are shown. The message has a few kB and
the same bytes while nothing changes. A choice is reported once.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import streamlit as st

from explorer.components.choice import chosen_name
from explorer.components.data_numbers import data_number
from explorer.components.net_map.view import MapView, map_view
from explorer.components.net_map.words import words
from explorer.components.scripts import joined
from explorer.session import state
from explorer.texts.translate import from_core
from pruning_core.tasks import CLASSIFICATION, Task

__all__ = ["MapView", "map_view", "message", "net_map", "source"]

FOLDER = Path(__file__).parent
NOT_KNOWN: Mapping[str, int] = {}
SCRIPTS = (
    "../latest_call.js",
    "../choice.js",
    "../numbers.js",
    "../words.js",
    "graph.js",
    "layout.js",
    "draw.js",
    "map.js",
)


def source() -> str:
    """The component's script: its files joined into one module."""
    return joined(FOLDER, SCRIPTS)


_MAP = st.components.v2.component(
    "pruning_net_map",
    html=(FOLDER / "map.html").read_text(encoding="utf-8"),
    css=(FOLDER / "map.css").read_text(encoding="utf-8"),
    js=source(),
)


def net_map(
    view: MapView,
    *,
    chosen: str,
    kept: Mapping[str, float],
    sensitivity: Mapping[str, float] | None,
    key: str,
    on_select: Callable[[str], None],
    cut_at: str = "",
    task: Task = CLASSIFICATION,
    outputs: Mapping[str, int] = NOT_KNOWN,
) -> None:
    """Draws the map with the chosen layer outlined.

    kept: share of each layer's weights, in [0, 1]; a layer that is not in it cannot be pruned.
    sensitivity: how much of the task's value each layer loses when pruned alone.
    task: says how the value is called and shown.
    outputs: how many outputs a layer has in the thinned network, where that is known.
    cut_at: the sparsity at which the sensitivity was measured, as text.
    on_select: called with the layer that the user chose, before the script runs.
    """

    def selected() -> None:
        if (name := chosen_name(state.widget_value(key, None), view.names)) is not None:
            on_select(name)

    data = message(view, chosen, kept, sensitivity, cut_at, task, outputs)
    data |= {"words": words(), "key": key}
    _MAP(
        data=data | {"number": data_number(key, data)},
        key=key,
        on_selected_change=selected,
    )


def message(
    view: MapView,
    chosen: str,
    kept: Mapping[str, float],
    sensitivity: Mapping[str, float] | None,
    cut_at: str,
    task: Task = CLASSIFICATION,
    outputs: Mapping[str, int] = NOT_KNOWN,
) -> dict[str, object]:
    """The message: the map, and a number or None for each layer in the order of the boxes."""
    hurts = None if sensitivity is None else [sensitivity.get(name) for name in view.names]
    return {
        "map": view.data,
        "chosen": chosen,
        "kept": [kept.get(name) for name in view.names],
        "hurts": hurts,
        "outputs": [outputs.get(name) for name in view.names],
        "cutAt": cut_at,
        "value": {
            "label": from_core(task.value_label),
            "percent": task.percent,
            "rises": task.sign > 0,
        },
    }
