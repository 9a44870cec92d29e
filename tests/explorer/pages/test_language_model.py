"""Every page with a language model: its own value and words, and nothing of classification."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from explorer.session import cache
from pruning_core.subjects import VARIABLE
from pruning_core.types import SensitivityPoint
from tests.explorer.driven import text

Open = Callable[..., AppTest]
Until = Callable[[AppTest, Callable[[AppTest], bool]], AppTest]
SUBJECT = """
[texts]
model = "tests.explorer.text_model:build"
data = "tests.explorer.text_model:loaders"
task = "language_model"
"""
OTHERS = ("top-1", "accuracy", "images", "Wilson", "% correct", "points")
"""What only a classifier of images has."""


@pytest.fixture
def opened(open_view: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    file = tmp_path / "subjects.toml"
    file.write_text(SUBJECT)
    monkeypatch.setenv(VARIABLE, str(file))
    address = {"model": "texts", "dataset": "texts_data", "probe": "32"}
    return lambda view, **more: open_view(view, **address | more)


def axes(at: AppTest) -> set[str]:
    """The titles of the value axes of all charts."""
    titles = set()
    for chart in at.get("plotly_chart"):
        layout = json.loads(chart.proto.spec)["layout"]
        named = [layout[key] for key in layout if key.startswith(("xaxis", "yaxis"))]
        titles |= {axis["title"]["text"] for axis in named if axis.get("title", {}).get("text")}
    return titles


def words(at: AppTest) -> str:
    """What the page says, with its numbers' labels and its charts' axes."""
    metrics = [f"{m.label} {m.value} {m.delta}" for m in at.metric]
    return "\n".join((text(at), *metrics, *axes(at)))


def assert_only_its_own_words(at: AppTest, *allowed: str) -> None:
    said = words(at)
    for phrase in allowed:
        said = said.replace(phrase, "")
    assert [other for other in OTHERS if other in said] == []


def test_explore_shows_perplexity_and_what_is_near_it(opened: Open) -> None:
    at = opened("explore", sparsity="0.9")
    (shown,) = [m for m in at.metric if m.label == "Perplexity · measured"]
    assert float(shown.value) > 1
    assert float(shown.delta)
    assert "32 probe sequences; 95%: " in text(at)
    assert "next-token accuracy 0." in text(at)
    assert_only_its_own_words(at, "next-token accuracy")


@pytest.mark.parametrize("page", ["explore", "search", "finetune", "flows", "methods"])
def test_help_is_about_sequences(opened: Open, page: str) -> None:
    at = opened(page, criterion="wanda", repair="bn")
    marked = {w.key: w.proto.help for w in (*at.main, *at.sidebar) if getattr(w.proto, "help", "")}
    assert (
        "of probe sequences, a part of the validation sequences. The value is " in (marked["probe"])
    )
    said = {key: text for key, text in marked.items() if not str(key).startswith("own_")}
    assert [key for key, text in said.items() if "image" in text or "accuracy" in text] == []


def test_sensitivity_scans_ranks_and_makes_ratios(opened: Open, until: Until) -> None:
    at = opened("sensitivity", grid="Quick")
    at.button(key="scan_start").click().run()
    until(at, lambda at: ":material/check: Scanned" in text(at))
    assert {"perplexity", "change of perplexity"} <= axes(at)
    assert "probe sequences. Dashed line: the dense network, " in text(at)
    at.button(key="target_apply").click().run()
    assert not at.exception
    assert {"Perplexity together · measured", "Worst layer alone · estimated"} <= {
        m.label for m in at.metric
    }
    assert "Perplexity, alone" in str(at.main.dataframe[0].proto.columns)
    (scan,) = cache.jobs().snapshots("test session id", "scan")
    assert isinstance(first := scan.events[0], SensitivityPoint)
    assert first.task.name == "language_model"


def test_a_training_compares_perplexities(opened: Open, until: Until) -> None:
    at = opened("finetune", sparsity="0.5", fine_tune="epochs~1~batch_size~8")
    at.button(key="tune_start").click().run()
    until(at, lambda at: ": finished in" in text(at))
    said = text(at)
    assert "Changed answers are shown for classification only" in said
    assert "Recall per class is shown for classification only" in said
    assert "95% intervals, by a bootstrap" in said
    (table,) = [t.value for t in at.main.dataframe if "State" in t.value]
    assert {"Perplexity", "Next-token accuracy", "Loss"} <= set(table.columns)
    assert "perplexity" in axes(at)


def test_a_flow_shows_its_mask_updates(opened: Open, until: Until) -> None:
    at = opened("flows", flow="gradual", schedule="iterative:3", fine_tune="epochs~1~batch_size~4")
    at.button(key="flow_start").click().run()
    until(at, lambda at: ": finished in" in text(at))
    assert "Perplexity on 32 probe sequences, with 95% intervals" in text(at)
    assert "perplexity" in axes(at)


def test_methods_compare_perplexities(
    opened: Open, until: Until, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_DATA", str(tmp_path))
    at = opened("methods", fine_tune="epochs~1~batch_size~8")
    at.multiselect(key="study_compressions").set_value([2.0]).run()
    at.number_input(key="study_seeds").set_value(1).run()
    at.button(key="methods_start").click().run()
    until(at, lambda at: "runs, all measured." in text(at))
    assert "perplexity" in axes(at)
    (table,) = [t.value for t in at.main.dataframe if "Method" in t.value]
    assert {"After", "Before"} <= set(table.columns)
    assert "Each run is measured on 32 test sequences" in text(at)


def test_export_shows_the_value_and_what_the_script_prints(opened: Open) -> None:
    at = opened("export")
    (shown,) = [m for m in at.metric if m.label == "Perplexity · measured"]
    assert shown.value in "\n".join(code.value for code in at.code)
