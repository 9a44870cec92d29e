"""One filter: its weights kernel by kernel, and its rank under every criterion."""

from typing import Any

import pandas as pd
import streamlit as st

from explorer.charts import robust_limit
from explorer.charts.contact_sheet import Shot, plate
from explorer.charts.raster import weights_png
from explorer.pages.explore.layer_details import (
    FilterRanking,
    criteria,
    filter_picture,
    filter_rankings,
)
from explorer.session import cache, state
from explorer.session.notices import plain
from explorer.texts.formats import percent
from explorer.texts.help import HELP
from explorer.texts.translate import _, from_core, in_a_row, n_
from pruning_core.criteria import criterion
from pruning_core.model.inventory import weights
from pruning_core.plan import Plan
from pruning_core.types import Layer
from pruning_core.workspaces import Workspace

PIXELS = 520
"""The largest width of the picture and of a cell, in pixels."""
CELL = 22


def follow(layer: Layer, chosen: int | None) -> None:
    """Shows the filter that was chosen in the lab, once per choice.

    Afterwards the user may choose another number.
    """
    if chosen is not None and state.stored("filter_followed", None) != (layer.name, chosen):
        state.store("filter_followed", (layer.name, chosen))
        state.set_widget("filter", chosen)


def filter_panel(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    """Draws the number, the picture and the table."""
    most = layer.shape[0] - 1
    state.keep_widget("filter")
    state.limit_widget("filter", most)
    chosen = int(
        st.number_input(
            _("Filter number"),
            0,
            most,
            key="filter",
            bind="query-params",
            width=170,
            help=HELP["filter"],
        )
    )
    halves = st.grid(2, min_column_width=320)
    with halves.cell():
        _picture(plan, space, layer, refusal, chosen)
    with halves.cell():
        _ranks(plan, space, layer, chosen)


def _picture(plan: Plan, space: Workspace, layer: Layer, refusal: str | None, chosen: int) -> None:
    weight = weights(space.model, (layer,))[layer.name]
    mask = None if refusal else cache.masks(plan, space).get(layer.name)
    one = weight[chosen : chosen + 1]
    kept = (one == one) if mask is None else mask[chosen : chosen + 1]
    tiles, laid = filter_picture(one.numpy(), kept.numpy(), wide=2.0)
    width = float(tiles.col_edges[-1])
    limit = cache.cached_detail(
        lambda: robust_limit(weight.numpy()), space, "limit", plan.model, plan.dataset, layer.name
    )
    left = int(kept.sum())
    h, w = layer.shape[2:]
    name = (
        _("Filter {number}, kernel by kernel", number=chosen)
        if h * w > 1
        else _("Filter {number}, weight by weight", number=chosen)
    )
    st.markdown(f"**{name}**", help=HELP["kernels"])
    alt = _(
        "Weights of filter {number} of {layer}: {left:,} of {total:,} kept.",
        number=chosen,
        layer=layer.name,
        left=left,
        total=one.numel(),
    )
    scale = min(CELL, PIXELS / width)
    shot = Shot(
        weights_png(tiles, laid, limit, scale),
        alt,
        round(width * scale),
        round(float(tiles.row_edges[-1]) * scale),
    )
    st.html(plate(shot))
    st.caption(_picture_words(layer, left / one.numel(), limit))


def _picture_words(layer: Layer, kept: float, limit: float) -> str:
    """What the picture of a filter shows. kept: its share; limit: of the colours."""
    i, h, w = layer.shape[1:]
    what = (
        n_("{n} kernel of {h} × {w}", "{n} kernels of {h} × {w}", i, h=h, w=w)
        if h * w > 1
        else n_("{n} weight", "{n} weights", i)
    )
    return _(
        "{what}, one per input channel, in reading order; {share} kept. "
        "Violet above zero, orange below, full colour at ±{limit}; "
        "grey and hatched is removed.",
        what=what,
        share=percent(kept),
        limit=f"{limit:.3g}",
    )


def _ranks(plan: Plan, space: Workspace, layer: Layer, chosen: int) -> None:
    count = layer.shape[0]
    names = criteria(plan.criterion)
    title = _("Rank among {count:,} filters", count=count)
    st.markdown(f"**{title}**", help=HELP["filter_ranks"])
    hows = {name: criterion(name, plan.seed) for name in names}
    costly = [name for name, how in hows.items() if how.runs_network]
    state.keep_widget("costly")
    if not st.toggle(
        _("Score by the {n} criteria that run the network too", n=len(costly)),
        key="costly",
        help=HELP["costly"],
    ):
        names = tuple(name for name in names if name not in costly or name == plan.criterion)
    bar = st.progress(0.0)
    rankings = []
    for done, name in enumerate(names):
        label = plain(hows[name].label)
        bar.progress(done / len(names), _("Scoring by {criterion} …", criterion=label))
        rankings.append(_ranking(name, plan, space, layer))
    bar.empty()
    rows = [_row(ranking, chosen, count) for ranking in rankings if ranking.refusal is None]
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=_columns(), height="content")
    words = _(
        "First row: the plan's own criterion. Rank 1 is removed first. *Above*: the fraction "
        "of the other filters with a lower score."
    )
    read = _("Criteria that read data use {n:,} training images.", n=plan.calibration)
    st.caption(in_a_row((words, read if any(hows[name].needs_data for name in names) else "")))
    for ranking in rankings:
        if ranking.refusal is not None:
            words = _("{name}: {reason}", name=plain(ranking.label), reason=plain(ranking.refusal))
            st.caption(f":gray[{words}]")


def _columns() -> dict[str, Any]:
    """The name, format and help of each column."""
    config = st.column_config
    return {
        "Criterion": config.TextColumn(_("Criterion")),
        "Score": config.NumberColumn(
            _("Score"), format="%.3g", width=100, help=HELP["filter_score"]
        ),
        "Rank": config.TextColumn(_("Rank"), help=HELP["filter_rank"]),
        "Above": config.ProgressColumn(
            _("Above"),
            min_value=0,
            max_value=100,
            format="%.0f%%",
            help=HELP["filter_percentile"],
        ),
    }


def _ranking(name: str, plan: Plan, space: Workspace, layer: Layer) -> FilterRanking:
    """Computed for all layers at once: another layer or filter costs nothing more."""
    how = criterion(name, plan.seed)
    key = (
        "filters",
        plan.model,
        plan.dataset,
        name,
        how,
        plan.calibration if how.needs_data else None,
    )
    return cache.cached_detail(lambda: filter_rankings(name, plan, space), space, *key)[layer.name]


def _row(ranking: FilterRanking, chosen: int, count: int) -> dict[str, object]:
    rank = int(ranking.ranks[chosen])
    score = float(ranking.scores[chosen])
    lower = int((ranking.scores < ranking.scores[chosen]).sum())
    return {
        "Criterion": from_core(ranking.label),
        "Score": score,
        "Rank": _("{rank:,} of {count:,}", rank=rank, count=count),
        "Above": 100 * lower / max(1, count - 1),
    }
