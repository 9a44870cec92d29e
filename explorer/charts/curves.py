"""Curves that grow while the work goes on: the sensitivity of each layer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import plotly.graph_objects as go

from explorer.charts.palette import BASELINE, CHOSEN, DEPTH, LAYERS, between, translucent
from explorer.charts.style import finish, level, percent
from explorer.pages.sensitivity.run import Point, curve_name, shared
from explorer.texts.formats import signed
from pruning_core.sensitivity.preview import Band
from pruning_core.types import SensitivityPoint

DASHES = ("solid", "dash", "dot", "dashdot")
MARKS = ("circle", "square", "diamond", "triangle-up", "cross", "pentagon", "star", "hexagon")
MAX_BANDS = 8


def sensitivity_curves(
    points: Iterable[SensitivityPoint],
    baseline: float | None = None,
    chosen: Mapping[str, float] | None = None,
    *,
    focus: str | None = None,
    measure: str = "top1",
) -> go.Figure:
    """One line per layer cut alone: accuracy in % (measure "top1") or mean loss ("loss") over sparsity.

    Layers that were cut together share a line. Band: the paired 95% interval of the change against
    dense, so that a drop is sure where it leaves the baseline. Hollow: nothing could be removed.
    baseline: the dense model's top1 or loss; chosen: each layer's ratio, marked on its curve;
    focus: the layer drawn strongly.
    """
    layers = _by_curve(points)
    figure = go.Figure()
    for name, style in _styles(layers, focus).items():
        ordered = layers[name]
        if measure == "top1" and style.banded:
            bounds = [tuple(p.top1 - p.change + end for end in p.change_interval) for p in ordered]
            _band(figure, name, ordered, style.colour, bounds)
        _curve(figure, name, ordered, measure, style.look([point.no_op for point in ordered]))
        for member in ordered[0].group or (name,):
            if chosen and member in chosen:
                _chosen(figure, member, ordered, measure, chosen[member], style.opacity)
    return _framed(figure, layers, baseline, measure, "Sensitivity")


def preview_curves(
    bands: Iterable[Band], baseline: float | None = None, *, focus: str | None = None
) -> go.Figure:
    """One line per layer cut alone: its estimated accuracy in % over sparsity, as in
    `sensitivity_curves`.

    Band: where the full scan should find it. Hollow: not measured on all images; cross: nothing
    could be removed.
    """
    layers = _by_curve(bands)
    figure = go.Figure()
    for name, style in _styles(layers, focus).items():
        ordered = layers[name]
        if style.banded:
            _band(figure, name, ordered, style.colour, [band.interval for band in ordered])
        look = style.look(
            [band.images < band.n for band in ordered], [band.no_op for band in ordered]
        )
        facts = [
            [_removed(b), percent(b.top1), *map(percent, b.interval), b.images, b.n]
            for b in ordered
        ]
        text = (
            "<br>top-1 about %{customdata[1]} (estimated), %{customdata[2]} to %{customdata[3]}"
            "<br>measured on %{customdata[4]} of %{customdata[5]} images"
        )
        _line(figure, name, ordered, "top1", facts, text, look)
    _framed(figure, layers, baseline, "top1", "Estimated sensitivity")
    return figure.update_layout(legend_title_text="estimated")


@dataclass(frozen=True)
class _Style:
    """How one curve is drawn. strong: the layer in focus; banded: with its band."""

    colour: str
    dash: str
    mark: str
    strong: bool
    opacity: float
    banded: bool

    def look(self, hollow: Sequence[bool], crossed: Sequence[bool] = ()) -> dict[str, object]:
        """hollow: the marks that are not filled; crossed: those that are a cross instead."""
        line = {
            "color": self.colour,
            "width": 3.5 if self.strong else 2,
            "dash": "solid" if self.strong else self.dash,
        }
        symbols = [f"{self.mark}-open" if open_ else self.mark for open_ in hollow]
        symbols[: len(crossed)] = [
            "x-thin-open" if cross else symbol
            for cross, symbol in zip(crossed, symbols, strict=False)
        ]
        marker = {"symbol": symbols, "size": 8 if self.strong else 6}
        return {"line": line, "marker": marker, "opacity": self.opacity, "zorder": int(self.strong)}


def _styles(
    layers: Mapping[str, Sequence[SensitivityPoint | Band]], focus: str | None
) -> dict[str, _Style]:
    """Each curve's look. With a band: the one in focus, or else those that fall deepest, so that
    bands do not hide each other.
    """
    members = {name: (*curve[0].group, curve[0].parameter) for name, curve in layers.items()}
    strong = next((name for name, one in members.items() if focus in one), None)
    depth = {name: min(point.top1 for point in curve) for name, curve in layers.items()}
    deepest = sorted(depth, key=depth.__getitem__)[:MAX_BANDS]
    colours = LAYERS if len(layers) <= len(LAYERS) else between(DEPTH, len(layers))
    looks = zip(layers, cycle(colours), cycle(DASHES), cycle(MARKS), strict=False)
    return {
        name: _Style(
            colour,
            dash,
            mark,
            name == strong,
            1.0 if strong in (None, name) else 0.35,
            name == strong if strong else name in deepest,
        )
        for name, colour, dash, mark in looks
    }


def _framed(
    figure: go.Figure,
    layers: Mapping[str, Sequence[SensitivityPoint | Band]],
    baseline: float | None,
    measure: str,
    what: str,
) -> go.Figure:
    """Baseline, axes, legend and the sentence that all these curves have."""
    if baseline is not None:
        text = f"dense {percent(baseline)}" if measure == "top1" else f"dense {baseline:.3f}"
        level(figure, _scaled(baseline, measure), text, BASELINE)
    figure.update_xaxes(title_text="sparsity of the layer, %", range=[-2, 102])
    figure.update_yaxes(
        title_text="top-1 accuracy, %" if measure == "top1" else "mean loss", rangemode="tozero"
    )
    count = sum(map(len, layers.values()))
    finish(figure, f"{what} of {_sizes(layers)}, {count} points.", 440, f"sensitivity {measure}")
    if len(layers) > MAX_BANDS:
        legend = {
            "orientation": "v",
            "x": 1.01,
            "y": 1,
            "yanchor": "top",
            "font_size": 11,
            "tracegroupgap": 0,
        }
        figure.update_layout(legend=legend, height=min(720, max(520, 130 + 19 * len(layers))))
    return figure


def _by_curve(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Each curve's points by rising sparsity, under its name."""
    found: dict[str, list[Point]] = {}
    for point in sorted(shared(tuple(points)), key=lambda point: point.sparsity):
        found.setdefault(curve_name(point), []).append(point)
    return found


