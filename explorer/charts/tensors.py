"""Weights and masks as pictures: cells with hover up to MAX_CELLS, pixels beyond."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from explorer.charts.style import finish, percent
from explorer.palette import DIVERGING, KEPT_CELL, MAGNITUDE, PRUNED_CELL, PRUNED_MARK, scale
from explorer.raster import data_uri, hatch_png, weights_png
from explorer.tiles import Tiles, lay, reduce

MAX_CELLS = 65_536
MAX_MARKS = 400
MAX_MARKED_SIDE = 40
MAX_PIXELS = 4_000_000
STRIP = 42
"""Pixels above the picture for the legend and the colour bar, kept free in every figure so that neighbours have one size."""
FLAT = scale((PRUNED_CELL, PRUNED_CELL))


def robust_limit(*weights: np.ndarray, percentile: float = 99.5) -> float:
    """The |weight| of full colour: a percentile over all the tensors, so that before and after share one scale; never 0."""
    magnitudes = np.concatenate([np.abs(w[np.isfinite(w)]).ravel() for w in weights])
    limit = float(np.percentile(magnitudes, percentile)) if magnitudes.size else 0.0
    return limit if limit > 0 else 1.0


def weight_heatmap(
    tiles: Tiles, kept: np.ndarray, limit: float, scores: np.ndarray | None = None, *, name: str = ""
) -> go.Figure:
    """Weights in PuOr around zero, pruned cells grey and crossed or hatched. kept, scores: O I H W; limit: of full colour.

    scores: each weight's group score, for the hover. A reduced picture shows mean magnitudes. Over MAX_CELLS: `weight_raster`.
    """
    if tiles.values.size > MAX_CELLS:
        return weight_raster(tiles, kept, limit, name=name)
    share = lay(tiles, kept)
    gone = share == 0
    facts, lines = _facts(tiles, share, scores)
    value = "mean |weight|" if tiles.reduced else "weight"
    figure = go.Figure()
    text = [f"{value} %{{z:.4g}}, <b>%{{text}}</b>", *lines]
    look = {**_colours(tiles, limit), "text": np.where(gone, "pruned", "kept")}
    _add_cells(figure, tiles, "weight", tiles.values, facts, text, look)
    cover = np.where(gone, np.float32(0), np.float32(np.nan))
    cells = {"x": tiles.col_edges, "y": tiles.row_edges, "z": cover}
    figure.add_heatmap(**cells, name="pruned", colorscale=FLAT, showscale=False, hoverinfo="skip")
    _mark(figure, tiles, gone)
    _legend(figure, pruned=PRUNED_CELL)
    return _picture(figure, tiles, _sentence("Weights", name, tiles, kept), f"tensor {name}")


def mask_heatmap(tiles: Tiles, kept: np.ndarray, *, name: str = "") -> go.Figure:
    """The mask: kept dark, pruned light and crossed or hatched; a reduced cell by its kept share. kept: O I H W, true = keep.

    A picture of more than MAX_CELLS is reduced first.
    """
    tiles = reduce(tiles, MAX_CELLS)
    share = lay(tiles, kept)
    facts, lines = _facts(tiles, share, None)
    text = ["kept share %{z:.0%}" if tiles.reduced else "kept (1) or pruned (0): %{z:.0f}", *lines]
    look = {"colorscale": scale((PRUNED_CELL, KEPT_CELL)), "zmin": 0, "zmax": 1, "showscale": False}
    figure = go.Figure()
    _add_cells(figure, tiles, "mask", share, facts, text, look)
    _mark(figure, tiles, share == 0)
    _legend(figure, kept=KEPT_CELL, pruned=PRUNED_CELL)
    return _picture(figure, tiles, _sentence("Mask", name, tiles, kept), f"tensor {name}")


def weight_raster(tiles: Tiles, kept: np.ndarray, limit: float, *, name: str = "") -> go.Figure:
    """A large layer as one image under the same axes: no hover, but every weight. Same colours and hatch as the heatmap.

    A picture of more than MAX_PIXELS cells is reduced first.
    """
    tiles = reduce(tiles, MAX_PIXELS)
    fits = int((MAX_PIXELS / (tiles.row_edges[-1] * tiles.col_edges[-1])) ** 0.5)
    look = _colours(tiles, limit)
    marker = {"color": [0.0], "cmin": look["zmin"], "cmax": look["zmax"], "showscale": True}
    marker |= {"colorscale": look["colorscale"], "colorbar": look["colorbar"]}
    figure = go.Figure(go.Scatter(x=[None], y=[None], mode="markers", marker=marker, showlegend=False))
    _add_image(figure, tiles, weights_png(tiles, kept, limit, min(4, max(1, fits))))
    _legend(figure, pruned=PRUNED_CELL)
    return _picture(figure, tiles, _sentence("Weights", name, tiles, kept), f"tensor {name}")


def _facts(tiles: Tiles, share: np.ndarray, scores: np.ndarray | None) -> tuple[np.ndarray, list[str]]:
    """What hovering tells of a cell besides its value: R x C x n numbers and the lines that print them."""
    o, i = np.meshgrid(tiles.rows[:, 0], tiles.cols[:, 0], indexing="ij")
    facts, lines = [o, i], ["filter %{customdata[0]}, channel %{customdata[1]}"]
    if tiles.reduced:
        lines[0] = "from filter %{customdata[0]}, channel %{customdata[1]} on"
        lines.append(f"kept share %{{customdata[{len(facts)}]:.0%}}")
        facts.append(share)
    elif tiles.shape[2:] != (1, 1):
        lines.append(f"row %{{customdata[{len(facts)}]}}, column %{{customdata[{len(facts) + 1}]}} of the kernel")
        facts += np.meshgrid(tiles.rows[:, 1], tiles.cols[:, 1], indexing="ij")
    if scores is not None:
        lines.append(f"group score %{{customdata[{len(facts)}]:.4g}}")
        facts.append(lay(tiles, scores))
    return np.stack(facts, axis=-1).astype(np.float32), lines


def _colours(tiles: Tiles, limit: float) -> dict[str, Any]:
    low, colours = (0.0, MAGNITUDE) if tiles.reduced else (-limit, DIVERGING)
    return {"colorscale": scale(colours), "zmin": low, "zmax": limit, "showscale": True, "colorbar": _bar(tiles)}


def _bar(tiles: Tiles) -> dict[str, Any]:
    """A flat bar above the picture, so that weights and mask side by side have one size."""
    place = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "top", "ypad": 0, "len": 0.5}
    text = {"title_text": "mean |w|" if tiles.reduced else "weight", "title_side": "right", "title_font_size": 13, "nticks": 5}
    return {**place, **text, "thickness": 8, "outlinewidth": 0}


def _add_cells(
    figure: go.Figure, tiles: Tiles, name: str, z: np.ndarray, facts: np.ndarray, text: list[str], look: dict[str, Any]
) -> None:
    cells = {"x": tiles.col_edges, "y": tiles.row_edges, "z": z, "customdata": facts, "hoverongaps": False}
    figure.add_heatmap(**cells, name=name, hovertemplate="<br>".join(text) + "<extra></extra>", **look)


def _mark(figure: go.Figure, tiles: Tiles, gone: np.ndarray) -> None:
    """Pruned cells are told by more than colour: a cross in each, or a hatch where there are many."""
    r, c = np.nonzero(gone)
    if len(r) > MAX_MARKS or max(gone.shape) > MAX_MARKED_SIDE:
        scale_ = int(min(8, max(3, (MAX_PIXELS / gone.size) ** 0.5)))
        _add_image(figure, tiles, hatch_png(tiles, gone, scale_))
        return
    x, y = (edges[:-1] + np.diff(edges) / 2 for edges in (tiles.col_edges, tiles.row_edges))
    symbol = {"symbol": "x-thin", "size": 7, "line": {"width": 1.5, "color": PRUNED_MARK}}
    figure.add_scatter(x=x[c], y=y[r], mode="markers", marker=symbol, hoverinfo="skip", showlegend=False, name="pruned marks")


def _legend(figure: go.Figure, **cells: str) -> None:
    line = {"color": PRUNED_MARK, "width": 1}
    for name, colour in cells.items():
        symbol = "square-x" if name == "pruned" else "square"
        mark = {"symbol": symbol, "size": 13, "color": colour, "line": line}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=mark, name=name, showlegend=True)


def _add_image(figure: go.Figure, tiles: Tiles, png: bytes) -> None:
    size = {"sizex": tiles.col_edges[-1], "sizey": tiles.row_edges[-1], "sizing": "stretch"}
    figure.add_layout_image(source=data_uri(png), xref="x", yref="y", x=0, y=0, layer="above", **size)


def _picture(figure: go.Figure, tiles: Tiles, sentence: str, revision: str) -> go.Figure:
    width, height = float(tiles.col_edges[-1]), float(tiles.row_edges[-1])
    cell = min(22.0, 640 / width, 560 / height)
    square = max(width, height) / min(width, height) < 4
    total = int(min(640, max(220, height * cell + 110)))
    finish(figure, sentence, total, revision)
    quiet = {"showgrid": False, "showline": False, "ticks": ""}
    top = 1 - STRIP / (total - 60)
    figure.update_xaxes(range=[0, width], title_text="input channel", **_ticks(tiles.cols, tiles.col_edges), **quiet)
    figure.update_yaxes(range=[height, 0], title_text="filter", **_ticks(tiles.rows, tiles.row_edges), **quiet, domain=[0, top])
    figure.update_layout(margin_t=8, legend={"y": 1, "yanchor": "top"})
    if square:
        figure.update_yaxes(scaleanchor="x", constrain="domain", constraintoward="top")
        figure.update_xaxes(constrain="domain", constraintoward="left")
    return figure


def _ticks(indices: np.ndarray, edges: np.ndarray, most: int = 9) -> dict[str, Any]:
    """Ticks in the middle of filters (channels), numbered as in the tensor, thinned to round steps."""
    real = np.flatnonzero(indices[:, 0] >= 0)
    numbers, first = np.unique(indices[real, 0], return_index=True)
    last = np.append(first[1:], len(real)) - 1
    middle = (edges[real[first]] + edges[real[last] + 1]) / 2
    step = next(s for power in range(9) for s in (10**power, 2 * 10**power, 5 * 10**power) if len(numbers) <= most * s)
    step *= int(np.diff(numbers).min(initial=1)) if len(numbers) < 2 else 1
    shown = np.flatnonzero(np.arange(len(numbers)) % step == 0)
    return {"tickvals": middle[shown], "ticktext": [str(n) for n in numbers[shown]]}


def _sentence(what: str, name: str, tiles: Tiles, kept: np.ndarray) -> str:
    o, i, h, w = tiles.shape
    of = f" of {name}" if name else ""
    scaled = f", downsampled by {tiles.factors[0]} x {tiles.factors[1]}" if tiles.reduced else ""
    return f"{what}{of}: {o} filters by {i} channels of {h} x {w}, {percent(kept.mean())} kept{scaled}."
