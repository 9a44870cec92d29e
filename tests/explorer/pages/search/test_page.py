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
    assert at.query_params["search"] == "method~random~evaluations~4"
    assert at.session_state["_stored"]["destination"] == "explore"


def test_the_form_is_in_the_address(open_view: Open) -> None:
    text_now = "method~nsga2%3Apopulation%3D20~budget~bytes~keep~none~seed~3~most~0.8"
    at = open_view("search", model="lenet5", granularity="filter", search=text_now)
    assert at.selectbox(key="search_method").value == "nsga2"
    assert at.selectbox(key="search_budget").value == "bytes"
    assert at.number_input(key="search_nsga2_population").value == 20
    assert at.number_input(key="search_seed").value == 3
    assert at.slider(key="search_bounds").value == (0, 80)
    assert at.toggle(key="search_front").value
    assert at.number_input(key="search_keep").disabled
    at.selectbox(key="search_method").set_value("tpe").run()
    assert at.query_params["search"] == "method~tpe~budget~bytes~seed~3~most~0.8"
    at.number_input(key="search_keep").set_value(40).run()
    at.number_input(key="search_tpe_first").set_value(7).run()
    method = "method~tpe%3Afirst%3D7"
    assert at.query_params["search"] == f"{method}~budget~bytes~keep~0.4~seed~3~most~0.8"
    assert at.toggle(key="same_channels").disabled
    wrong = open_view("search", model="lenet5", search="seed~x")
    assert "The seed of the search in the address cannot be 'x'." in wrong.warning[0].value
    assert wrong.number_input(key="search_seed").value == 0


def test_the_lab_fine_tunes_candidates_and_compares_the_order(
    open_view: Open, until: Until
) -> None:
    at = started(open_view, until)
    at.number_input(key="lab_count").set_value(4).run()
    at.button(key="lab_start").click().run()
    until(at, lambda at: "Over 4 candidates" in text(at))
    (table,) = at.dataframe
    assert list(table.value["Measured"]) == ["with repair", "without repair", "difference"]
    assert list(table.value.columns) == ["Measured", "Pearson", "Spearman", "Kendall"]
    assert "1 epoch on" in text(at)
