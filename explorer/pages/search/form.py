"""The form of a search: method and settings, budget, evaluations, seed, and the start button."""

from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.jobs.job import MakeEvents
from explorer.pages.search.run import KIND, SearchRequest, SearchRun, search_events, searched_plan
from explorer.pages.sensitivity.scans import measured_for
from explorer.session import cache, state
from explorer.session.notices import show_errors
from explorer.texts.help import HELP, entry_help
from explorer.texts.plan_words import WORDS
from explorer.training.status import start_job
from pruning_core.history import kept_search
from pruning_core.plan import Plan
from pruning_core.search import SEARCHES
from pruning_core.search.plan_space import BUDGETS
from pruning_core.search.run import MOST_EVALUATIONS, Settings
from pruning_core.settings import Setting, settings_of, text_of
from pruning_core.workspaces import Workspace

USUAL_METHOD = "eagleeye"
FIRST_EVALUATIONS = 100
SHOWN = ("model", "dataset", "granularity", "criterion")
BUDGET_LABELS = {
    "macs": "MACs",
    "parameters": "Parameters",
    "bytes": "Stored bytes",
    "time": "Measured time",
}


def search_form(plan: Plan, space: Workspace, known: tuple[SearchRun, ...]) -> None:
    """Draws the form, and starts what was pressed."""
    with st.container(border=True):
        row = st.grid("auto", min_column_width=150, vertical_alignment="bottom")
        method = _method(row)
        chosen = SEARCHES[method]
        budget, keep = _budget(row, several=chosen.several)
        evaluations = _number(row, "Evaluations", "search_evaluations", FIRST_EVALUATIONS)
        seed = _number(row, "Seed", "search_seed", 0)
        st.caption(chosen.help)
        with st.expander("More settings", icon=":material/tune:"):
            values = _settings(method)
            least, most, round_to = _limits()
        with show_errors():
            settings = Settings(
                text_of(SEARCHES, method, replace(chosen, **values)),
                budget,
                keep,
                evaluations,
                seed,
                least,
                most,
                round_to,
            )
            asked = SearchRequest(searched_plan(plan), settings, tuple(measured_for(plan) or ()))
            _start(asked, plan, space, known)


def _method(row: DeltaGenerator) -> str:
    state.keep_widget("search_method")
    names = tuple(SEARCHES)
    return str(
        row.selectbox(
            "Method",
            names,
            names.index(USUAL_METHOD) if USUAL_METHOD in names else 0,
            format_func=lambda name: SEARCHES[name].label,
            key="search_method",
            help=entry_help("search", SEARCHES[state.widget_value("search_method", names[0])]),
        )
    )


def _budget(row: DeltaGenerator, *, several: bool) -> tuple[str, float | None]:
    """What is limited, and the share of it that may remain; None where the method needs none."""
    state.keep_widget("search_budget")
    budget = row.selectbox(
        "Budget of",
        tuple(BUDGETS),
        format_func=lambda name: BUDGET_LABELS.get(name, name),
        key="search_budget",
        help=HELP["search_budget"],
    )
    state.keep_widget("search_keep")
    keep = row.number_input(
        "Keep, %",
        1,
        99,
        50,
        key="search_keep",
        help=HELP["search_keep"],
    )
    if several:
        state.keep_widget("search_front")
        if st.toggle(
            "No budget: look for the whole trade-off",
            key="search_front",
            help=HELP["search_front"],
        ):
            return str(budget), None
    return str(budget), int(keep) / 100


def _number(row: DeltaGenerator, label: str, key: str, usual: int) -> int:
    state.keep_widget(key)
    return int(
        row.number_input(
            label,
            0 if key == "search_seed" else 1,
            2**31 - 1 if key == "search_seed" else MOST_EVALUATIONS,
            usual,
            key=key,
            help=HELP[key],
        )
    )


def _settings(method: str) -> dict[str, bool | int | float]:
    """The method's own settings."""
    row = st.grid("auto", min_column_width=150, vertical_alignment="bottom")
    return {
        setting.name: _setting(row, method, setting) for setting in settings_of(SEARCHES[method])
    }


def _setting(row: DeltaGenerator, method: str, setting: Setting) -> bool | int | float:
    key = f"search_{method}_{setting.name}"
    label = setting.name.replace("_", " ").capitalize()
    state.keep_widget(key)
    if isinstance(setting.default, bool):
        return bool(row.toggle(label, setting.default, key=key, help=setting.help))
    number = type(setting.default)
    step: Any = 1 if number is int else 0.05
    value = row.number_input(
        label,
        number(setting.least),
        number(setting.most),
        setting.default,
        step=step,
        format="%g" if number is float else None,
        key=key,
        help=setting.help,
    )
    return number(value)


def _limits() -> tuple[float, float, int]:
    """The range of every ratio, and the multiple of every width."""
    usual = Settings()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state.keep_widget("search_bounds")
        least, most = st.slider(
            "Least and most removed from a layer",
            0,
            100,
            (round(100 * usual.least), round(100 * usual.most)),
            format="%d%%",
            key="search_bounds",
            width=420,
            help=HELP["bounds"],
        )
        state.keep_widget("search_round_to")
        round_to = st.number_input(
            "Keep a multiple of this many groups",
            1,
            128,
            1,
            key="search_round_to",
            width=280,
            help=HELP["multiple"],
        )
    return least / 100, most / 100, int(round_to)


def _start(
    asked: SearchRequest, plan: Plan, space: Workspace, known: tuple[SearchRun, ...]
) -> None:
    """The button, and what it searches."""
    same = next((run for run in known if run.asked == asked), None)
    go_on = same is not None and same.job.status in ("cancelled", "failed")
    active = bool(known) and known[0].job.active
    done = same is not None and same.job.status == "done"
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            "Continue" if go_on else "Search",
            type="primary",
            key="search_start",
            icon=":material/play_arrow:",
            disabled=active or done,
            help=HELP["search_start"],
        )
        n = min(plan.probe, len(space.dataset.val))
        st.caption(
            "This search is finished: change the method, the budget, the evaluations or the seed."
            if done
            else f"{searched_words(plan)}. Each candidate is measured on {n:,} probe "
            f"{space.dataset.task.samples}, without training."
        )
    if pressed:
        start_job(KIND, asked.name, _events(asked, space), asked)
        st.rerun()


def _events(asked: SearchRequest, space: Workspace) -> MakeEvents:
    """Starts the search; the run history keeps it and its best candidates."""
    history = cache.history()
    base = cache.fingerprint(asked.plan, space) if history else ""
    return lambda: kept_search(
        history, asked.plan, asked.settings, base, space, search_events(asked, space)
    )


def searched_words(plan: Plan) -> str:
    """ResNet-20 on Digits: Filter by Magnitude (L1)."""
    names = {name: WORDS[name][1](getattr(plan, name)) for name in SHOWN}
    return f"{names['model']} on {names['dataset']}: {names['granularity']} by {names['criterion']}"


def cost_words(name: str) -> str:
    """The name of a cost inside a sentence."""
    label = BUDGET_LABELS.get(name, name)
    return label if label == "MACs" else label.lower()
