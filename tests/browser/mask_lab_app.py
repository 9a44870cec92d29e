"""The mask lab alone on a page, with a random layer: ?shape=8x4x3x3&g=kernel&levels=5 (few levels of score make many ties).

More: kind, heads, ratio, seed; plotly=1 draws the same array with Plotly instead; echo=0: the page ignores what the lab reports.
"""

import sys
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import streamlit as st
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from explorer.components.mask_lab import LabView, Result, lab_view, mask_lab
from explorer.palette import DIVERGING, PRUNED_CELL, scale
from pruning_core.granularity import Granularity, granularity, supports
from pruning_core.masks import group_scores, select
from pruning_core.types import Layer

torch.set_num_threads(1)


def asked(name: str, default: str) -> str:
    return str(st.query_params.get(name, default))


def layer_of(text: str) -> Layer:
    o, i, h, w = (int(side) for side in text.split("x"))
    kind = asked("kind", "linear" if h * w == 1 else "conv2d")
    stored = (o, i) if h * w == 1 else (o, i, h, w)
    return Layer("demo.weight", "demo", kind, (o, i, h, w), stored, heads=int(asked("heads", "0")))


def tensors(layer: Layer, g: Granularity) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A weight, and group scores in a few levels, for ties."""
    rng = torch.Generator().manual_seed(int(asked("seed", "0")))
    weight = torch.randn(layer.shape, generator=rng) * torch.linspace(1.6, 0.4, layer.shape[1])[:, None, None]
    if supports(g, layer) is not None:
        return weight, None
    levels = int(asked("levels", "0"))
    scores = (weight.abs() * levels / 4).round() / levels if levels else weight
    return weight, group_scores({layer.name: scores}, (layer,), g, "mean_abs")[layer.name]


@st.cache_resource
def prepared(key: str) -> tuple[LabView, torch.Tensor, torch.Tensor | None]:
    layer, g = layer_of(asked("shape", "8x4x3x3")), granularity(asked("g", "kernel"))
    weight, scores = tensors(layer, g)
    return lab_view(layer, weight, scores, g), weight, scores


def reported(result: Result) -> None:
    if asked("echo", "1") == "0":
        return
    if result.ratio is not None:
        st.session_state["ratio"] = result.ratio
    if result.edits is not None:
        st.session_state["edits"] = result.edits


def plotly(weight: torch.Tensor, scores: torch.Tensor, layer: Layer, g: Granularity) -> None:
    """The best that a slider and a Plotly heatmap can do with the same array: weights, pruned cells NaN on grey."""
    ratio = st.slider("Remove", 0, 100, 50) / 100
    kept = select({layer.name: scores}, (layer,), g, {layer.name: ratio})[layer.name]
    z = np.where(kept, weight, np.nan)[:, :, 0, 0].astype(np.float32)
    figure = go.Figure(go.Heatmap(z=z, colorscale=scale(DIVERGING), zmid=0))
    figure.update_layout(height=560, plot_bgcolor=PRUNED_CELL)
    st.plotly_chart(figure, key="heatmap")


st.set_page_config(page_title="Mask lab", layout="wide")
st.session_state["runs"] = st.session_state.get("runs", 0) + 1
view, weight, scores = prepared(str(st.query_params.to_dict()))
if asked("plotly", "0") == "1" and scores is not None:
    plotly(weight, scores, layer_of(asked("shape", "8x4x3x3")), granularity(asked("g", "kernel")))
else:
    st.session_state.setdefault("ratio", float(asked("ratio", "0.5")))
    st.session_state.setdefault("edits", ())
    if st.button("Python says 25%"):
        st.session_state["ratio"] = 0.25
    found = mask_lab(view, ratio=st.session_state["ratio"], edits=st.session_state["edits"], key="lab", on_report=reported)
    ratio, edits = st.session_state["ratio"], [list(edit) for edit in st.session_state["edits"]]
    st.text(f"runs {st.session_state['runs']} | ratio {ratio} | edits {edits}")
    st.text(f"found {found.ratio} {found.edits} {found.selected}")
