"""One filter: its weights kernel by kernel, and its rank under every criterion."""

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
            "Filter", 0, most, key="filter", bind="query-params", width=170, help=HELP["filter"]
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
    (_, i, h, w) = layer.shape
    word = "kernel" if h * w > 1 else "weight"
    st.markdown(f"**Filter {chosen}, {word} by {word}**", help=HELP["kernels"])
    alt = f"Weights of filter {chosen} of {layer.name}: {left:,} of {one.numel():,} kept."
    scale = min(CELL, PIXELS / width)
    shot = Shot(
        weights_png(tiles, laid, limit, scale),
        alt,
        round(width * scale),
        round(float(tiles.row_edges[-1]) * scale),
    )
    st.html(plate(shot))
    what = f"{i:,} {word}{'s' if i > 1 else ''}{f' of {h} × {w}' if h * w > 1 else ''}"
    st.caption(
        f"{what}, one per input channel, in reading order; {percent(left / one.numel())} kept. "
        f"Violet above zero, orange below, full colour at ±{limit:.3g}; "
        "grey and hatched is removed."
    )


def _ranks(plan: Plan, space: Workspace, layer: Layer, chosen: int) -> None:
    count = layer.shape[0]
    names = criteria(plan.criterion)
    st.markdown(f"**Rank among {count:,} filters**", help=HELP["filter_ranks"])
    hows = {name: criterion(name, plan.seed) for name in names}
    costly = [name for name, how in hows.items() if how.runs_network]
    state.keep_widget("costly")
    if not st.toggle(
        f"Score by the {len(costly)} criteria that run the network too",
        key="costly",
        help=HELP["costly"],
    ):
        names = tuple(name for name in names if name not in costly or name == plan.criterion)
    bar = st.progress(0.0)
    rankings = []
    for done, name in enumerate(names):
        bar.progress(done / len(names), f"Scoring by {plain(hows[name].label)} …")
        rankings.append(_ranking(name, plan, space, layer))
    bar.empty()
    rows = [_row(ranking, chosen, count) for ranking in rankings if ranking.refusal is None]
    columns = {
        "Score": st.column_config.NumberColumn(format="%.3g", help=HELP["filter_score"]),
        "Rank": st.column_config.TextColumn(help=HELP["filter_rank"]),
        "Above": st.column_config.ProgressColumn(
            min_value=0, max_value=100, format="%.0f%%", help=HELP["filter_percentile"]
        ),
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=columns, height="content")
    st.caption(
        "First row: the plan's own criterion. Rank 1 is removed first. *Above*: the fraction of "
        f"the other filters with a lower score. Criteria that read data use {plan.calibration:,} "
        "training images."
    )
    for ranking in rankings:
        if ranking.refusal is not None:
            st.caption(f":gray[{plain(ranking.label)}: {plain(ranking.refusal)}]")


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
        "Criterion": ranking.label,
        "Score": score,
        "Rank": f"{rank:,} of {count:,}",
        "Above": 100 * lower / max(1, count - 1),
    }
