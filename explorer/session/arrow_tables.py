"""Rows of a page as Arrow tables, without pandas, which takes 5 ms for each of them."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    import pyarrow

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


def records(rows: Sequence[Mapping[str, Any]], numbers: Sequence[str] = ()) -> "pyarrow.Table":
    """One column per key. numbers: the columns of real numbers, which may have no value at all."""
    import pyarrow as pa  # not before it is used

    table = pa.Table.from_pylist(list(rows))
    for name in numbers:
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table.column(name).cast(pa.float64()))
    return table


def show_pairs(rows: Mapping[str, str], alt: str) -> None:
    """Draws a table of names and their texts."""
    import pyarrow as pa  # not before it is used

    values = [pa.array(texts, pa.string()) for texts in (list(rows.values()), list(rows))]
    table = pa.table(values, FIELDS, metadata={"pandas": json.dumps(PANDAS)})
    st.table(table, border="horizontal", hide_index=False, hide_header=True, alt=alt)
