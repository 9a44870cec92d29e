"""The sensitivity curves of the layers, also while the scan runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TypeVar

import numpy as np
import plotly.graph_objects as go

from explorer.charts.kept import kept
from explorer.charts.palette import BASELINE, CHOSEN, of_lines, translucent
from explorer.charts.style import LINE, finish, label_ends, level, log_where_wide
from explorer.texts.formats import axis_title, decimal_percent, scale, signed, value_text
from explorer.texts.translate import _, from_core, n_
from pruning_core.sensitivity.preview_bands import Band
from pruning_core.tasks import CLASSIFICATION, Task
from pruning_core.types import SensitivityPoint

Point = TypeVar("Point", SensitivityPoint, Band)
Curve = Sequence[SensitivityPoint | Band]
DASHES = ("solid", "dash", "dot", "dashdot")
MARKS = ("circle", "square", "diamond", "triangle-up", "cross", "pentagon", "star", "hexagon")
NAMED = 3
"""The steepest curves that have a name beside them and a band; the others are pale."""
OTHERS = "others"
"""The legend group of the pale curves: one entry hides and shows them all."""


def curve_name(point: SensitivityPoint | Band) -> str:
    """The name of the layer, or "first + 2 tied" for three layers that are pruned together."""
    if not point.group:
        return point.parameter
    return _("{layer} + {n} tied", layer=point.group[0], n=len(point.group) - 1)


def one_per_group(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points without those of layers that are pruned together with an earlier layer."""
    return tuple(point for point in points if not point.group or point.group[0] == point.parameter)


@kept
def sensitivity_curves(
    points: Iterable[SensitivityPoint],
    baseline: float | None = None,
    chosen: Mapping[str, float] | None = None,
    *,
    focus: str | None = None,
    measure: str = "value",
    total: int = 0,
) -> go.Figure:
    """One curve per layer that is pruned alone, over its sparsity.

    Layers that are pruned together have one curve. Band: the paired 95% interval of the change
    against the dense network, within the range of the value. A change is significant where the band
    does not contain the baseline. A hollow mark: nothing could be removed.

    measure: "value" (of the task, such as accuracy in %) or "loss" (mean loss).
    baseline: the dense network's value or loss.
    chosen: the ratio of each layer, marked on its curve.
    focus: the layer whose curve has a strong line; None for the steepest curves.
    total: the number of curves of the finished scan, so that colours stay while it runs.
    """
    curves = _by_curve(points)
    figure = go.Figure()
    styles = _styles(curves, focus, total)
    for name, style in styles.items():
        curve = curves[name]
        if measure == "value" and style.named:
            ends = [np.add(p.value - p.change, p.change_interval) for p in curve]
            bounds = np.clip(ends, curve[0].task.low, curve[0].task.high).tolist()
            _add_band(figure, name, curve, style.colour, bounds)
        look = style.look([point.no_op for point in curve])
        _add_measured_curve(figure, name, curve, measure, look)
        for layer in curve[0].group or (name,):
            if chosen and layer in chosen:
                _add_chosen(figure, layer, curve, measure, chosen[layer], style)
    sentence = _(
        "Sensitivity of {layers}, {n} points.", layers=_layer_count(curves), n=_points(curves)
    )
    return _finish(figure, curves, styles, baseline, measure, sentence)


@kept
def preview_curves(
    bands: Iterable[Band], baseline: float | None = None, *, focus: str | None = None
) -> go.Figure:
    """One curve per layer that is pruned alone: its estimated value over its sparsity.

    Band: where the full scan probably finds the value. A hollow mark: not measured on all
    images. A cross: nothing could be removed. baseline, focus: as in `sensitivity_curves`.
    """
    curves = _by_curve(bands)
    styles = _styles(curves, focus)
    figure = go.Figure()
    for name, style in styles.items():
        curve = curves[name]
        if style.named:
            _add_band(figure, name, curve, style.colour, [band.interval for band in curve])
        look = style.look([band.images < band.n for band in curve], [band.no_op for band in curve])
        _add_estimated_curve(figure, name, curve, look)
    layers = _layer_count(curves)
    n = _points(curves)
    sentence = _("Estimated sensitivity of {layers}, {n} points.", layers=layers, n=n)
    _finish(figure, curves, styles, baseline, "value", sentence)
    top = figure.layout.margin.t + LINE  # the title has a line of its own
    return figure.update_layout(legend_title_text=_("estimated"), margin_t=top)


