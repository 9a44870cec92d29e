"""The page Runs: table, tree, filters, one run, comparison, delete with undo, links, import."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer.pages.runs.table import NEWEST, TREE, Filters, in_order, matching
from explorer.session import cache
from explorer.texts.run_words import run_title
from pruning_core.history import History, Keeping, Run, kept_scan, scan_record
from pruning_core.history.tensors import (
    ANSWERS,
    CURVES,
    MASKS,
    Curves,
    pack_answers,
    pack_curves,
    pack_masks,
)
from pruning_core.plan import Plan
from pruning_core.sensitivity.points import POINTS, unpack_points
from pruning_core.tasks import CLASSIFICATION
from pruning_core.types import PruningError, SensitivityPoint
from tests.core.history.history_runs import PLAN, example
from tests.explorer.driven import by_key, opened, run, text

CURVE = Curves((), ((1.0, 1.0, 1.0, 0.8, 0.7, 0.9, 1.0),))


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setenv("PRUNING_EXPLORER_HISTORY", str(tmp_path / "history"))
    return History(tmp_path / "history")


def kept(history: History, shift: int, **changes: object) -> Run:
    """A run with files, in the history."""
    logits = torch.eye(4)[(torch.arange(359) + (torch.arange(359) < shift)) % 4]
    answers = CLASSIFICATION.summarise(CLASSIFICATION.measure(logits, torch.arange(359) % 4))
    mask = torch.arange(8) < 4 + shift % 4
    made = example(**changes)
    files = {
        ANSWERS: pack_answers({"tuned": answers}),
        CURVES: pack_curves(CURVE),
        MASKS: pack_masks({"conv1.weight": mask}),
    }
    history.save(made, files)
    return history.get(made.id)


def shown(at: AppTest, number: int = 0) -> list[dict[str, object]]:
    """The rows of a table of the page."""
    return list(at.main.dataframe[number].value.to_dict("records"))


def test_an_empty_history_and_none_say_so(
    open_view: Callable[..., AppTest], history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "No run is kept yet" in text(open_view("runs"))
    monkeypatch.setenv("PRUNING_EXPLORER_HISTORY", "off")
    assert "keeps no run history" in text(open_view("runs"))


def test_the_page_shows_compares_deletes_and_restores(
    open_view: Callable[..., AppTest], history: History
) -> None:
    first = kept(history, 9, started=1.0)
    other = replace(PLAN, sparsity=0.8)
    second = kept(history, 30, plan=other.to_json(), parent=first.id, started=2.0)
    at = open_view("runs")
    names = [row["Run"] for row in shown(at)]
    assert names == ["Dense network", "└ Fine-tune", "\u2003└ Fine-tune"]
    at = open_view("runs", run=second.id)
    assert "Made from fine-tune" in text(at)
    assert "sparsity 50%, now 80%" in text(at)
    by_key(at, f"run_tags_{second.id}").set_value("good, new")
    run(at)
    by_key(at, "run_pin").click()
    run(at)
    assert (history.get(second.id).tags, history.get(second.id).pinned) == (("good", "new"), True)
    at = open_view("runs", run=f"{first.id},{second.id}")
    rows = {row[""]: row for row in shown(at)}
    assert list(rows["Change (paired)"].values())[1] == "reference"
    assert "points (95%" in str(list(rows["Change (paired)"].values())[2])
    assert list(rows["Changed answers"].values())[2] == "0 newly wrong, 21 newly right"
    assert list(rows["Sparsity"].values())[1:] == ["80%", "50%"]
    by_key(at, "runs_delete").click()
    run(at)
    assert history.runs() == ()
    by_key(at, "runs_undo").click()
    run(at)
    assert len(history.runs()) == 2


def test_a_link_may_repeat_a_run_and_name_too_many(
    open_view: Callable[..., AppTest], history: History
) -> None:
    made = [kept(history, n, plan=replace(PLAN, seed=n).to_json()) for n in range(6)]
    names = [run.id for run in made]
    at = open_view("runs", run=f"{names[0]},{names[0]}")
    assert not at.exception
    assert "side by side" not in text(at)
    at = open_view("runs", run=",".join([names[0], *names]))
    assert "names more than 5 runs: the first 5 are shown" in text(at)
    assert by_key(at, "runs_delete").label == "Delete these 5 runs"


def test_a_run_that_still_runs_is_not_deleted(
    open_view: Callable[..., AppTest], history: History
) -> None:
    worker = history.begin(example())
    (made,) = history.runs()
    at = open_view("runs", run=made.id)
    by_key(at, "run_delete").click()
    run(at)
    with pytest.raises(PruningError, match="still runs: stop it first"):
        history.delete([made.id])
    assert [each.id for each in history.runs()] == [made.id]
    worker.close()
    history.delete([made.id])
    assert history.runs() == ()


def test_a_run_opens_in_explore_and_what_is_kept_then_has_it_as_parent(
    open_view: Callable[..., AppTest], history: History
) -> None:
    base = cache.fingerprint(PLAN, cache.workspace(PLAN.model, PLAN.dataset))
    made = kept(history, 9, fingerprint=base)
    at = open_view("runs", run=made.id)
    by_key(at, "run_open").click()
    run(at)
    assert at.query_params["granularity"] == "filter"
    at = open_view("explore", granularity="filter", sparsity="0.5")
    by_key(at, "keep_plan").click()
    run(at)
    saved = next(run for run in history.runs() if run.kind == "plan")
    assert saved.read_plan() == replace(Plan(model="lenet5"), granularity="filter")
    assert saved.values["pruned"].split == "validation"
    assert by_key(at, "keep_plan").disabled


def test_a_finished_scan_is_shown_again_after_a_restart(
    open_view: Callable[..., AppTest], history: History
) -> None:
    plan = Plan(model="lenet5", sparsity=0.2)
    space = cache.workspace(plan.model, plan.dataset)
    names = tuple(layer.name for layer in space.layers)
    points = [
        SensitivityPoint(
            name, "fine", share, share, 1.0, 0.9 - share, 359, (0.1, 0.95), -share, (-0.6, -0.4)
        )
        for name in names
        for share in (0.0, 0.5)
    ]
    settings = {"grid": [0.0, 0.5], "layers": list(names), "units": 5, "tied": False}
    start = scan_record(plan, settings, cache.fingerprint(plan, space), CLASSIFICATION)
    *told, keeping = kept_scan(history, start, iter(points))
    assert told == points
    assert isinstance(keeping, Keeping)
    (saved,) = history.runs()
    assert unpack_points(history.file(saved, POINTS) or b"", CLASSIFICATION) == tuple(points)
    at = open_view("sensitivity", sparsity="0.2")
    assert "Scanned 5 layers" in text(at)
    assert "Sensitivity scan" in [str(row["Run"])[2:] for row in shown(open_view("runs"))]
    for broken in (b"", b"[1]", b"[{}]", b"{" * 9999):
        with pytest.raises(PruningError, match="are damaged"):
            unpack_points(broken, CLASSIFICATION)


def test_filters_find_words_in_every_part_of_a_run() -> None:
    runs = [example(note="Hot stuff", tags=("best",)), example(kind="plan"), example(kind="flow")]
    found = {
        "hot filter": 1,
        "BEST": 1,
        "lenet": 3,
        runs[1].id: 1,
        "evaluated": 1,
        "nothing": 0,
    }
    for words, count in found.items():
        assert len(matching(runs, Filters(words, ()))) == count, words
    assert len(matching(runs, Filters("", ("flow", "plan")))) == 2
    assert len(in_order(runs, TREE)) == 4
    assert len(in_order(runs, NEWEST)) == 3


def test_the_filters_choose_for_the_chart_and_the_table(
    open_view: Callable[..., AppTest], history: History
) -> None:
    """The chart has one network at a time, and says which where the filters leave several."""
    other = replace(PLAN, model="vgg").to_json()
    history.save(example(started=1.0))
    history.save(example(started=2.0, kind="flow"))
    history.save(example(started=3.0, kind="flow", plan=other, fingerprint="e" * 64))
    at = open_view("runs")
    assert networks(at) == {"LeNet-5 on Digits", "VGG (batch norm) on Digits"}
    assert "1 run over" in at.main.get("plotly_chart")[0].proto.alt
    assert "The chart has the runs of VGG (batch norm) on Digits" in text(at)
    by_key(at, "runs_subject").set_value("f" * 64)
    run(at)
    assert networks(at) == {"LeNet-5 on Digits"}
    assert "2 runs over" in at.main.get("plotly_chart")[0].proto.alt
    assert "The chart has the runs of" not in text(at)
    by_key(at, "runs_kinds").set_value(["flow"])
    run(at)
    assert "1 run over" in at.main.get("plotly_chart")[0].proto.alt
    history.delete([each.id for each in history.runs() if each.fingerprint == "f" * 64])
    run(at)
    assert networks(at) == {"VGG (batch norm) on Digits"}


def with_buttons(names: list[str]) -> None:
    """The page below buttons that do what a click on the row of a run does."""
    import streamlit as st

    from explorer.pages.runs.table import select
    from tests.explorer.driven import page

    for name in names:
        st.button(name, on_click=select, args=([name],), key=name)
    page("runs")


def test_a_click_on_a_row_does_not_change_the_network_of_the_chart(history: History) -> None:
    """It is that of the newest run, or of the run that a link opened."""
    vgg = replace(PLAN, model="vgg").to_json()
    old = example(started=1.0)
    new = example(started=2.0, plan=vgg, fingerprint="e" * 64)
    history.save(old)
    history.save(new)
    for link, network in (({}, "VGG (batch norm)"), ({"run": old.id}, "LeNet-5")):
        at = opened(with_buttons, {"model": "lenet5"} | link, [old.id, new.id])
        for clicked in (old.id, new.id):
            assert f"The chart has the runs of {network} on Digits" in text(at)
            by_key(at, clicked).click()
            run(at)
            assert at.query_params["run"] == clicked
        assert f"The chart has the runs of {network} on Digits" in text(at)


def test_networks_of_one_name_can_both_be_chosen(
    open_view: Callable[..., AppTest], history: History
) -> None:
    """As after another training: the fingerprint tells them apart."""
    first = example(started=1.0)
    second = example(started=2.0, fingerprint="e" * 64)
    history.save(first)
    history.save(second)
    at = open_view("runs")
    labels = by_key(at, "runs_subject").options
    assert labels == ["all", "LeNet-5 on Digits · ffffffff", "LeNet-5 on Digits · eeeeeeee"]
    for made in (first, second):
        by_key(at, "runs_subject").set_value(made.fingerprint)
        run(at)
        assert [row["Id"] for row in shown(at)] == ["", made.id]


def networks(at: AppTest) -> set[object]:
    """The networks of the table's rows."""
    return {row["Network"] for row in shown(at)}


def test_a_study_is_named_by_its_criteria() -> None:
    """Not by those of its plan, which its runs replace."""
    settings = {"study": {"criteria": ["random", "taylor"]}}
    assert run_title(example(kind="study", settings=settings)) == "Random, Taylor |w g|"
    plain = run_title(example(kind="study"))
    assert plain == run_title(example()) == "Filter by Magnitude (L1), 50%"


def test_the_table_says_why_a_run_has_no_value(
    open_view: Callable[..., AppTest], history: History
) -> None:
    history.save(example())
    columns = json.loads(open_view("runs").main.dataframe[0].proto.columns)
    assert columns["State"] == {"hidden": True}
    history.save(example(state="interrupted", values={}, started=1.0))
    at = open_view("runs")
    assert "hidden" not in json.loads(at.main.dataframe[0].proto.columns)["State"]
    assert [row["State"] for row in shown(at)] == ["", "interrupted", ""]


def test_a_link_to_a_run_that_is_not_there_says_so(
    open_view: Callable[..., AppTest], history: History
) -> None:
    history.save(example())
    assert "is not in the history" in text(open_view("runs", run="0" * 12))
