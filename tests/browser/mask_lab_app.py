"""The mask lab alone on a page, with a random layer: ?shape=8x4x3x3&g=kernel&levels=5 (few levels
of score make many ties).

More: kind, heads, ratio, seed, edits; plotly=1 draws the same array with Plotly instead; echo=0:
the page ignores what the lab reports; deep=0: a reduced layer without its single weights; slow=1: a
second per run; wait=1: the layer is shown when a switch is pressed (turn=2: once more from the
start); away=1: a switch takes it away; waiting=2: as many edits that cannot be used; two more
switches negate the scores, and say that the layer is another network's; visit=2: once more from
the start, without loading the page again.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from explorer.charts.palette import DIVERGING, PRUNED_CELL, scale
from explorer.components.mask_lab import Edit, LabDetail, LabView, Result, lab_view, mask_lab
from pruning_core.granularity import Granularity, granularity, supports
from pruning_core.masks import group_scores, select
from pruning_core.types import Layer
from tests.browser.mask_lab_counts import counts
from tests.browser.visits import begin_visit

torch.set_num_threads(1)


def asked(name: str, default: str) -> str:
    return str(st.query_params.get(name, default))


def edits_of(text: str) -> tuple[Edit, ...]:
    """scope.group.keep, comma between them: 0.17.1,0.4.0"""
    return tuple(
        Edit(int(scope), int(group), keep == "1")
        for scope, group, keep in (each.split(".") for each in text.split(",") if each)
    )


def layer_of(text: str) -> Layer:
    o, i, h, w = (int(side) for side in text.split("x"))
    kind = asked("kind", "linear" if h * w == 1 else "conv2d")
    stored = (o, i) if h * w == 1 else (o, i, h, w)
    return Layer("demo.weight", "demo", kind, (o, i, h, w), stored, heads=int(asked("heads", "0")))


def tensors(layer: Layer, g: Granularity) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A weight, and group scores in a few levels, for ties."""
    rng = torch.Generator().manual_seed(int(asked("seed", "0")))
    weight = torch.randn(layer.shape, generator=rng).mul_(
        torch.linspace(1.6, 0.4, layer.shape[1])[:, None, None]
    )
    if supports(g, layer) is not None:
        return weight, None
    levels = int(asked("levels", "0"))
    scores = (weight.abs() * levels / 4).round() / levels if levels else weight
    return weight, group_scores({layer.name: scores}, (layer,), g, "mean_abs")[layer.name]


@st.cache_resource(max_entries=2)
def made(key: str) -> LabDetail:
    layer = layer_of(asked("shape", "8x4x3x3"))
    g = granularity(asked("g", "kernel"))
    return LabDetail(layer, *tensors(layer, g), g)


@st.cache_resource(max_entries=20)
def seen(key: str, _found: LabDetail) -> LabView:
    return lab_view(_found.layer, _found.weight, _found.scores, _found.g)


def reported(result: Result) -> None:
    if asked("echo", "1") == "0":
        return
    if result.ratio is not None:
        st.session_state["ratio"] = result.ratio
    if result.edits is not None:
        st.session_state["edits"] = result.edits
        st.session_state["waiting"] = 0


def plotly(weight: torch.Tensor, scores: torch.Tensor, layer: Layer, g: Granularity) -> None:
    """The best that a slider and a Plotly heatmap can do with the same array: weights, pruned cells
    NaN on grey.
    """
    ratio = st.slider("Remove", 0, 100, 50) / 100
    kept = select({layer.name: scores}, (layer,), g, {layer.name: ratio})[layer.name]
    z = np.where(kept, weight, np.nan)[:, :, 0, 0].astype(np.float32)
    figure = go.Figure(go.Heatmap(z=z, colorscale=scale(DIVERGING), zmid=0))
    figure.update_layout(height=560, plot_bgcolor=PRUNED_CELL)
    st.plotly_chart(figure, key="heatmap")


st.set_page_config(page_title="Mask lab", layout="wide")
visit = begin_visit()
LAYER = ("shape", "kind", "heads", "seed", "g", "levels")
address = str([asked(name, "") for name in LAYER])
detail = made(address)
if asked("plotly", "0") == "1" and detail.scores is not None:
    plotly(detail.weight, detail.scores, detail.layer, detail.g)
elif (asked("wait", "0") == "0" or st.toggle("Show the layer", key=f"show {visit}")) and not (
    asked("away", "0") == "1" and st.toggle("Away", key=f"away {visit}")
):
    st.session_state.setdefault("ratio", float(asked("ratio", "0.5")))
    st.session_state.setdefault("edits", edits_of(asked("edits", "")))
    if st.button("Python says 25%"):
        st.session_state["ratio"] = 0.25
    time.sleep(float(asked("slow", "0")))
    st.session_state.setdefault("waiting", int(asked("waiting", "0")))
    other = st.toggle("Other scores", key=f"scores {visit}")
    if other and detail.scores is not None:
        detail = replace(detail, scores=-detail.scores)
    other_network = st.toggle("Other network", key=f"network {visit}")
    network = f"{'two' if other_network else 'one'} of visit {visit}"
    view = seen(f"{address} {other}", detail)
    ratio, edits, waiting = (st.session_state[name] for name in ("ratio", "edits", "waiting"))
    deep = detail if asked("deep", "1") == "1" else None
    found = mask_lab(
        view,
        ratio=ratio,
        edits=edits,
        key=f"lab{visit}",
        on_report=reported,
        detail=deep,
        waiting=waiting,
        network=network,
    )
    st.text(
        f"runs {st.session_state['runs']} | ratio {ratio} | edits {[list(edit) for edit in edits]}"
    )
    st.text(f"found {found.ratio} {found.edits} {found.selected}")
    places = detail.places(edit.scope * view.groups + edit.group for edit in edits)
    st.text(f"Python counts {counts(view, detail.g, ratio, edits, places).weights:,} weights")
st.text(f"visit {visit}")
