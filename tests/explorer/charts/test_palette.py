"""The palette: contrast with both backgrounds, and never colour alone."""

from itertools import pairwise

import pytest

from explorer.charts import palette


@pytest.mark.parametrize("background", [palette.LIGHT_PAGE, palette.DARK_PAGE])
def test_lines_and_bars_have_contrast_with_both_backgrounds(background: str) -> None:
    states = [colour for colour, _ in palette.STATES.values()]
    named = [
        palette.KEPT,
        palette.PRUNED,
        palette.THRESHOLD,
        palette.GAIN,
        palette.LOSS,
        *states,
        *palette.LAYERS,
        *palette.between(palette.DEPTH, 30),
    ]
    assert {
        colour: round(palette.contrast(colour, background), 2)
        for colour in named
        if palette.contrast(colour, background) < 3
    } == {}


def test_removed_cells_recede_in_both_modes_and_kept_cells_and_the_hatch_stand_out() -> None:
    for page in (palette.LIGHT_PAGE, palette.DARK_PAGE):
        removed = palette.over(palette.PRUNED_CELL, palette.PRUNED_CELL_ALPHA / 255, page)
        assert palette.contrast(removed, page) < 1.6
        assert palette.contrast(palette.KEPT_CELL, removed) > 3
        assert palette.contrast(palette.PRUNED_MARK, removed) > 3
    assert palette.over("#000000", 0.5, "#FFFFFF") == "#808080"


@pytest.mark.parametrize("count", [1, 8, 9, 12, 19, 22, 54])
def test_neighbouring_lines_have_clearly_different_colours(count: int) -> None:
    """The first layers are often the steepest: all would be blue on a scale from first to last."""
    colours = palette.of_lines(count)
    assert len(set(colours)) == len(colours) == count
    for one, other in pairwise(colours):
        gaps = [abs(a - b) for a, b in zip(palette.rgb(one), palette.rgb(other), strict=True)]
        assert sum(gaps) > 80


def test_states_differ_in_pattern_and_colour() -> None:
    assert len({pattern for _, pattern in palette.STATES.values()}) == len(palette.STATES)
    assert len({colour for colour, _ in palette.STATES.values()}) == len(palette.STATES)


def test_ramps_begin_and_end_at_their_stops() -> None:
    ramp = palette.ramp(palette.DIVERGING)
    assert ramp[0].tolist() == [0x7F, 0x3B, 0x08]
    assert ramp[-1].tolist() == [0x2D, 0x00, 0x4B]
    assert palette.between(palette.DEPTH, 2) == [palette.DEPTH[0], palette.DEPTH[-1]]
    assert palette.between(palette.DEPTH, 1) == [palette.DEPTH[0]]
    assert palette.contrast("#000000", "#FFFFFF") == pytest.approx(21)
