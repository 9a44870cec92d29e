"""The table of layers: one row each. A click on a row or the arrow keys choose a layer.

    columns = (Column("Layer"), Column("Weights", number=True))
    rows = [("conv1.weight", (144, "144"))]
    layer_table(
        columns, rows, chosen="conv1.weight", label="Layers", key="layers", on_choose=choose
    )

Each choice is reported once. A click on a column's name sorts the rows, in the browser, which keeps
the order while other pages are shown. The rows are HTML. Streamlit's table is a canvas, and gives
its texts to screen readers 0.2 s after it is drawn.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from explorer.components.choice import chosen_name
from explorer.components.data_numbers import data_number
from explorer.components.layer_table.words import words
from explorer.components.scripts import joined
from explorer.session import state

__all__ = ["Cell", "Column", "layer_table", "source"]

Cell = str | tuple[float, str] | None
"""A text; a number, by which the rows are sorted, and its text; None where there is no value."""
FOLDER = Path(__file__).parent
SCRIPTS = ("../latest_call.js", "../choice.js", "../words.js", "table.js")


@dataclass(frozen=True)
class Column:
    """A column. number: its texts stand at the right; bar: a bar from 0 to 100 is drawn too."""

    label: str
    help: str = ""
    number: bool = False
    bar: bool = False


def source() -> str:
    """The component's script: its files joined into one module."""
    return joined(FOLDER, SCRIPTS)


_TABLE = st.components.v2.component(
    "pruning_layer_table",
    html=(FOLDER / "table.html").read_text(encoding="utf-8"),
    css=(FOLDER / "table.css").read_text(encoding="utf-8"),
    js=source(),
)


def layer_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    *,
    chosen: str,
    label: str,
    key: str,
    on_choose: Callable[[str], None],
) -> None:
    """Draws the table with the chosen layer's row marked.

    rows: the cells of each layer; the first is its name, a text.
    label: what the table shows, for screen readers.
    on_choose: called with the layer that the user chose, before the script runs.
    """
    names = [str(row[0]) for row in rows]

    def reported() -> None:
        if (name := chosen_name(state.widget_value(key, None), names)) is not None:
            on_choose(name)

    data: dict[str, object] = {
        "columns": [asdict(column) for column in columns],
        "rows": [list(row) for row in rows],
        "chosen": chosen,
        "label": label,
        "words": words(),
        "key": key,
    }
    _TABLE(data=data | {"number": data_number(key, data)}, key=key, on_selected_change=reported)
