"""The histogram of group scores as HTML."""

import re
from pathlib import Path

import numpy as np
import pytest

import explorer
from explorer.charts.score_bars import score_bars, score_bars_html


def test_every_group_is_counted_once_and_the_threshold_is_marked() -> None:
    scores = np.array([0.0, 1, 2, 3, np.inf])
    kept = np.array([False, False, True, True, True])
    bars = score_bars(scores, kept, 2.0, bins=3)
    assert bars.edges.tolist() == [0, 1, 2, 3]
    assert (bars.removed, bars.kept) == ((1, 1, 0), (0, 0, 2))
    html = score_bars_html(bars, "conv1.weight")
    heights = re.findall(r"--removed: ([\d.]+%); --all: ([\d.]+%)", html)
    assert heights == [("50.00%", "50.00%"), ("50.00%", "50.00%"), ("0.00%", "100.00%")]
    assert 'class="removed">removed (2)<' in html
    assert 'class="kept">kept (3)<' in html
    assert "--at: 66.67%" in html
    assert "Scores of conv1.weight: 3 of 5 groups kept, 2 removed." in html
    assert "1 group has no finite score." in html
    assert "score 2.5: 0 removed, 2 kept" in html


def test_the_style_of_every_page_has_no_colour_that_the_chart_does_not_give() -> None:
    rules = (Path(explorer.__file__).parent / "page.css").read_text(encoding="utf-8")
    style = rules[rules.index(".pe-scores {") :]
    html = score_bars_html(score_bars(np.arange(3.0), np.arange(3) > 0, 1.0), "fc1.weight")
    used = set(re.findall(r"var\((--[a-z]+-look)\)", style))
    assert used == set(re.findall(r"(--[a-z]+-look): [#r]", html))
    assert "<style" not in html, "the browser would read it again after every release"


def test_ranks_in_several_scopes_have_no_common_threshold() -> None:
    bars = score_bars(np.arange(4.0).reshape(2, 2), np.eye(2) > 0, None)
    assert "<hr" not in score_bars_html(bars, "fc1.weight")


@pytest.mark.parametrize("scores", [np.ones(4), np.array([2.5]), np.zeros(0)])
def test_unusual_scores(scores: np.ndarray) -> None:
    bars = score_bars(scores, np.ones(scores.shape, bool), None)
    assert sum(bars.kept) == scores.size
    assert f"kept ({scores.size})" in score_bars_html(bars, "fc1.weight")


def test_the_name_of_a_layer_is_text() -> None:
    bars = score_bars(np.ones(4), np.ones(4, bool), None)
    assert "<b>x" not in score_bars_html(bars, "<b>x")
