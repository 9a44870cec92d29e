"""One filter: its weights kernel by kernel, and where every criterion ranks it among the layer's
filters.
"""

import pandas as pd
import streamlit as st

from explorer.charts import robust_limit
from explorer.charts.contact_sheet import Shot, plate
from explorer.charts.raster import weights_png
from explorer.pages.explore.layer_details import Scored, criteria, filter_picture, scored
from explorer.session import cache, state
from explorer.session.notices import plain
from explorer.texts.formats import percent
from explorer.texts.help import HELP
from pruning_core.criteria import criterion
from pruning_core.model.inventory import weights
from pruning_core.plan import Plan
from pruning_core.types import Layer
from pruning_core.workspace import Workspace

PIXELS = 520
"""Most pixels of the picture's width, and of a cell."""
CELL = 22
QUICK = 10**9
"""Multiply-adds of one pass over the calibration images, up to which all criteria are computed
unasked.
"""


def follow(layer: Layer, chosen: int | None) -> None:
    """Shows the filter that was chosen elsewhere, once for each choice: after that the number is
    the user's.
    """
    if chosen is not None and state.stored("filter_followed", None) != (layer.name, chosen):
        state.store("filter_followed", (layer.name, chosen))
        state.set_widget("filter", chosen)


def filter_panel(plan: Plan, space: Workspace, layer: Layer, refusal: str | None) -> None:
    """Draws number, picture and table."""
    most = layer.shape[0] - 1
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
        lambda: robust_limit(weight.numpy()), "limit", plan.model, plan.dataset, layer.name
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
        f"{what}, one per input channel, in reading order; {percent(left / one.numel())} kept. Violet above zero, orange below, "
        f"full colour at ±{limit:.3g}; grey and hatched is removed by the plan."
    )


def _ranks(plan: Plan, space: Workspace, layer: Layer, chosen: int) -> None:
    count = layer.shape[0]
    names = criteria(plan.criterion)
    st.markdown(f"**What it is worth, of {count:,} filters**", help=HELP["filter_ranks"])
    hows = {name: criterion(name, plan.seed) for name in names}
    costly = [name for name, how in hows.items() if how.runs_network]
    small = sum(each.macs for each in space.layers) * plan.calibration <= QUICK
    if not st.toggle(
        f"Score by the {len(costly)} criteria that run the network too",
        value=small,
        help=HELP["costly"],
    ):
        names = tuple(name for name in names if name not in costly or name == plan.criterion)
    found = [_scored(name, plan, space, layer) for name in names]
    rows = [_row(each, chosen, count) for each in found if each.refusal is None]
    columns = {
        "Score": st.column_config.NumberColumn(format="%.3g", help=HELP["filter_score"]),
        "Rank": st.column_config.TextColumn(help=HELP["filter_rank"]),
        "Above": st.column_config.ProgressColumn(
            min_value=0, max_value=100, format="%.0f%%", help=HELP["filter_percentile"]
        ),
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=columns, height="content")
    st.caption(
        f"First row: the plan's own criterion. Rank 1 goes first; *above*: the share of the other filters that score lower. "
        f"Criteria that read data use {plan.calibration:,} training images."
    )
    for each in found:
        if each.refusal is not None:
            st.caption(f":gray[{plain(each.label)}: {plain(each.refusal)}]")


def _scored(name: str, plan: Plan, space: Workspace, layer: Layer) -> Scored:
    """Of all layers at once, so that another layer or filter costs nothing more."""
    how = criterion(name, plan.seed)
    key = (
        "filters",
        plan.model,
        plan.dataset,
        name,
        how,
        plan.calibration if how.needs_data else None,
    )
    return cache.cached_detail(lambda: scored(name, plan, space), *key)[layer.name]


def _row(found: Scored, chosen: int, count: int) -> dict[str, object]:
    rank = int(found.ranks[chosen])
    score = float(found.scores[chosen])
    lower = int((found.scores < found.scores[chosen]).sum())
    return {
        "Criterion": found.label,
        "Score": score,
        "Rank": f"{rank:,} of {count:,}",
        "Above": 100 * lower / max(1, count - 1),
    }
