"""The size of the masked network in every storage format: bars, crossovers, and a table."""

from typing import cast

import pandas as pd
import streamlit as st

from explorer.charts import alt, storage_bars
from explorer.charts.storage import times
from explorer.session import cache, state
from explorer.texts.formats import percent
from explorer.texts.help import HELP
from pruning_core.compress.storage_sizes import StoredSize
from pruning_core.plan import Plan
from pruning_core.types import Report
from pruning_core.workspaces import Workspace

AS_PAPERS = "As in the papers"
INDEX_BITS = (2, 3, 4, 5, 6, 8, 16)
LEAD = (
    "Zeros need no space in a file that stores only nonzeros and where they stand. Every position "
    "costs bits too, so each format is smaller than dense only above some sparsity. Only "
    "sparse.safetensors is written here; the table says which program reads the other formats."
)


def storage(plan: Plan, space: Workspace, report: Report) -> None:
    """Draws the sizes. Computed ones follow the plan; files are written on request."""
    st.subheader("Stored bytes in every format", anchor=False)
    st.caption(LEAD)
    bits_place, button_place = st.columns([3, 2], vertical_alignment="bottom")
    with bits_place:
        bits = _choose_bits()
    sizes = cache.stored_sizes(plan, space, bits)
    with button_place:
        if _asked_to_write(plan):
            with st.spinner("Writing the files …"):
                sizes = (*sizes, *cache.measured_sizes(plan, space))
    figure = storage_bars(sizes, report.sparsity_masked)
    st.plotly_chart(figure, key="storage_chart", config={"displayModeBar": False}, alt=alt(figure))
    with st.expander("Table, and which program reads each format", icon=":material/table:"):
        st.dataframe(table(sizes), hide_index=True, key="storage_table")


def _choose_bits() -> int | None:
    """The bits of a distance in the formats that store distances. None: those of the papers."""
    state.keep_widget("index_bits")
    options: tuple[str | int, ...] = (AS_PAPERS, *INDEX_BITS)
    chosen = st.selectbox(
        "Bits of a distance",
        options,
        key="index_bits",
        help=HELP["index_bits"],
    )
    return None if chosen == AS_PAPERS else cast(int, chosen)


def _asked_to_write(plan: Plan) -> bool:
    """Were the files of these masks requested? Draws the button where not."""
    key = cache.repair_key(plan)
    if state.stored("storage_written", "") == key:
        return True
    if st.button(
        "Write and measure files",
        key="storage_write",
        icon=":material/straighten:",
        help=HELP["storage_write"],
    ):
        state.store("storage_written", key)
        st.rerun()
    return False


def table(sizes: tuple[StoredSize, ...]) -> pd.DataFrame:
    """One row per format."""
    dense = next(size.bytes for size in sizes if size.format == "dense")
    return pd.DataFrame(
        {
            "Format": size.label,
            "Bytes": size.bytes,
            "Against dense": times(size.bytes, dense),
            "How known": "measured" if size.measured else "computed",
            "Smaller above sparsity": "–" if size.crossover is None else percent(size.crossover),
            "Which program reads it": size.read_by,
        }
        for size in sizes
    )
