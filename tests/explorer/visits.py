"""Visits to every page, in the states that show different texts; each state is small and fast."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from streamlit.testing.v1 import AppTest

from explorer.pages.explore.look_closer import VIEWS
from explorer.serving import TOKEN
from explorer.session import cache
from pruning_core.allocation import ALLOCATIONS
from pruning_core.criteria import CRITERIA
from pruning_core.flows import FLOWS
from pruning_core.granularity import GRANULARITIES
from pruning_core.penalties import PENALTIES
from pruning_core.repairs import REPAIRS
from pruning_core.schedule import SCHEDULES
from pruning_core.search import SEARCHES
from tests.explorer.driven import by_key, opened, page, run, unfolded

Visits = Iterator[tuple[str, AppTest]]
"""The name of each state, and the page in it."""
SCRIPT = Path(__file__).resolve().parents[2] / "explorer" / "script" / "visit.py"
SMALL = {"model": "lenet5", "probe": "16"}
QUICK = "epochs~1~batch_size~1079"


def at(view: str, language: str, **address: str) -> AppTest:
    """A page at an address."""
    return opened(page, SMALL | {"lang": language} | address, view)


def press(at: AppTest, *keys: str) -> AppTest:
    """Presses buttons, each after the jobs of the one before have ended."""
    for key in keys:
        by_key(at, key).click()
        run(at)
        for thread in list(cache.jobs()._threads.values()):
            thread.join(60)
        run(at)
    return at


def choose(at: AppTest, values: Mapping[str, Any]) -> AppTest:
    """Sets widgets by their keys, one after the other."""
    for key, value in values.items():
        by_key(at, key).set_value(value)
        run(at)
    return at


def finetune(language: str) -> Visits:
    """Before a run, after a run in rounds, and for another plan."""
    yield "first", at("finetune", language)
    shown = at("finetune", language, schedule="iterative:2", sparsity="0.8", fine_tune=QUICK)
    yield "run", press(shown, "tune_start")
    yield "another plan", choose(shown, {"granularity": "filter"})


def sensitivity(language: str) -> Visits:
    """Before a scan, after each kind of scan, with ratios from it, measured together."""
    yield "first", at("sensitivity", language)
    shown = at("sensitivity", language, grid="Quick")
    yield "preview", press(shown, "preview_start")
    yield "scan", press(shown, "scan_start")
    yield "together", press(shown, "together_start")
    yield "applied", press(shown, "target_apply")
    yield "filters", choose(shown, {"granularity": "filter"})
    yield "own grid", at("sensitivity", language, grid="Own choice")


def search(language: str) -> Visits:
    """Every method; a small search."""
    for name in SEARCHES:
        yield name, at("search", language, search=f"method~{name}", granularity="filter")
    shown = at("search", language, granularity="filter", fine_tune="batch_size~1079")
    choose(shown, {"search_method": "random", "search_evaluations": 4})
    yield "found", press(shown, "search_start")


def flows(language: str) -> Visits:
    """Every flow; one in rounds with a goal."""
    for name in FLOWS:
        yield name, at("flows", language, flow=name)
    shown = at("flows", language, flow="rounds:lose=0.5", schedule="iterative:2", fine_tune=QUICK)
    yield "run", press(shown, "flow_start")


def methods(language: str) -> Visits:
    """Before a study and after a small one."""
    yield "first", at("methods", language)
    shown = at("methods", language, fine_tune=QUICK)
    choose(shown, {"study_compressions": [2.0, 4.0], "study_seeds": 1})
    yield "study", press(shown, "methods_start")
    yield "impossible", at("methods", language, allocation="manual")


def runs(language: str) -> Visits:
    """Without runs, with those of the other visits, one of them, two compared, one deleted."""
    shown = at("runs", language)
    yield "list", shown
    history = cache.history()
    known = list({made.kind: made.id for made in history.runs()}.values()) if history else []
    for made in known:
        yield f"run {made}", at("runs", language, run=made)
    if len(known) > 1:
        shown = at("runs", language, run=",".join(known[:2]))
        yield "compared", shown
        yield "deleted", press(shown, "runs_delete")
        press(shown, "runs_undo")
    yield "unknown", at("runs", language, run="0" * 12)


def export(language: str) -> Visits:
    """Of weights, of filters, and with measured files."""
    yield "weights", at("export", language, sparsity="0.8")
    yield "filters", at("export", language, granularity="filter", sparsity="0.5")
    yield "written", press(at("export", language, sparsity="0.5"), "storage_write")


def explore(language: str) -> Visits:
    """Every look at a layer, and the panel of the farthest sparsity."""
    for view in VIEWS:
        yield view, at("explore", language, layer="conv2.weight", closer=view)
    yield "hand", at("explore", language, overrides='{"conv1.weight": 0.5}', allocation="manual")
    yield "fc", at("explore", language, layer="fc1.weight", granularity="filter")
    shown = press(unfolded(at("explore", language), "how_far"), "farthest_start")
    yield "farthest", shown
    lesson = at("explore", language, lesson_title="A", lesson_task="B", lesson_question="C")
    yield "lesson", unfolded(lesson, "own_lesson_form", "guide", "fixed_parameters", "link")


def side_bar(language: str) -> Visits:
    """Every choice of the side bar, on a page that repeats the plan in words."""
    axes: dict[str, Mapping[str, object]] = {
        "criterion": CRITERIA,
        "granularity": GRANULARITIES,
        "allocation": ALLOCATIONS,
        "schedule": SCHEDULES,
        "repair": REPAIRS,
    }
    for axis, entries in axes.items():
        for name in entries:
            yield f"{axis} {name}", at("finetune", language, **{axis: name})
    for name in (*PENALTIES, "group_lasso:filter"):
        yield f"penalty {name}", at("finetune", language, fine_tune=f"penalty~{name}")
    yield "no images", at("finetune", language, model="resnet50")
    wrong = {"criterion": "none", "sparsity": "two", "seed": "-1", "granularity": "9:4"}
    yield "wrong", at("finetune", language, **wrong)


def app(language: str) -> Visits:
    """The whole app: with a run on another page, with the dialog for uploads, and the token."""
    shown = at("finetune", language, fine_tune="epochs~200~batch_size~16")
    by_key(shown, "tune_start").click()
    run(shown)
    yield "running", run(shown)
    whole = AppTest.from_file(str(SCRIPT), default_timeout=60)
    whole.query_params["model"] = "lenet5"
    run(whole)
    yield "elsewhere", whole
    yield "stopped", press(shown, "tune_stop")
    by_key(whole, "own_button").click()
    yield "upload", run(whole)
    whole.file_uploader(key="own_checkpoint").upload("best.pt", b"no weights")
    choose(whole, {"own_architecture": "vgg"})
    yield "no weights", whole
    with patch.dict(os.environ, {TOKEN: "a token"}):
        yield "token", run(AppTest.from_file(str(SCRIPT), default_timeout=60))


VISITS: dict[str, Callable[[str], Visits]] = {
    "side_bar": side_bar,
    "sensitivity": sensitivity,
    "search": search,
    "finetune": finetune,
    "flows": flows,
    "methods": methods,
    "export": export,
    "explore": explore,
    "app": app,
    "runs": runs,
}
"""Page -> its visits. The first is before any run; the last one finds what the others have kept.

The lessons of the page Learn are checked where they are opened, in its own test.
"""
