"""Weights and mask of one layer side by side: the whole layer, or a close-up of a large one, weight by weight."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer import state
from explorer.charts import alt, mask_heatmap, robust_limit, weight_heatmap
from explorer.layer_facts import CORNER, LayerFacts
from explorer.text import HELP
from explorer.tiles import Tiles, crop, reduce, tile

HOVER_CELLS = 36_000
"""Up to this many cells a picture answers the pointer without slowing the page; larger ones are reduced to it."""
WINDOW = 60
"""Cells on a side of a close-up."""
PANEL, FRAME = 430, 96
"""Pixels: width that a square picture gets beside its twin, and height of what is around it."""
WHOLE, CLOSE = "Whole layer", "Close-up"


@dataclass(frozen=True, eq=False)
class Picture:
    """What is drawn: tiles and, laid out alike, what is kept and each weight's group score; and a sentence about it."""

    tiles: Tiles
    kept: np.ndarray
    scores: np.ndarray | None
    note: str


@st.fragment
def layer_pictures(facts: LayerFacts) -> None:
    """Draws both pictures and, for a large layer, the choice between whole and close-up."""
    picture = _picture(facts)
    name = facts.layer.name
    weights = weight_heatmap(picture.tiles, picture.kept, robust_limit(facts.weight), picture.scores, name=name)
    mask = mask_heatmap(picture.tiles, picture.kept, name=name)
    pair = st.grid(2, min_column_width=320)
    with pair.cell():
        st.markdown("**Weights**", help=HELP["weights"])
        _draw(weights, picture.tiles, "weights")
    with pair.cell():
        st.markdown("**Mask**", help=HELP["mask"])
        _draw(mask, picture.tiles, "mask")
    st.caption(picture.note)


def _draw(figure: go.Figure, tiles: Tiles, key: str) -> None:
    """One height for both, from the picture's form alone, so that nothing moves when masks change."""
    form = float(tiles.row_edges[-1] / tiles.col_edges[-1])
    figure.update_layout(height=int(np.clip(PANEL * form, 90, PANEL * 1.3)) + FRAME)
    st.plotly_chart(figure, key=key, config={"displayModeBar": False}, alt=alt(figure))


def _picture(facts: LayerFacts) -> Picture:
    tiles = tile(facts.weight, facts.ids)
    part = "" if facts.whole else f"Only the first {CORNER} filters and channels of this very large layer are drawn. "
    if tiles.values.size <= HOVER_CELLS:
        return Picture(tiles, facts.kept, facts.scores, f"{part}Every weight is a cell: point at one for its numbers.")
    row = st.container(horizontal=True, vertical_alignment="bottom")
    view = row.segmented_control(
        "Large layer", (WHOLE, CLOSE), default=WHOLE, key="view", bind="query-params", help=HELP["view"], required=True
    )
    if view == CLOSE:
        return _close_up(row, facts, tiles)
    small = _evenly_reduced(tiles)
    down, across = small.factors
    note = f"Downsampled: a cell is the mean |weight| of {down} × {across} weights, greyed by the share removed."
    return Picture(small, facts.kept, facts.scores, f"{part}{note} *{CLOSE}* shows every weight.")


def _evenly_reduced(tiles: Tiles) -> Tiles:
    """The picture in at most HOVER_CELLS cells that stand for about as many weights down as across, so that it keeps its form."""
    limit = HOVER_CELLS
    small = reduce(tiles, limit)
    while max(small.factors) > 2 * min(small.factors) and limit > HOVER_CELLS // 8:
        limit //= 2
        small = reduce(tiles, limit)
    return small


def _close_up(row: DeltaGenerator, facts: LayerFacts, tiles: Tiles) -> Picture:
    """A window of whole filters and channels, placed by number, so that the keyboard can move it too."""
    o, i, h, w = tiles.shape
    filters, channels = min(o, max(1, WINDOW // h)), min(i, max(1, WINDOW // w))
    top = _corner(row, "From filter", "from_filter", o - filters, filters)
    left = _corner(row, "From channel", "from_channel", i - channels, channels)
    rows, cols = slice(top, top + filters), slice(left, left + channels)
    scores = None if facts.scores is None else facts.scores[rows, cols]
    note = (
        f"Filters {top} to {top + filters - 1} of {o}, channels {left} to {left + channels - 1} of {i}; every weight is a cell."
    )
    return Picture(crop(tiles, rows, cols), facts.kept[rows, cols], scores, note)


def _corner(row: DeltaGenerator, label: str, key: str, most: int, step: int) -> int:
    """The first filter or channel of the window; a forged or left-over number is brought back into the layer."""
    state.seed(key, min(max(0, int(state.widget(key, 0))), most))
    return int(row.number_input(label, 0, most, step=min(step, max(1, most)), key=key, width=170, disabled=most == 0))
