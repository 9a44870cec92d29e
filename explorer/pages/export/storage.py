"""The size of the pruned network in every storage format: bars, crossovers, and a table."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

import pandas as pd
import streamlit as st

from explorer.charts import alt, storage_bars
from explorer.charts.storage import times
from explorer.pages.export.downloads import Files
from explorer.session import cache, state
from explorer.session.foldable import foldable
from explorer.session.notices import show_errors
from explorer.texts.formats import percent, signed, value_text
from explorer.texts.help import HELP
from explorer.texts.translate import N_, _, from_core
from pruning_core.compress.shared_storage import SharingCost, sharing_cost
from pruning_core.compress.storage_sizes import (
    StoredSize,
    computed_sizes,
    dense_stored,
    measured_sizes,
)
from pruning_core.compress.thin_sizes import thinned_bytes
from pruning_core.granularity import granularity
from pruning_core.types import Report

Result = TypeVar("Result")
AS_PAPERS = N_("As in the papers")
NOT_SHARED = N_("Off")
OPTIONS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "index_bits": (N_("Bits of a distance"), (AS_PAPERS, 2, 3, 4, 5, 6, 8, 16)),
    "share_bits": (N_("Weight sharing, bits"), (NOT_SHARED, 8, 6, 5, 4, 3, 2)),
}
"""Key of a widget -> its label and options; the first one stands for None."""
LEAD = N_(
    "Zeros need no space in a file that stores only nonzeros and where they stand. Every position "
    "costs bits too, so each format is smaller than dense only above some sparsity. Only "
    "sparse.safetensors is written here; the table says which program reads the other formats."
)


def storage(files: Files, report: Report) -> int | None:
    """Draws the sizes; returns the bits of shared weights that are chosen, None where they are off.

    Computed sizes follow the plan; files are written on request.
    """
    st.subheader(_("Stored bytes in every format"), anchor=False)
    st.caption(_(LEAD))
    places = st.columns(3, vertical_alignment="bottom")
    with places[0]:
        index_bits = _choose("index_bits")
    with places[1]:
        share_bits = _choose("share_bits")
    sizes = computed(files, index_bits)
    with places[2]:
        if _asked_to_write(files):
            with st.spinner(_("Writing the files …")):
                sizes = (*sizes, *_kept(partial(_measured, files), files, "measured"))
    if share_bits is not None:
        with show_errors():
            sizes = (*sizes, *_shared(files, share_bits, index_bits))
    figure = storage_bars(sizes, report.sparsity_masked)
    st.plotly_chart(figure, key="storage_chart", config={"displayModeBar": False}, alt=alt(figure))
    with foldable(
        _("Table, and which program reads each format"), "storage_shown", ":material/table:"
    ):
        columns = {
            _("Format"): st.column_config.TextColumn(width=150),
            _("Bytes"): st.column_config.NumberColumn(format="localized"),
        }
        st.dataframe(table(sizes), hide_index=True, key="storage_table", column_config=columns)
    return share_bits


def computed(files: Files, index_bits: int | None = None) -> tuple[StoredSize, ...]:
    """The computed sizes of the exported network. index_bits: as in `count_layer`."""
    chosen = granularity(files.plan.granularity)
    space = files.space
    make = partial(computed_sizes, space.model, space.layers, files.masks, chosen, index_bits)
    return _kept(make, files, "computed", index_bits)


def thinned(files: Files) -> int | None:
    """The computed bytes of the thinned network; None where it is not narrower or not known."""
    if not granularity(files.plan.granularity).narrows:
        return None
    space = files.plan.resolve(files.space).space
    make = partial(thinned_bytes, files.network(), space, files.masks)
    return _kept(make, files, "thinned")


def _choose(key: str) -> int | None:
    state.keep_widget(key)
    label, options = OPTIONS[key]
    chosen = st.selectbox(
        _(label), options, key=key, format_func=lambda own: _(str(own)), help=HELP[key]
    )
    return None if chosen == options[0] else cast(int, chosen)


def subject_key(files: Files) -> str:
    """All that the exported network depends on, as text."""
    return cache.repair_key(files.plan) if files.model is None else files.plan.to_json()


def _kept(make: Callable[[], Result], files: Files, *parts: object) -> Result:
    return cache.cached_detail(make, files.space, "storage", subject_key(files), *parts)


def _measured(files: Files) -> tuple[StoredSize, ...]:
    return measured_sizes(files.network(), files.by_parameter())


def _shared(files: Files, share_bits: int, index_bits: int | None) -> tuple[StoredSize, ...]:
    """The sizes with shared weights; writes what sharing costs on the test split."""

    def measure() -> SharingCost:
        return sharing_cost(
            files.plan,
            files.space,
            files.masks,
            share_bits,
            model=files.network(),
            index_bits=index_bits,
        )

    with st.spinner(_("Sharing weights, and measuring the network …")):
        cost = _kept(measure, files, "shared", share_bits, index_bits)
    task = cost.after.task
    st.markdown(
        _(
            "**{bits}-bit shared weights**: {value} {before} → {after} on the test split, "
            "measured: {change}, n = {n:,}. *sparse.safetensors* below holds this network; all "
            "other files hold the weights without sharing.",
            bits=share_bits,
            value=from_core(task.value_label),
            before=value_text(cost.before.value, task),
            after=value_text(cost.after.value, task),
            change=signed(cost.change.value, cost.change.interval, task),
            n=cost.after.n,
        )
    )
    return cost.sizes


def _asked_to_write(files: Files) -> bool:
    """Were the files of this network requested? Draws the button where not."""
    key = subject_key(files)
    if state.stored("storage_written", "") == key:
        return True
    if st.button(
        _("Measure files"),
        key="storage_write",
        icon=":material/straighten:",
        help=HELP["storage_write"],
    ):
        state.store("storage_written", key)
        st.rerun()
    return False


def table(sizes: tuple[StoredSize, ...]) -> pd.DataFrame:
    """One row per format."""
    dense = dense_stored(sizes)
    return pd.DataFrame(
        {
            _("Format"): from_core(size.label),
            _("Bytes"): size.bytes,
            _("Against dense"): times(size.bytes, dense),
            _("How known"): _("measured") if size.measured else _("computed"),
            _("Smaller above sparsity"): "–" if size.crossover is None else percent(size.crossover),
            _("Which program reads it"): from_core(size.read_by),
        }
        for size in sizes
    )
