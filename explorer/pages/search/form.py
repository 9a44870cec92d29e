"""The form of a search: method and settings, budget, evaluations, seed, and the start button."""

from dataclasses import asdict, replace
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.jobs.job import MakeEvents
from explorer.pages.search.choices import USUAL, choices, text_of_choices
from explorer.pages.search.events import search_events
from explorer.pages.search.run import KIND, SearchRequest, SearchRun, searched_plan
from explorer.pages.sensitivity.scans import measured_for
from explorer.session import cache, state
from explorer.session.address_choices import choices_in_address, shown_choices
from explorer.session.foldable import foldable
from explorer.session.notices import show_errors
from explorer.texts.formats import percent
from explorer.texts.help import HELP, entry_help
from explorer.texts.plan_words import WORDS
from explorer.texts.translate import N_, _, from_core
from explorer.training.interrupted import (
    interrupted_runs,
    kept_on_disk,
    resumable,
    start_carried,
)
from pruning_core.history import kept_search
from pruning_core.history.unfinished import Carried, Description
from pruning_core.plan import Plan
from pruning_core.search import SEARCHES, search_method
from pruning_core.search.plan_space import BUDGETS
from pruning_core.search.run import MOST_EVALUATIONS, SearchSettings
from pruning_core.sensitivity.points import pack_points, unpack_points
from pruning_core.settings import Setting, settings_of, text_of
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace

KEY = "search"
SHOWN = ("model", "dataset", "granularity", "criterion")
INTERRUPTED = N_(
    "{title} was interrupted after {done:,} of {total:,} candidates: the server or its process "
    "ended, or no page of it was open in your browser."
)
BUDGET_LABELS = {
    "macs": N_("MACs"),
    "parameters": N_("Parameters"),
    "bytes": N_("Stored bytes"),
    "time": N_("Measured time"),
}


def search_form(plan: Plan, space: Workspace, known: tuple[SearchRun, ...]) -> None:
    """Draws the form, and starts what was pressed."""
    settings = choices_in_address(KEY, choices, USUAL)
    with st.container(border=True):
        row = st.grid("auto", min_column_width=150, vertical_alignment="bottom")
        _method(row, settings)
        _budget(row, settings)
        _number(row, _("Evaluations"), "evaluations", settings)
        _number(row, _("Seed"), "seed", settings)
        st.caption(from_core(search_method(settings.method).help))
        with foldable(_("More settings"), "search_more", ":material/tune:"):
            _settings(settings)
            _limits(settings)
        with show_errors():
            asked = SearchRequest(searched_plan(plan), settings, tuple(measured_for(plan) or ()))
            _start(asked, plan, space, known)


def _change(**changed: Any) -> None:
    """Writes changed choices to the address."""
    before = shown_choices(KEY, choices, USUAL)
    method = search_method(changed.get("method", before.method))
    if before.keep is None and not method.several:
        changed = {"keep": USUAL.keep} | changed
    state.set_page_text(KEY, text_of_choices(replace(before, **changed)))


def _method(row: DeltaGenerator, settings: SearchSettings) -> None:
    name = settings.method.partition(":")[0]
    state.set_widget("search_method", name)
    row.selectbox(
        _("Method"),
        tuple(SEARCHES),
        format_func=lambda name: from_core(SEARCHES[name].label),
        key="search_method",
        help=entry_help("search", SEARCHES[name]),
        on_change=lambda: _change(method=state.widget_value("search_method", name)),
    )


def _budget(row: DeltaGenerator, settings: SearchSettings) -> None:
    """What is limited, and the share of it that may remain; none where the method needs none."""
    state.set_widget("search_budget", settings.budget)
    row.selectbox(
        _("Budget of"),
        tuple(BUDGETS),
        format_func=cost_label,
        key="search_budget",
        help=HELP["search_budget"],
        on_change=lambda: _change(budget=state.widget_value("search_budget", "macs")),
    )
    keep = settings.keep or USUAL.keep or 0.5
    state.set_widget("search_keep", min(99, max(1, round(100 * keep))))
    row.number_input(
        _("Keep, %"),
        1,
        99,
        key="search_keep",
        help=HELP["search_keep"],
        disabled=settings.keep is None,
        on_change=lambda: _change(keep=state.widget_value("search_keep", 50) / 100),
    )
    if search_method(settings.method).several:
        state.set_widget("search_front", settings.keep is None)
        st.toggle(
            _("No budget: look for the whole trade-off"),
            key="search_front",
            help=HELP["search_front"],
            on_change=lambda: _change(
                keep=None if state.widget_value("search_front", False) else USUAL.keep
            ),
        )


def _number(row: DeltaGenerator, label: str, field: str, settings: SearchSettings) -> None:
    key = f"search_{field}"
    state.set_widget(key, getattr(settings, field))
    row.number_input(
        label,
        0 if field == "seed" else 1,
        2**31 - 1 if field == "seed" else MOST_EVALUATIONS,
        key=key,
        help=HELP[key],
        on_change=lambda: _change(**{field: state.widget_value(key, getattr(USUAL, field))}),
    )


