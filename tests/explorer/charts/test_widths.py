"""Bars of the outputs that each layer keeps."""

from explorer.charts import alt, width_bars
from pruning_core.compress.thin import Width


def test_bars_have_kept_and_removed_outputs_of_every_layer() -> None:
    figure = width_bars([Width("a", (8, 5), (1, 1)), Width("b", (4, 4), (8, 5))])
    kept, removed, words = figure.data
    assert (kept.y, kept.x) == (("a", "b"), (5, 4))
    assert removed.x == (3, 0)
    assert words.text == (" 8 → 5", " 4")
    assert "1 are narrower, 12 outputs became 9" in alt(figure)
