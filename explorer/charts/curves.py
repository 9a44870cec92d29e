"""Curves that grow while the work goes on: sensitivity of each layer, and training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.charts.style import finish, percent, state_label, state_look
from explorer.palette import BASELINE, CHOSEN, DEPTH, KEPT, LAYERS, PRUNED_MODEL, TUNED, between, translucent
from explorer.scanning import Point, curve_name, shared
from explorer.text import signed
from pruning_core.preview import Band
from pruning_core.types import Epoch, SensitivityPoint, Step

DASHES = ("solid", "dash", "dot", "dashdot")
MARKS = ("circle", "square", "diamond", "triangle-up", "cross", "pentagon", "star", "hexagon")
MAX_BANDS = 8
MAX_STEPS = 1500


def sensitivity_curves(
    points: Iterable[SensitivityPoint],
    baseline: float | None = None,
    chosen: Mapping[str, float] | None = None,
    *,
    focus: str | None = None,
    measure: str = "top1",
) -> go.Figure:
    """One line per layer cut alone: accuracy in % (measure "top1") or mean loss ("loss") over sparsity.

    Layers that were cut together share a line. Band: the paired 95% interval of the change against dense, so that a drop is sure
    where it leaves the baseline. Hollow: nothing could be removed. baseline: the dense model's top1 or loss; chosen: each layer's
    ratio, marked on its curve; focus: the layer drawn strongly.
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


def preview_curves(bands: Iterable[Band], baseline: float | None = None, *, focus: str | None = None) -> go.Figure:
    """One line per layer cut alone: its estimated accuracy in % over sparsity, as in `sensitivity_curves`.

    Band: where the full scan should find it. Hollow: not measured on all images; cross: nothing could be removed.
    """
    layers = _by_curve(bands)
    pale = min(1.0, MAX_BANDS / max(1, len(layers)))
    figure = go.Figure()
    for name, style in _styles(layers, focus, most_bands=len(layers)).items():
        ordered = layers[name]
        if style.banded:
            _band(figure, name, ordered, style.colour, [band.interval for band in ordered], 1.0 if focus else pale)
        look = style.look([band.images < band.n for band in ordered], [band.no_op for band in ordered])
        facts = [[_removed(b), percent(b.top1), *map(percent, b.interval), b.images, b.n] for b in ordered]
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
        line = {"color": self.colour, "width": 3.5 if self.strong else 2, "dash": "solid" if self.strong else self.dash}
        symbols = [f"{self.mark}-open" if open_ else self.mark for open_ in hollow]
        symbols[: len(crossed)] = ["x-thin-open" if cross else symbol for cross, symbol in zip(crossed, symbols, strict=False)]
        marker = {"symbol": symbols, "size": 8 if self.strong else 6}
        return {"line": line, "marker": marker, "opacity": self.opacity, "zorder": int(self.strong)}


def _styles(
    layers: Mapping[str, Sequence[SensitivityPoint | Band]], focus: str | None, most_bands: int = MAX_BANDS
) -> dict[str, _Style]:
    """Each curve's look; without a focus all have bands, unless they are too many; else only the one in focus."""
    members = {name: (*curve[0].group, curve[0].parameter) for name, curve in layers.items()}
    strong = next((name for name, one in members.items() if focus in one), None)
    few = strong is None and len(layers) <= most_bands
    colours = LAYERS if len(layers) <= len(LAYERS) else between(DEPTH, len(layers))
    looks = zip(layers, cycle(colours), cycle(DASHES), cycle(MARKS), strict=False)
    return {
        name: _Style(colour, dash, mark, name == strong, 1.0 if strong in (None, name) else 0.35, few or name == strong)
        for name, colour, dash, mark in looks
    }


def _framed(
    figure: go.Figure, layers: Mapping[str, Sequence[SensitivityPoint | Band]], baseline: float | None, measure: str, what: str
) -> go.Figure:
    """Baseline, axes, legend and the sentence that all these curves have."""
    if baseline is not None:
        text = f"dense {percent(baseline)}" if measure == "top1" else f"dense {baseline:.3f}"
        _level(figure, _scaled(baseline, measure), text, BASELINE)
    figure.update_xaxes(title_text="sparsity of the layer, %", range=[-2, 102])
    figure.update_yaxes(title_text="top-1 accuracy, %" if measure == "top1" else "mean loss", rangemode="tozero")
    count = sum(map(len, layers.values()))
    finish(figure, f"{what} of {_sizes(layers)}, {count} points.", 440, f"sensitivity {measure}")
    if len(layers) > MAX_BANDS:
        figure.update_layout(legend={"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top", "font_size": 11}, height=520)
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


