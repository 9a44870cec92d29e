"""The outputs of each layer, before and after the network was made narrower."""

from collections.abc import Sequence

import plotly.graph_objects as go

from explorer.charts.kept import kept
from explorer.charts.palette import KEPT, PRUNED, PRUNED_PATTERN
from explorer.charts.style import finish, patterned
from explorer.texts.translate import _
from pruning_core.compress.thin import Width

ROW_HEIGHT = 19


@kept
def width_bars(widths: Sequence[Width]) -> go.Figure:
    """One bar per layer: the outputs that are kept, then those that are removed."""
    names = [width.layer for width in widths]
    before = [width.out[0] for width in widths]
    after = [width.out[1] for width in widths]
    figure = go.Figure()
    removed = [old - new for old, new in zip(before, after, strict=True)]
    parts = (
        (_("kept"), _("{n} outputs kept"), after, KEPT, ""),
        (_("removed"), _("{n} outputs removed"), removed, PRUNED, PRUNED_PATTERN),
    )
    for name, hover, counts, colour, pattern in parts:
        figure.add_bar(
            x=counts,
            y=names,
            orientation="h",
            name=name,
            marker=patterned(colour, pattern),
            hovertemplate=f"<b>%{{y}}</b><br>{hover.format(n='%{x:,}')}<extra></extra>",
        )
    figure.add_scatter(
        x=before,
        y=names,
        mode="text",
        text=[f" {_words(width)}" for width in widths],
        textposition="middle right",
        showlegend=False,
        hoverinfo="skip",
        cliponaxis=False,
    )
    figure.update_layout(barmode="stack", bargap=0.25)
    figure.update_xaxes(title_text=_("outputs"), range=[0, 1.18 * max(before)])
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], showgrid=False, dtick=1)
    sentence = _sentence(before, after)
    return finish(figure, sentence, 110 + ROW_HEIGHT * len(widths), "widths")


def _sentence(before: Sequence[int], after: Sequence[int]) -> str:
    narrower = sum(old != new for old, new in zip(before, after, strict=True))
    return _(
        "Outputs of {n} layers before and after: {narrower} are narrower, {before} outputs became "
        "{after}.",
        n=len(before),
        narrower=narrower,
        before=f"{sum(before):,}",
        after=f"{sum(after):,}",
    )


def _words(width: Width) -> str:
    before, after = width.out
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"