def _settings(settings: SearchSettings) -> None:
    """The method's own settings."""
    row = st.grid("auto", min_column_width=150, vertical_alignment="bottom")
    for setting in settings_of(search_method(settings.method)):
        _setting(row, settings.method, setting)


def _setting(row: DeltaGenerator, method: str, setting: Setting) -> None:
    name = method.partition(":")[0]
    chosen = search_method(method)
    key = f"search_{name}_{setting.name}"
    label = from_core(setting.name.replace("_", " ").capitalize())
    before = getattr(chosen, setting.name)
    state.set_widget(key, before)

    def changed() -> None:
        value = type(setting.default)(state.widget_value(key, before))
        own = replace(chosen, **{setting.name: value})
        _change(method=text_of(SEARCHES, name, own))

    if isinstance(setting.default, bool):
        row.toggle(label, key=key, help=from_core(setting.help), on_change=changed)
        return
    number = type(setting.default)
    step: Any = 1 if number is int else 0.05
    row.number_input(
        label,
        number(setting.least),
        number(setting.most),
        step=step,
        format="%g" if number is float else None,
        key=key,
        help=from_core(setting.help),
        on_change=changed,
    )


def _limits(settings: SearchSettings) -> None:
    """The range of every ratio, and the multiple of every width."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        bounds = (round(100 * settings.least), round(100 * settings.most))
        state.set_widget("search_bounds", bounds)
        st.slider(
            _("Least and most removed from a layer"),
            0,
            100,
            format="%d%%",
            key="search_bounds",
            width=420,
            help=HELP["bounds"],
            on_change=_bounds_changed,
        )
        state.set_widget("search_round_to", settings.round_to)
        st.number_input(
            _("Keep a multiple of this many groups"),
            1,
            128,
            key="search_round_to",
            width=280,
            help=HELP["multiple"],
            on_change=lambda: _change(round_to=state.widget_value("search_round_to", 1)),
        )


def _bounds_changed() -> None:
    least, most = state.widget_value("search_bounds", (0, 90))
    _change(least=least / 100, most=most / 100)


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
            _("Continue") if go_on else _("Search"),
            type="primary",
            key="search_start",
            icon=":material/play_arrow:",
            disabled=active or done,
            help=HELP["search_start"],
        )
        st.caption(_finished_words() if done else _measured_words(plan, space))
    if pressed:
        with show_errors():
            own = {"settings": asdict(asked.settings), "points": pack_points(asked.points).decode()}
            kept = kept_on_disk(KIND, asked.name, plan, space, **own)
            start_carried(KIND, asked.name, _events(asked, space, kept), asked, kept)
            st.rerun()


def continue_searches() -> None:
    """Draws this browser's interrupted searches."""

    def go_on(carried: Carried, description: Description, plan: Plan, space: Workspace) -> None:
        try:
            settings = SearchSettings(**description["settings"])
            points = unpack_points(description["points"].encode(), space.dataset.task)
        except (AttributeError, KeyError, TypeError, PruningError) as error:
            carried.close(delete=True)
            raise PruningError(_("This search cannot be read, and was deleted.")) from error
        asked = SearchRequest(plan, settings, points)
        start_carried(KIND, asked.name, _events(asked, space, carried), asked, carried)

    interrupted_runs(KIND, INTERRUPTED, _candidates, go_on)


def _candidates(description: Description, plan: Plan) -> int:
    """How many candidates an interrupted search has."""
    return int(description.get("settings", {}).get("evaluations", 0))


def _finished_words() -> str:
    return _("This search is finished: change the method, the budget, the evaluations or the seed.")


def _measured_words(plan: Plan, space: Workspace) -> str:
    """What is searched, and how candidates are measured."""
    return _(
        "{searched}. Each candidate is measured on {n:,} probe {samples}, without training.",
        searched=searched_words(plan),
        n=min(plan.probe, len(space.dataset.val)),
        samples=from_core(space.dataset.task.samples),
    )


def _events(asked: SearchRequest, space: Workspace, carried: Carried | None) -> MakeEvents:
    """Starts the search; the run history keeps it and its best candidates."""
    history = cache.keeping_history()
    base = cache.fingerprint(asked.plan, space) if history else ""
    return cache.work(
        asked.plan,
        space,
        resumable(
            partial(search_events, asked.plan, settings=asked.settings, points=asked.points),
            carried,
        ),
        lambda events: kept_search(history, asked.plan, asked.settings, base, space, events),
    )


def searched_words(plan: Plan) -> str:
    """ResNet-20 on Digits: Filter by Magnitude (L1)."""
    names = {name: WORDS[name][1](getattr(plan, name)) for name in SHOWN}
    return _("{model} on {dataset}: {granularity} by {criterion}", **names)


def cost_words(name: str) -> str:
    """The name of a cost inside a sentence."""
    label = cost_label(name)
    return label if label == "MACs" else label.lower()


def cost_label(name: str) -> str:
    """The name of a cost."""
    return _(BUDGET_LABELS.get(name, name))


def cost_share(name: str, share: float) -> str:
    """50% of the MACs."""
    return _("{share} of the {cost}", share=percent(share), cost=cost_words(name))
