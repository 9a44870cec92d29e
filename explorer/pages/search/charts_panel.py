"""The charts of searches: best so far, every candidate, and the agent's reward."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from explorer.charts import alt
from explorer.charts.search import best_so_far_chart, candidates_chart, extra_chart
from explorer.pages.search.events import BASELINES
from explorer.pages.search.form import cost_label, cost_share, cost_words
from explorer.pages.search.run import SearchRun
from explorer.session import state
from explorer.texts.formats import value_text
from explorer.texts.help import HELP
from explorer.texts.translate import _
from pruning_core.search import Candidate
from pruning_core.search.run import TOP
from pruning_core.tasks import Task

CHART = "search_candidates"
SHOWN = "search_shown"
BEST = (-1, 0)
"""Stored where no candidate was chosen: the best one is shown."""
WIDTH = 420
"""Charts are side by side where each is at least so wide, in pixels."""
Chosen = tuple[SearchRun, Candidate]


def charts_panel(shown: Sequence[SearchRun], task: Task) -> Chosen | None:
    """Draws the charts; returns the candidate to show, and its search.

    shown: searches that can be compared, of which at least one has candidates.
    """
    started = shown[-1].started
    assert started is not None
    searches = {run.asked.name: run.candidates for run in shown}
    baselines = {_(BASELINES[name]): candidate for name, candidate in started.baselines.items()}
    chosen = _chosen(shown)
    cost = _cost(shown)
    row = st.grid(2, min_column_width=WIDTH)
    values = {name: candidate.judged.value for name, candidate in baselines.items()}
    best = best_so_far_chart(searches, values, started.dense.value, task)
    _draw(row, best, "search_best")
    settings = shown[-1].asked.settings
    keep = settings.keep if settings.budget == cost else None
    words = (cost, cost_words(cost))
    every = candidates_chart(searches, baselines, words, keep, chosen and chosen[1], task)
    row.plotly_chart(
        every,
        key=CHART,
        alt=alt(every),
        config={"displayModeBar": False},
        on_select=_clicked,
        selection_mode="points",
    )
    _rewards(searches)
    return _select(shown, chosen, task)


def _draw(place: Any, figure: Any, key: str) -> None:
    place.plotly_chart(figure, key=key, alt=alt(figure), config={"displayModeBar": False})


def _cost(shown: Sequence[SearchRun]) -> str:
    """The cost on the horizontal axis; at first one that the budget leaves free."""
    settings = shown[-1].asked.settings
    costs = tuple(next(c for run in shown for c in run.candidates).costs)
    free = [name for name in costs if name != settings.budget]
    usual = free[0] if free and settings.keep is not None else costs[0]
    state.keep_widget("search_over")
    chosen = st.segmented_control(
        _("Candidates over"),
        costs,
        default=usual,
        format_func=cost_label,
        required=True,
        key="search_over",
        help=HELP["search_over"],
    )
    return str(chosen)


def _rewards(searches: dict[str, tuple[Candidate, ...]]) -> None:
    """The reward of methods that learn from one."""
    if any("reward" in c.extra for candidates in searches.values() for c in candidates[:1]):
        _draw(st, extra_chart(searches, "reward"), "search_reward")


def _clicked() -> None:
    """Shows the candidate of the point that was clicked."""
    nothing: dict[str, Any] = {"selection": {"points": []}}
    points = state.widget_value(CHART, nothing)["selection"]["points"]
    if points and "customdata" in points[0]:
        place, number, *_ = points[0]["customdata"]
        state.store(SHOWN, (int(place), int(number)))


def _chosen(shown: Sequence[SearchRun]) -> Chosen | None:
    """The candidate that was clicked or selected; else the best one."""
    place, number = state.stored(SHOWN, BEST)
    if 0 <= place < len(shown):
        run = shown[place]
        own = next((c for c in run.candidates if c.number == number), None)
        if own is not None:
            return run, own
    return best_of(shown)


def best_of(shown: Sequence[SearchRun]) -> Chosen | None:
    """The best candidate within the budget of all searches, and its search."""
    bests = [(run, run.best) for run in shown if run.best is not None]
    return max(bests, key=lambda pair: pair[1].judged.rank, default=None)


def _select(shown: Sequence[SearchRun], chosen: Chosen | None, task: Task) -> Chosen | None:
    """A select box with the best candidates and the one that is shown.

    "The best" is an option of its own, which a better candidate of a running search changes.
    """
    if chosen is None:
        return None
    every = [(run, c) for run in shown for c in run.candidates]
    ranked = sorted(every, key=lambda pair: pair[1].judged.rank, reverse=True)[:TOP]
    options = {_key(shown, pair): pair for pair in [*ranked, chosen]}
    stored = state.stored(SHOWN, BEST)
    state.set_widget(SHOWN, stored if stored in options else BEST)
    st.selectbox(
        _("Candidate shown"),
        (BEST, *options),
        format_func=lambda key: _("The best") if key == BEST else _words(*options[key], task),
        key=SHOWN,
        help=HELP["search_shown"],
        on_change=_selected,
        width=520,
    )
    return chosen


def _key(shown: Sequence[SearchRun], pair: Chosen) -> tuple[int, int]:
    return list(shown).index(pair[0]), pair[1].number


def _selected() -> None:
    state.store(SHOWN, state.widget_value(SHOWN, BEST))


def _words(run: SearchRun, candidate: Candidate, task: Task) -> str:
    """82.3%, 50.1% of the MACs: candidate 57 of EagleEye, seed 0."""
    value = value_text(candidate.judged.value, task)
    return _(
        "{value}, {cost}: candidate {number} of {search}",
        value=value,
        cost=cost_share(run.asked.settings.budget, candidate.cost),
        number=candidate.number,
        search=run.asked.name,
    )