def training_curves(
    events: Iterable[object], references: Mapping[str, float] | None = None, cuts: Mapping[float, float] | None = None
) -> go.Figure:
    """Loss (each step, and per epoch) above accuracy on the validation split (with its 95% interval), over epochs.

    events: Step and Epoch, others are passed over; references: top-1 of states such as "dense" and "pruned", drawn as levels;
    cuts: top-1 right after each cut, by the epoch (epochs done by then) at which it was made.
    """
    steps, epochs = [], []
    for event in events:
        if isinstance(event, Step):
            steps.append(event)
        elif isinstance(event, Epoch):
            epochs.append(event)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.07)
    _step_losses(figure, steps)
    _epoch_curves(figure, epochs)
    if cuts:
        mark = {"symbol": "x-thin-open", "size": 10, "color": state_look("pruned")[0], "line_width": 2}
        figure.add_scatter(
            x=list(cuts), y=[100 * top1 for top1 in cuts.values()], mode="markers", marker=mark, name="after a cut", row=2, col=1
        )
    for state, top1 in (references or {}).items():
        text = f"{state_label(state)} {percent(top1)}"
        _level(figure, 100 * top1, text, state_look(state)[0], row=2, col=1)
    figure.update_yaxes(title_text="loss", row=1, col=1, rangemode="tozero")
    figure.update_yaxes(title_text="top-1 accuracy, %", row=2, col=1)
    figure.update_xaxes(title_text="epoch", row=2, col=1)
    best = max((e.evaluation.top1 for e in epochs), default=None)
    told = "no epoch is done yet" if best is None else f"{len(epochs)} epochs done, best accuracy {percent(best)}"
    return finish(figure, f"Training: {told}.", 480, "training")


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
    strength: float = 1.0,
) -> None:
    """bounds: (low, high) of top-1 at each point; strength: of the colour."""
    x, (low, high) = _x(curve), 100 * np.array(bounds).T
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        mode="lines",
        line_width=0,
        fill="toself",
        fillcolor=translucent(colour, 0.14 * strength),
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
        name=f"{name} band",
    )


def _curve(figure: go.Figure, name: str, curve: Sequence[SensitivityPoint], measure: str, look: Mapping[str, object]) -> None:
    facts = [[_removed(p), percent(p.top1), signed(p.change, p.change_interval), p.loss, p.n] for p in curve]
    text = "<br>top-1 %{customdata[1]}, %{customdata[2]}<br>loss %{customdata[3]:.3f}<br>%{customdata[4]} images"
    _line(figure, name, curve, measure, facts, text, look)


def _line(
    figure: go.Figure,
    name: str,
    curve: Sequence[SensitivityPoint | Band],
    measure: str,
    facts: list[list],
    text: str,
    look: Mapping[str, object],
) -> None:
    """One curve; text: what its tooltip says of the facts after the first, which is what was removed."""
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
    return f"{percent(point.achieved)} removed" if not point.no_op else f"nothing removed: {point.why or 'no whole group goes'}"


def _chosen(figure: go.Figure, name: str, curve: Sequence[SensitivityPoint], measure: str, ratio: float, opacity: float) -> None:
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


def _level(figure: go.Figure, y: float, text: str, colour: str, **place: int) -> None:
    note = {"text": text, "font_color": colour, "yanchor": "bottom"}
    line = {"color": colour, "width": 1.5, "dash": "dash"}
    figure.add_hline(y=y, line=line, annotation=note, annotation_position="top right", **place)


def _step_losses(figure: go.Figure, steps: Sequence[Step]) -> None:
    if not steps:
        return
    x = np.array([step.epoch - 1 + step.step / step.steps for step in steps])
    y = np.array([step.loss for step in steps])
    starts = np.arange(0, len(x), -(-len(x) // MAX_STEPS))
    counts = np.diff(np.append(starts, len(x)))
    x, y = (np.add.reduceat(values, starts) / counts for values in (x, y))
    line = {"color": translucent(KEPT, 0.6), "width": 1}
    text = "epoch %{x:.2f}<br>batch loss %{y:.3f}<extra></extra>"
    figure.add_scatter(x=x, y=y, mode="lines", line=line, name="batch loss", hovertemplate=text, row=1, col=1)


def _epoch_curves(figure: go.Figure, epochs: Sequence[Epoch]) -> None:
    if not epochs:
        return
    x = [e.epoch for e in epochs]
    losses = (
        ("training loss", [e.train_loss for e in epochs], KEPT, "solid", "circle"),
        ("validation loss", [e.evaluation.loss for e in epochs], PRUNED_MODEL, "dash", "square"),
    )
    for name, y, colour, dash, symbol in losses:
        look = {"line": {"color": colour, "width": 2, "dash": dash}, "marker": {"symbol": symbol, "size": 7}}
        figure.add_scatter(x=x, y=y, mode="lines+markers", name=name, row=1, col=1, **look)
    top1 = np.array([e.evaluation.top1 for e in epochs])
    low, high = (np.array([e.evaluation.interval[side] for e in epochs]) for side in (0, 1))
    whisker = {"type": "data", "array": 100 * (high - top1), "arrayminus": 100 * (top1 - low), "thickness": 1.2, "width": 4}
    look = {"line": {"color": TUNED, "width": 2}, "marker": {"symbol": "diamond", "size": 8}, "error_y": whisker}
    figure.add_scatter(x=x, y=100 * top1, mode="lines+markers", name="validation accuracy", row=2, col=1, **look)
    best = max(range(len(epochs)), key=lambda n: (epochs[n].best, n))
    star = {"symbol": "star", "size": 16, "color": CHOSEN}
    figure.add_scatter(x=[x[best]], y=[100 * top1[best]], mode="markers", marker=star, name="best epoch", row=2, col=1)
