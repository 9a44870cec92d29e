"""The network map alone on a page, for networks too large for the app's tests: ?model=resnet50
(torchvision, all weights zero).

More: hurts=1 gives every layer a sensitivity; unprunable=1: no layer can be pruned; untraced=1
shows call order; visit=2: once more from the start, without loading the page again.
"""

import sys
from dataclasses import replace
from pathlib import Path

import streamlit as st
import torch
from torchvision.models import get_model

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from explorer.components.net_map import MapView, map_view, net_map
from pruning_core.model.inventory import inventory
from pruning_core.model.layer_graph import network_map
from pruning_core.zoo.models import ARCHITECTURES
from tests.browser.visits import begin_visit

torch.set_num_threads(1)


def zeros(name: str) -> torch.nn.Module:
    """A network of torchvision: random weights take a second, and the map shows none."""
    with torch.device("meta"):
        model: torch.nn.Module = get_model(name, weights=None)
    model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.detach().zero_()
    return model


@st.cache_resource
def prepared(name: str, untraced: bool) -> MapView:
    torch.manual_seed(0)
    small = name in ARCHITECTURES
    shape = (1, 8, 8) if small else (3, 64, 64) if "vit" not in name else (3, 224, 224)
    model = (ARCHITECTURES[name].build((1, 8, 8), 10) if small else zeros(name)).eval()
    layers = inventory(model, shape)
    found = network_map(model, layers)
    nodes = tuple(
        replace(node, column=at, row=0)
        for at, node in enumerate(n for n in found.nodes if n.role == "layer")
    )
    return map_view(
        replace(found, nodes=nodes, edges=(), reason="a test") if untraced else found, layers
    )


def chose(name: str) -> None:
    st.session_state["chosen"] = name


st.set_page_config(page_title="Network map", layout="wide")
visit = begin_visit()
view = prepared(
    str(st.query_params.get("model", "resnet50")), st.query_params.get("untraced") == "1"
)
st.session_state.setdefault("chosen", view.names[0])
if st.button("Python says the last"):
    chose(view.names[-1])
kept = {name: 1 - (n * 37 % 100) / 100 for n, name in enumerate(view.names) if n % 9 != 5}
if st.button("Keep a quarter"):
    kept = dict.fromkeys(kept, 0.25)
if st.query_params.get("unprunable") == "1":
    kept = {}
hurts = (
    {name: (n * 53 % 71) / 100 - 0.02 for n, name in enumerate(view.names)}
    if st.query_params.get("hurts") == "1"
    else None
)
net_map(
    view,
    chosen=st.session_state["chosen"],
    kept=kept,
    sensitivity=hurts,
    cut_at="80%",
    key=f"map{visit}",
    on_select=chose,
    outputs={"layer3.0.conv1.weight": 41, "layer3.0.conv2.weight": 64},
)
st.text(f"runs {st.session_state['runs']} | chosen {st.session_state['chosen']}")
st.text(f"visit {visit}")
