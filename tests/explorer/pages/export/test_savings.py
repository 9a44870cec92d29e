"""The four numbers of the page Export, and the measurement of time in the background."""

from collections.abc import Callable, Iterator
from unittest.mock import patch

from streamlit.testing.v1 import AppTest

from explorer.pages.export import savings as panel
from explorer.pages.export.events import MULTIPLES
from explorer.session import cache
from pruning_core.compress.latency import Latency, time_plan
from pruning_core.granularity import GRANULARITIES
from pruning_core.plan import Plan
from pruning_core.workspaces import Workspace
from tests.explorer.driven import text

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]


def test_every_granularity_says_which_numbers_it_can_change() -> None:
    said = {name: panel.what_can_change(g) for name, g in GRANULARITIES.items()}
    assert said["fine"] == panel.FINE
    assert said["2:4"] == panel.N_OF_M
    assert {name for name, words in said.items() if words == panel.CHANNELS} == {
        *("filter", "channel", "head")
    }


def measured(at: AppTest, until: Until) -> Latency:
    """After a click and a quick measurement."""

    def quick(plan: Plan, space: Workspace, batches: tuple[int, ...]) -> Iterator[object]:
        assert batches == (1, 32)
        return time_plan(
            plan,
            space,
            batches=(2,),
            runtimes=("eager",),
            round_to=MULTIPLES,
            rounds=7,
            budget=0.01,
        )

    with patch.object(panel, "latency_events", quick):
        at.button(key="latency_start").click().run()
        until(at, lambda at: not any(b.key == "latency_stop" for b in at.button))
    newest, *_ = cache.jobs().snapshots("test session id", panel.JOB)
    assert isinstance(newest.result, Latency)
    return newest.result


def test_the_time_is_measured_on_click_and_shown_beside_the_computed_numbers(
    open_view: Open, until: Until
) -> None:
    at = open_view("export", sparsity="0.9", granularity="filter")
    cards = {metric.label: metric for metric in at.metric}
    assert cards["Time · measured"].value == "–"
    assert "smaller" in cards["Stored bytes · computed"].delta
    assert panel.CHANNELS in text(at)
    assert cards["Dense bytes · computed"].delta.startswith("thinned: ")
    thinned = measured(at, until).times[0].timings[2]
    assert time_shown(at) == f"{thinned.speedup:.2f}×"
    table = at.dataframe[0].value
    assert list(table["Network"])[:4] == ["Dense", "Masked (zeros)", "Thinned", "Thinned, 8s"]
    assert "Thinned, 16s" in list(table["Network"])
    assert table["Quartiles, ms"][0].count(" to ") == 1
    assert "of the multiply-adds. Its widths are multiples of 16" in text(at)
    other = open_view("export", sparsity="0.8")
    assert time_shown(other) == "–"
    assert panel.FINE in text(other)
    masked = measured(other, until).times[0].timings[1]
    assert time_shown(other) == f"{masked.speedup:.2f}×"
    assert list(other.dataframe[0].value["Network"])[:2] == ["Dense", "Masked (zeros)"]


def time_shown(at: AppTest) -> str:
    return next(metric.value for metric in at.metric if metric.label == "Time · measured")
