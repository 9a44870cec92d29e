"""The page Search: a search runs in the background, is drawn, and its ratios go into the plan."""

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from explorer.pages.search.run import KIND, SearchRequest
from explorer.session import cache
from tests.explorer.driven import text

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]
CHARTS = ("search_best", "search_candidates", "search_ratios")


def ended(at: AppTest) -> bool:
    return " candidates in " in text(at)


def started(open_view: Open, until: Until) -> AppTest:
    at = open_view(
        "search",
        model="lenet5",
        granularity="filter",
        probe="64",
        fine_tune="batch_size~256",
    )
    at.selectbox(key="search_method").set_value("random").run()
    at.number_input(key="search_evaluations").set_value(4).run()
    at.button(key="search_start").click().run()
    return until(at, ended)


def test_an_empty_page_says_what_a_search_is(open_view: Open) -> None:
    at = open_view("search", model="lenet5")
    assert "A search proposes how much to remove in each layer" in text(at)
    assert "No search has run yet" in at.info[0].value
    assert not at.get("plotly_chart")


def test_a_search_runs_and_its_best_ratios_go_into_the_plan(open_view: Open, until: Until) -> None:
    at = started(open_view, until)
    drawn = [chart.proto.id for chart in at.get("plotly_chart")]
    assert all(any(name in key for key in drawn) for name in CHARTS)
    assert "Uniform" in text(at)
    assert "global magnitude" in text(at)
    assert at.button(key="search_start").disabled
    (job,) = cache.jobs().snapshots("test session id", KIND)
    assert isinstance(job.about, SearchRequest)
    assert job.about.settings.evaluations == 4
    at.button(key="search_open").click().run()
    assert not at.exception
    assert "overrides" in at.query_params
    assert "for another plan" not in text(at)
    # Streamlit cannot leave a page whose widgets are bound to the address.
    assert not [key for key in at.query_params if key.startswith("search")]
    assert at.session_state["_stored_destination"] == "explore"


def test_the_lab_fine_tunes_candidates_and_compares_the_order(
    open_view: Open, until: Until
) -> None:
    at = started(open_view, until)
    at.number_input(key="lab_count").set_value(4).run()
    at.button(key="lab_start").click().run()
    until(at, lambda at: "Over 4 candidates" in text(at))
    (table,) = at.dataframe
    assert list(table.value["Measured"]) == ["with repair", "without repair"]
    assert list(table.value.columns) == ["Measured", "Pearson", "Spearman", "Kendall"]
    assert "1 epoch on" in text(at)
