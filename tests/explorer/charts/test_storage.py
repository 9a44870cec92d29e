"""Bars of stored bytes: computed and measured ones differ, and the crossovers are drawn."""

from explorer.charts import alt, storage_bars
from explorer.charts.storage import times
from pruning_core.compress.storage_sizes import StoredSize

SIZES = (
    StoredSize("dense", "Dense", 1000, False),
    StoredSize("csr", "CSR", 1200, False, 0.5),
    StoredSize("sparse", "Sparse file", 400, True),
)


def test_bars_have_bytes_factor_kind_and_crossover() -> None:
    figure = storage_bars(SIZES, 0.4)
    computed, measured, column, borders, numbers = figure.data
    assert (computed.y, computed.x) == (("Dense", "CSR"), (1000, 1200))
    assert measured.y == ("Sparse file",)
    assert column.text == (" 1,000 B", " 1,200 B · 0.83×", " 400 B · 2.50×")
    assert computed.marker.pattern.shape != measured.marker.pattern.shape
    assert (borders.y, borders.base, borders.x) == (("CSR",), (50.0,), (50.0,))
    assert (numbers.x, numbers.text) == ((100,), (" 50%",))
    dense_line, plan_line = (line.x0 for line in figure.layout.shapes)
    assert (dense_line, plan_line) == (1000, 40.0)
    assert min(column.x) >= max(*computed.x, dense_line), "nothing crosses the numbers"
    assert "Sparse file, 400 bytes, 40% of dense" in alt(figure)


def test_computed_sizes_alone_have_no_empty_legend_entry() -> None:
    figure = storage_bars(SIZES[:2], 0.4)
    named = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert named == ["computed", "smaller than dense from"]
    assert [times(size, 1000) for size in (500, 1000, 1200)] == [
        "2.00× smaller",
        "as dense",
        "1.20× larger",
    ]