@dataclass(frozen=True)
class _Style:
    """The look of one curve. strong: it has the focus; named: it has a name and a band."""

    colour: str
    dash: str
    mark: str
    strong: bool
    named: bool

    @property
    def opacity(self) -> float:
        """Of the line and the marks."""
        return 1.0 if self.named else 0.3

    def look(self, hollow: Sequence[bool], crossed: Sequence[bool] = ()) -> dict[str, object]:
        """Line and marks. hollow: marks that are not filled; crossed: marks that are a cross."""
        line = {
            "color": self.colour,
            "width": 3.5 if self.strong else 2.4 if self.named else 1.4,
            "dash": "solid" if self.strong else self.dash,
        }
        symbols = [f"{self.mark}-open" if is_open else self.mark for is_open in hollow]
        symbols[: len(crossed)] = [
            "x-thin-open" if is_cross else symbol
            for is_cross, symbol in zip(crossed, symbols, strict=False)
        ]
        marker = {"symbol": symbols, "size": 8 if self.strong else 6 if self.named else 4}
        return {
            "line": line,
            "marker": marker,
            "opacity": self.opacity,
            "zorder": int(self.named),
            "showlegend": self.named,
        }


def _styles(curves: Mapping[str, Curve], focus: str | None, total: int = 0) -> dict[str, _Style]:
    """The look of each curve. The curve in focus has a name and a band.

    Without a focus, the curves with the worst values have them: more would hide each other.
    Colour, dash and mark depend on the curve's place and on the number of curves only.
    """
    layers = {name: (*curve[0].group, curve[0].parameter) for name, curve in curves.items()}
    strong = next((name for name, members in layers.items() if focus in members), None)
    worst = {
        name: min(point.task.sign * point.value for point in curve)
        for name, curve in curves.items()
    }
    steepest = sorted(worst, key=worst.__getitem__)[:NAMED]
    count = max(total, len(curves))
    looks = zip(curves, of_lines(count), cycle(DASHES), cycle(MARKS), strict=False)
    return {
        name: _Style(
            colour=colour,
            dash=dash,
            mark=mark,
            strong=name == strong,
            named=name == strong if strong else name in steepest,
        )
        for name, colour, dash, mark in looks
    }


def _finish(
    figure: go.Figure,
    curves: Mapping[str, Curve],
    styles: Mapping[str, _Style],
    baseline: float | None,
    measure: str,
    sentence: str,
) -> go.Figure:
    """Baseline, axes, legend and sentence."""
    task = _task(curves)
    is_value = measure == "value"
    if baseline is not None:
        value = value_text(baseline, task) if is_value else f"{baseline:.3f}"
        level(figure, _scaled(baseline, measure, task), _("dense {value}", value=value), BASELINE)
    figure.update_xaxes(title_text=_("sparsity of the layer, %"), range=[-2, 102])
    named = axis_title(task) if is_value else _("mean loss")
    figure.update_yaxes(title_text=named, rangemode="tozero")
    if not task.percent:
        log_where_wide(figure)
    _fold_others(figure, styles)
    finish(figure, sentence, 440, f"sensitivity {measure}")
    ends = [
        (name, 100 * curves[name][-1].sparsity, _values(curves[name], measure)[-1], look.colour)
        for name, look in styles.items()
        if look.named
    ]
    return label_ends(figure, ends)


def _fold_others(figure: go.Figure, styles: Mapping[str, _Style]) -> None:
    """One legend entry for all pale curves."""
    pale = [name for name, style in styles.items() if not style.named]
    if not pale:
        return
    for trace in figure.data:
        if trace.legendgroup in pale:
            trace.legendgroup = OTHERS
    figure.add_scatter(
        x=[None],
        y=[None],
        mode="lines",
        line={"color": BASELINE, "width": 1.4},
        name=n_("{n} other curve", "{n} other curves", len(pale)),
        legendgroup=OTHERS,
        hoverinfo="skip",
    )


