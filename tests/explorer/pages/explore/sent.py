"""What Explore sends to its components."""

import json
from typing import Any

from streamlit.testing.v1 import AppTest


def part(at: AppTest, name: str) -> Any:
    """What is sent to the component with that name."""
    return next(
        each.proto for each in at.get("bidi_component") if each.proto.component_name.endswith(name)
    )


def layer_table(at: AppTest) -> dict[str, Any]:
    """What the table of layers receives."""
    return json.loads(part(at, "pruning_layer_table").json)


def rows(at: AppTest) -> dict[str, dict[str, Any]]:
    """The rows by layer: numbers where the cells have some, else their texts."""
    sent = layer_table(at)
    names = [column["label"] for column in sent["columns"]]
    values = ([cell[0] if isinstance(cell, list) else cell for cell in row] for row in sent["rows"])
    return {row[0]: dict(zip(names, row, strict=True)) for row in values}


def layer_html(at: AppTest) -> str:
    """The histogram and the numbers of the layer that the page shows, as HTML."""
    htmls: list[Any] = list(at.get("html"))
    html: str = next(each.value for each in htmls if "pe-facts" in each.value)
    return html
