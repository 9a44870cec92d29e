"""Curves that grow while the work goes on: sensitivity of each layer, and training."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.charts.style import finish, percent, state_label, state_look
from explorer.palette import BASELINE, CHOSEN, DEPTH, KEPT, LAYERS, PRUNED_MODEL, TUNED, between, translucent
from explorer.scanning import curve_name, shared
from explorer.text import signed
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
    focus = next((name for name, curve in layers.items() if focus in (*curve[0].group, curve[0].parameter)), None)
    colours = LAYERS if len(layers) <= len(LAYERS) else between(DEPTH, len(layers))
    figure = go.Figure()
    styles = zip(layers.items(), cycle(colours), cycle(DASHES), cycle(MARKS), strict=False)
    for (name, ordered), colour, dash, mark in styles:
        opacity = 1.0 if focus in (None, name) else 0.35
        if measure == "top1" and (name == focus or (focus is None and len(layers) <= MAX_BANDS)):
            _band(figure, name, ordered, colour)
        line = {"color": colour, "width": 3.5 if name == focus else 2, "dash": "solid" if name == focus else dash}
        symbols = [f"{mark}-open" if point.no_op else mark for point in ordered]
        marker = {"symbol": symbols, "size": 8 if name == focus else 6}
        _curve(figure, name, ordered, measure, {"line": line, "marker": marker, "opacity": opacity, "zorder": int(name == focus)})
        for member in ordered[0].group or (name,):
            if chosen and member in chosen:
                _chosen(figure, member, ordered, measure, chosen[member], opacity)
    if baseline is not None:
        text = f"dense {percent(baseline)}" if measure == "top1" else f"dense {baseline:.3f}"
        _level(figure, _scaled(baseline, measure), text, BASELINE)
    figure.update_xaxes(title_text="sparsity of the layer, %", range=[-2, 102])
    figure.update_yaxes(title_text="top-1 accuracy, %" if measure == "top1" else "mean loss", rangemode="tozero")
    count = sum(map(len, layers.values()))
    finish(figure, f"Sensitivity of {_sizes(layers)}, {count} points.", 440, f"sensitivity {measure}")
    if len(layers) > MAX_BANDS:
        figure.update_layout(legend={"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top", "font_size": 11}, height=520)
    return figure


def _by_curve(points: Iterable[SensitivityPoint]) -> dict[str, list[SensitivityPoint]]:
    """Each curve's points by rising sparsity, under its name."""
    found: dict[str, list[SensitivityPoint]] = {}
    for point in sorted(shared(tuple(points)), key=lambda point: point.sparsity):
        found.setdefault(curve_name(point), []).append(point)
    return found


def _sizes(layers: Mapping[str, Sequence[SensitivityPoint]]) -> str:
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


def _values(curve: Sequence[SensitivityPoint], measure: str) -> np.ndarray:
    return np.array([_scaled(getattr(point, measure), measure) for point in curve])


def _x(curve: Sequence[SensitivityPoint]) -> np.ndarray:
    return np.array([100 * point.sparsity for point in curve])


def _band(figure: go.Figure, name: str, curve: Sequence[SensitivityPoint], colour: str) -> None:
    dense = [point.top1 - point.change for point in curve]
    bounds = ([100 * (base + p.change_interval[side]) for base, p in zip(dense, curve, strict=True)] for side in (0, 1))
    x, low, high = _x(curve), *map(np.array, bounds)
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([high, low[::-1]]),
        mode="lines",
        line_width=0,
        fill="toself",
        fillcolor=translucent(colour, 0.14),
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
        name=f"{name} band",
    )


def _curve(figure: go.Figure, name: str, curve: Sequence[SensitivityPoint], measure: str, look: Mapping[str, object]) -> None:
    facts = [[_removed(p), percent(p.top1), signed(p.change, p.change_interval), p.loss, p.n] for p in curve]
    figure.add_scatter(
        x=_x(curve),
        y=_values(curve, measure),
        mode="lines+markers",
        name=name,
        legendgroup=name,
        customdata=facts,
        hovertemplate=f"<b>{'<br>'.join(curve[0].group or (name,))}</b><br>sparsity %{{x:.0f}}%, %{{customdata[0]}}"
        "<br>top-1 %{customdata[1]}, %{customdata[2]}"
        "<br>loss %{customdata[3]:.3f}<br>%{customdata[4]} images<extra></extra>",
        **look,
    )


def _removed(point: SensitivityPoint) -> str:
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