def _by_curve(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Curve name -> its points by increasing sparsity."""
    curves: dict[str, list[Point]] = {}
    for point in sorted(one_per_group(tuple(points)), key=lambda point: point.sparsity):
        curves.setdefault(curve_name(point), []).append(point)
    return curves


def _layer_count(curves: Mapping[str, Curve]) -> str:
    layers = sum(max(1, len(curve[0].group)) for curve in curves.values())
    if layers > len(curves):
        return _("{n} layers in {curves} curves", n=layers, curves=len(curves))
    return _("{n} layers", n=layers)


def _points(curves: Mapping[str, Curve]) -> int:
    return sum(map(len, curves.values()))


def _task(curves: Mapping[str, Curve]) -> Task:
    """The task whose values the curves show."""
    return next((curve[0].task for curve in curves.values()), CLASSIFICATION)


def _scaled(value: float, measure: str, task: Task) -> float:
    return scale(task) * value if measure == "value" else value


def _values(curve: Curve, measure: str) -> np.ndarray:
    return np.array([_scaled(getattr(point, measure), measure, point.task) for point in curve])


def _sparsities(curve: Curve) -> np.ndarray:
    return np.array([100 * point.sparsity for point in curve])


def _add_band(
    figure: go.Figure,
    name: str,
    curve: Curve,
    colour: str,
    bounds: Sequence[Sequence[float]],
) -> None:
    """bounds: the lowest and the highest value at each point; infinite ones are left out."""
    finite = np.isfinite(np.array(bounds)).all(1)
    x = _sparsities(curve)[finite]
    low, high = scale(curve[0].task) * np.array(bounds)[finite].T
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


def _add_measured_curve(
    figure: go.Figure,
    name: str,
    curve: Sequence[SensitivityPoint],
    measure: str,
    look: Mapping[str, object],
) -> None:
    values: list[list[object]] = [
        [
            _removed(point),
            value_text(point.value, point.task),
            signed(point.change, point.change_interval, point.task),
            point.loss,
            point.n,
        ]
        for point in curve
    ]
    samples = from_core(curve[0].task.samples)
    loss = _("loss {loss}", loss="%{customdata[3]:.3f}")
    hover = (
        f"<br>{from_core(curve[0].task.short_label)} %{{customdata[1]}}, %{{customdata[2]}}"
        f"<br>{loss}<br>" + _("{n} {samples}", n="%{customdata[4]}", samples=samples)
    )
    _add_line(figure, name, curve, measure, values, hover, look)


def _add_estimated_curve(
    figure: go.Figure, name: str, curve: Sequence[Band], look: Mapping[str, object]
) -> None:
    values: list[list[object]] = [
        [
            _removed(band),
            *(value_text(value, band.task) for value in (band.value, *band.interval)),
            band.images,
            band.n,
        ]
        for band in curve
    ]
    value = _(
        "{name} about {value} (estimated), {low} to {high}",
        name=from_core(curve[0].task.short_label),
        value="%{customdata[1]}",
        low="%{customdata[2]}",
        high="%{customdata[3]}",
    )
    images = _(
        "measured on {n} of {total} {samples}",
        n="%{customdata[4]}",
        total="%{customdata[5]}",
        samples=from_core(curve[0].task.samples),
    )
    hover = f"<br>{value}<br>{images}"
    _add_line(figure, name, curve, "value", values, hover, look)


def _add_line(
    figure: go.Figure,
    name: str,
    curve: Curve,
    measure: str,
    values: list[list[object]],
    hover: str,
    look: Mapping[str, object],
) -> None:
    """One curve. values: per point, for the tooltip; the first one says what was removed.

    hover: the tooltip's text after the first value.
    """
    title = "<br>".join(curve[0].group or (name,))
    sparsity = _("sparsity {sparsity}", sparsity="%{x:.0f}%")
    figure.add_scatter(
        x=_sparsities(curve),
        y=_values(curve, measure),
        mode="lines+markers",
        name=name,
        legendgroup=name,
        customdata=values,
        hovertemplate=f"<b>{title}</b><br>{sparsity}, %{{customdata[0]}}{hover}<extra></extra>",
        **look,
    )


def _removed(point: SensitivityPoint | Band) -> str:
    if point.no_op:
        why = from_core(point.why) if point.why else _("the ratio is less than one group")
        return _("nothing removed: {reason}", reason=why)
    return _("{ratio} removed", ratio=decimal_percent(point.achieved))


def _add_chosen(
    figure: go.Figure,
    layer: str,
    curve: Sequence[SensitivityPoint],
    measure: str,
    ratio: float,
    style: _Style,
) -> None:
    """A circle on the curve at the ratio of the layer, interpolated linearly."""
    chosen = _("chosen {ratio}", ratio=decimal_percent(ratio))
    y = float(np.interp(100 * ratio, _sparsities(curve), _values(curve, measure)))
    figure.add_scatter(
        x=[100 * ratio],
        y=[y],
        mode="markers",
        marker={
            "symbol": "circle-open",
            "size": 15 if style.named else 9,
            "color": CHOSEN,
            "line_width": 2.5 if style.named else 1.5,
        },
        opacity=style.opacity,
        showlegend=False,
        legendgroup=curve_name(curve[0]),
        name=f"{layer} chosen",
        hovertemplate=f"<b>{layer}</b><br>{chosen}<extra></extra>",
    )
