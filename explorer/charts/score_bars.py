"""The histogram of a layer's group scores, as HTML: it is drawn again after every release.

A Plotly chart is built anew for every change of its data, which takes ten times as long.
"""

from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Bool, Float

from explorer.charts.palette import AXIS, GRID, KEPT, PRUNED, THRESHOLD
from explorer.texts.translate import _, n_

BINS = 50
COLOURS = (
    f"--kept-look: {KEPT}; --removed-look: {PRUNED}; --axis-look: {AXIS}; --grid-look: {GRID}; "
    f"--threshold-look: {THRESHOLD}"
)
"""For the style, which is in explorer/page.css."""


@dataclass(frozen=True)
class ScoreBars:
    """Groups per interval of the score. edges: of the intervals, one more than there are counts.

    unknown: scores that are not finite, which no interval has. threshold: the lowest kept score;
    None where groups are ranked in several scopes.
    """

    edges: Float[np.ndarray, "_n_plus_1"]
    removed: tuple[int, ...]
    kept: tuple[int, ...]
    groups_kept: int
    groups: int
    unknown: int
    threshold: float | None


def score_bars(
    scores: Float[np.ndarray, "..."],
    kept: Bool[np.ndarray, "..."],
    threshold: float | None,
    bins: int = BINS,
) -> ScoreBars:
    """Counts the groups. scores, kept: one number and one bool per group."""
    scores = scores.ravel()
    kept = kept.ravel()
    finite = np.isfinite(scores)
    edges = np.histogram_bin_edges(scores[finite], bins=bins)
    removed_counts, kept_counts = (
        tuple(map(int, np.histogram(scores[finite & part], edges)[0])) for part in (~kept, kept)
    )
    known = threshold is not None and np.isfinite(threshold)
    return ScoreBars(
        edges,
        removed_counts,
        kept_counts,
        int(kept.sum()),
        kept.size,
        int((~finite).sum()),
        threshold if known else None,
    )


def score_bars_html(bars: ScoreBars, name: str) -> str:
    """Stacked bars: removed groups grey and hatched, kept groups blue. name: of the layer.

    The pointer over a bar shows its numbers.
    """
    both = [removed + kept for removed, kept in zip(bars.removed, bars.kept, strict=True)]
    highest = max(1, *both)
    low = float(bars.edges[0])
    high = float(bars.edges[-1])
    columns = "".join(
        f'<i style="--removed: {removed / highest:.2%}; --all: {all_ / highest:.2%}" '
        f'title="{escape(_bar_words(middle, removed, kept))}"></i>'
        for middle, removed, kept, all_ in zip(
            (bars.edges[:-1] + bars.edges[1:]) / 2, bars.removed, bars.kept, both, strict=True
        )
    )
    line = ""
    if bars.threshold is not None:
        at = (bars.threshold - low) / (high - low)
        line = f'<hr style="--at: {at:.2%}">'
    removed = _("removed ({n:,})", n=bars.groups - bars.groups_kept)
    kept = _("kept ({n:,})", n=bars.groups_kept)
    halfway = f"{highest / 2:,.0f}" if highest % 2 == 0 or highest > 9 else ""
    ups = "".join(f"<span>{text}</span>" for text in ("0", halfway, f"{highest:,}"))
    ticks = "".join(
        f'<span style="--at: {at:.0%}">{low + at * (high - low):.3g}</span>'
        for at in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        f'<div class="pe-scores" style="{COLOURS}" role="figure" '
        f'aria-label="{escape(_sentence(bars, name))}">'
        f'<p><b class="removed">{escape(removed)}</b><b class="kept">{escape(kept)}</b></p>'
        f'<div><span class="y">{escape(_("groups"))}</span><div class="up">{ups}</div>'
        f'<div class="bars">{columns}{line}</div><div class="along">{ticks}</div>'
        f'<span class="x">{escape(_("group score"))}</span></div></div>'
    )


def _bar_words(score: float, removed: int, kept: int) -> str:
    return _(
        "score {score}: {removed:,} removed, {kept:,} kept",
        score=f"{score:.4g}",
        removed=removed,
        kept=kept,
    )


def _sentence(bars: ScoreBars, name: str) -> str:
    sentence = _(
        "Scores of {layer}: {n} of {total} groups kept, {removed} removed.",
        layer=name,
        n=bars.groups_kept,
        total=bars.groups,
        removed=bars.groups - bars.groups_kept,
    )
    if not bars.unknown:
        return sentence
    more = n_("{n} group has no finite score.", "{n} groups have no finite score.", bars.unknown)
    return f"{sentence} {more}"
