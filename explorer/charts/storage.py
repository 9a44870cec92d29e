"""Bytes of a pruned network in every storage format, and where each beats dense storage."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.charts.kept import kept
from explorer.charts.palette import CHOSEN, DENSE, KEPT, PRUNED_MODEL, translucent
from explorer.charts.style import finish, patterned
from explorer.texts.formats import percent
from explorer.texts.translate import N_, _, from_core
from pruning_core.compress.storage_sizes import StoredSize, dense_stored

ROW_HEIGHT = 34
KINDS = (
    (False, N_("computed"), KEPT, ""),
    (True, N_("measured: the file was written"), PRUNED_MODEL, "/"),
)


@kept
def storage_bars(sizes: Sequence[StoredSize], sparsity: float) -> go.Figure:
    """Left: bytes in each format. Right: the sparsities at which it is smaller than dense.

    sizes: dense among them; sparsity: of the masked layers, drawn as a line in the right panel.
    """
    dense = dense_stored(sizes)
    figure = make_subplots(1, 2, shared_yaxes=True, column_widths=[0.6, 0.4])
    for measured, name, colour, pattern in KINDS:
        part = [size for size in sizes if size.measured is measured]
        if part:
            _add_sizes(figure, part, _(name), patterned(colour, pattern))
    largest = max(size.bytes for size in sizes)
    _add_column(figure, sizes, [_bar_text(size.bytes, dense) for size in sizes], largest, 1)
    crossing = [size for size in sizes if size.crossover is not None]
    _add_crossovers(figure, crossing)
    _add_column(figure, crossing, [percent(size.crossover or 0) for size in crossing], 100, 2)
    line = {"width": 1.5, "dash": "dash"}
    figure.add_vline(x=dense, line=line | {"color": DENSE}, layer="below", row=1, col=1)
    figure.add_vline(x=100 * sparsity, line=line | {"color": CHOSEN}, row=1, col=2)
    figure.add_annotation(
        text=_("this plan"),
        **{"x": 100 * sparsity, "xref": "x2", "y": 1, "yref": "y2 domain", "yanchor": "bottom"},
        xanchor="right" if sparsity > 0.5 else "left",
        showarrow=False,
        font_color=CHOSEN,
    )
    _set_axes(figure, [from_core(size.label) for size in sizes], largest)
    finish(figure, _sentence(sizes, dense), 144 + ROW_HEIGHT * len(sizes), "storage")
    return figure.update_layout(margin_t=76)  # the word of the plan is below the legend


def _set_axes(figure: go.Figure, names: Sequence[str], largest: int) -> None:
    """Both panels have space for their numbers at the right."""
    title = _("bytes · times smaller than dense")
    figure.update_xaxes(title_text=title, range=[0, 2.1 * largest], row=1, col=1)
    sparsities = {"range": [0, 125], "tickvals": [0, 50, 100]}
    figure.update_xaxes(sparsities, title_text=_("sparsity, %"), row=1, col=2)
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], showgrid=False)


def _add_sizes(
    figure: go.Figure, sizes: Sequence[StoredSize], name: str, look: dict[str, object]
) -> None:
    figure.add_bar(
        x=[size.bytes for size in sizes],
        y=[from_core(size.label) for size in sizes],
        orientation="h",
        name=name,
        marker=look,
        hovertemplate="<b>%{y}</b><br>" + _("{n} bytes", n="%{x:,}") + "<extra></extra>",
        row=1,
        col=1,
    )


def _add_crossovers(figure: go.Figure, sizes: Sequence[StoredSize]) -> None:
    """A bar from each crossover to 100%."""
    borders = [100 * (size.crossover or 0.0) for size in sizes]
    labels = [from_core(size.label) for size in sizes]
    figure.add_bar(
        x=[100 - border for border in borders],
        base=borders,
        y=labels,
        orientation="h",
        name=_("smaller than dense from"),
        marker={"color": translucent(DENSE, 0.25), "line": {"color": DENSE, "width": 1.5}},
        hoverinfo="skip",
        row=1,
        col=2,
    )


def _add_column(
    figure: go.Figure, sizes: Sequence[StoredSize], texts: Sequence[str], x: float, panel: int
) -> None:
    """A column of numbers at the right of the longest bar: no bar ends and no line runs there.

    It is a trace of its own: text inside a bar does not follow the theme's colours.
    """
    figure.add_scatter(
        x=[x] * len(sizes),
        y=[from_core(size.label) for size in sizes],
        mode="text",
        text=[f" {text}" for text in texts],
        textposition="middle right",
        cliponaxis=False,
        showlegend=False,
        hoverinfo="skip",
        row=1,
        col=panel,
    )


def _bar_text(stored: int, dense: int) -> str:
    factor = "" if stored == dense else f" · {dense / stored:.2f}×"
    return f"{stored:,} B{factor}"


def times(stored: int, dense: int) -> str:
    """ "2.3x smaller", "1.2x larger" or "as dense"."""
    if stored == dense:
        return _("as dense")
    factor = dense / stored
    if factor > 1:
        return _("{factor}× smaller", factor=f"{factor:.2f}")
    return _("{factor}× larger", factor=f"{1 / factor:.2f}")


def _sentence(sizes: Sequence[StoredSize], dense: int) -> str:
    best = min(sizes, key=lambda size: size.bytes)
    return _(
        "Dense: {dense} bytes. Smallest of {n} formats: {name}, {bytes} bytes, {share} of dense.",
        dense=f"{dense:,}",
        n=len(sizes),
        name=from_core(best.label),
        bytes=f"{best.bytes:,}",
        share=percent(best.bytes / dense),
    )