def _sizes(layers: Mapping[str, Sequence[SensitivityPoint | Band]]) -> str:
    total = sum(max(1, len(curve[0].group)) for curve in layers.values())
    return f"{total} layers" + (f" in {len(layers)} curves" if total > len(layers) else "")


def _scaled(value: float, measure: str) -> float:
    return 100 * value if measure == "top1" else value


def _values(curve: Sequence[SensitivityPoint | Band], measure: str) -> np.ndarray:
    return np.array([_scaled(getattr(point, measure), measure) for point in curve])


def _x(curve: Sequence[SensitivityPoint | Band]) -> np.ndarray:
    return np.array([100 * point.sparsity for point in curve])


def _band(
    figure: go.Figure,
    name: str,
    curve: Sequence[SensitivityPoint | Band],
    colour: str,
    bounds: Sequence[Sequence[float]],
) -> None:
    """bounds: (low, high) of top-1 at each point."""
    x = _x(curve)
    (low, high) = 100 * np.array(bounds).T
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        mode="lines",
        line={"color": translucent(colour, 0.35), "width": 0.75},
        fill="toself",
        fillcolor=translucent(colour, 0.1),
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
        name=f"{name} band",
    )


def _curve(
    figure: go.Figure,
    name: str,
    curve: Sequence[SensitivityPoint],
    measure: str,
    look: Mapping[str, object],
) -> None:
    facts = [
        [_removed(p), percent(p.top1), signed(p.change, p.change_interval), p.loss, p.n]
        for p in curve
    ]
    text = "<br>top-1 %{customdata[1]}, %{customdata[2]}<br>loss %{customdata[3]:.3f}<br>%{customdata[4]} images"
    _line(figure, name, curve, measure, facts, text, look)


def _line(
    figure: go.Figure,
    name: str,
    curve: Sequence[SensitivityPoint | Band],
    measure: str,
    facts: list[list[object]],
    text: str,
    look: Mapping[str, object],
) -> None:
    """One curve; text: what its tooltip says of the facts after the first, which is what was
    removed.
    """
    figure.add_scatter(
        x=_x(curve),
        y=_values(curve, measure),
        mode="lines+markers",
        name=name,
        legendgroup=name,
        customdata=facts,
        hovertemplate=f"<b>{'<br>'.join(curve[0].group or (name,))}</b><br>sparsity %{{x:.0f}}%, %{{customdata[0]}}"
        f"{text}<extra></extra>",
        **look,
    )


def _removed(point: SensitivityPoint | Band) -> str:
    return (
        f"{percent(point.achieved)} removed"
        if not point.no_op
        else f"nothing removed: {point.why or 'no whole group goes'}"
    )


def _chosen(
    figure: go.Figure,
    name: str,
    curve: Sequence[SensitivityPoint],
    measure: str,
    ratio: float,
    opacity: float,
) -> None:
    y = float(np.interp(100 * ratio, _x(curve), _values(curve, measure)))
    figure.add_scatter(
        x=[100 * ratio],
        y=[y],
        mode="markers",
        marker={"symbol": "circle-open", "size": 15, "color": CHOSEN, "line_width": 2.5},
        opacity=opacity,
        showlegend=False,
        legendgroup=name,
        name=f"{name} chosen",
        hovertemplate=f"<b>{name}</b><br>chosen {percent(ratio)}<extra></extra>",
    )
