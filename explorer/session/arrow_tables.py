"""Rows of a page as Arrow tables, without pandas, which takes 5 ms for each of them."""

import json
from collections.abc import Mapping

import streamlit as st

INDEX = "__index_level_0__"
FIELDS = ("value", INDEX)
PANDAS = {
    "index_columns": [INDEX],
    "column_indexes": [
        {
            "name": None,
            "field_name": None,
            "pandas_type": "unicode",
            "numpy_type": "object",
            "metadata": {"encoding": "UTF-8"},
        }
    ],
    "columns": [
        {
            "name": None if name == INDEX else name,
            "field_name": name,
            "pandas_type": "unicode",
            "numpy_type": "object",
            "metadata": None,
        }
        for name in FIELDS
    ],
}
"""What the browser reads of a table whose index is its first column."""


def show_pairs(rows: Mapping[str, str], alt: str) -> None:
    """Draws a table of names and their texts."""
    import pyarrow as pa  # not before it is used

    values = [pa.array(texts, pa.string()) for texts in (list(rows.values()), list(rows))]
    table = pa.table(values, FIELDS, metadata={"pandas": json.dumps(PANDAS)})
    st.table(table, border="horizontal", hide_index=False, hide_header=True, alt=alt)
