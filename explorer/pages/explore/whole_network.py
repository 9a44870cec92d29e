"""The whole network under every granularity at the plan's sparsity, measured: one tile each."""

from dataclasses import dataclass, replace

import streamlit as st

from explorer.charts.contact_sheet import Card, Shot, bar_of, sheet
from explorer.charts.patterns import pattern_png
from explorer.pages.explore.granularity_panel import interval_line, tag_of
from explorer.session import cache, state
from explorer.session.axis_forms import families, family, refusal
from explorer.session.notices import show_errors
from explorer.session.page_body import part
from explorer.texts.formats import percent
from explorer.texts.help import HELP
from explorer.texts.task_words import value_words
from explorer.texts.translate import _, from_core
from pruning_core.granularity import Granularity, granularity
from pruning_core.plan import Plan
from pruning_core.types import Evaluation, PruningError, Report
from pruning_core.workspaces import Workspace

KEY = "whole_network"
TILE = 220


@dataclass(frozen=True, eq=False)
class Tile:
    """One granularity on the whole network. reason: why it has no numbers."""

    granularity: Granularity
    measured: Evaluation | None = None
    counts: Report | None = None
    reason: str = ""


@part(KEY)
def whole_network_panel(plan: Plan, space: Workspace) -> None:
    """Draws a switch, and the tiles while it is on. A click on a tile's button uses it."""
    samples = from_core(space.dataset.task.samples)
    state.keep_widget(KEY)
    shown = st.toggle(_("Measure all granularities on the whole network"), key=KEY, help=HELP[KEY])
    if not shown:
        return
    with show_errors():
        dense = cache.dense_accuracy(plan, space)
        tiles = _tiles(plan, space)
        st.caption(
            _(
                "Each granularity removes {share} of the weights that it can prune, N:M its fixed "
                "share. The plan's other choices stay the same. Measured on {n:,} probe "
                "{samples}, without training. Pictures: the pattern on a small convolution.",
                share=percent(plan.sparsity),
                n=dense.n,
                samples=samples,
            )
        )
        grid = st.grid(4, min_column_width=TILE)
        for tile in sorted(tiles, key=_rank):
            with grid.container(border=False, height="stretch", gap="xsmall"):
                _draw(tile, dense, plan)


def _tiles(plan: Plan, space: Workspace) -> list[Tile]:
    """All granularities. The one in use keeps its own sizes."""
    entries = families() | {family(plan.granularity): granularity(plan.granularity)}
    place = st.empty()
    tiles = []
    for at, g in enumerate(entries.values()):
        place.progress(at / len(entries), _("Measuring {name} …", name=from_core(g.label)))
        tiles.append(_tile(replace(plan, granularity=g.name), space, g))
    place.empty()
    return tiles


def _tile(plan: Plan, space: Workspace, g: Granularity) -> Tile:
    reason = refusal(g, space)
    if reason is None:
        try:
            runnable, _unused = cache.runnable_plan(plan, space)
            measured = cache.accuracy(runnable, space)
            return Tile(g, measured, cache.report(runnable, space))
        except PruningError as error:
            reason = str(error)
    return Tile(g, reason=reason)


def _rank(tile: Tile) -> float:
    """The best first; those without a number last."""
    if tile.measured is None:
        return float("inf")
    return -tile.measured.task.sign * tile.measured.value


def _draw(tile: Tile, dense: Evaluation, plan: Plan) -> None:
    g = tile.granularity
    label = from_core(g.label)
    used = g.name == plan.granularity
    if tile.measured is None or tile.counts is None:
        card = Card(label, (from_core(tile.reason),), tag=_("refused"), off=True)
        st.html(sheet([card], width=TILE))
        return
    measured = tile.measured
    counts = tile.counts
    lines = [
        value_words(measured),
        interval_line(measured),
        _("{share} of all weights removed", share=percent(counts.sparsity_model)),
    ]
    if counts.thinned_macs is not None:
        share = percent(counts.thinned_macs / counts.macs, 0)
        lines.append(_("{share} of the MACs in a thinned network", share=share))
    card = Card(
        label, tuple(lines), _shots(g, label), bar_of(measured, dense), tag_of(g, used), chosen=used
    )
    st.html(sheet([card], width=TILE))
    pressed = st.button(
        _("In use") if used else _("Use {name}", name=label),
        key=f"use_{family(g.name)}",
        disabled=used,
        width="stretch",
    )
    if pressed:
        state.change(granularity=g.name)
        st.rerun()  # the whole page: a callback would draw this fragment alone


def _shots(g: Granularity, label: str) -> tuple[Shot, ...]:
    picture = pattern_png(g)
    if picture is None:
        return ()
    png, width, height = picture
    alt = _("Pattern of {name} on a small convolution.", name=label)
    return (Shot(png, alt, width, height, smooth=True),)
