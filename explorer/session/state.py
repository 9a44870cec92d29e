"""The state of one browser session: its plan, which the page's address carries.

Only this module uses `st.session_state` and `st.query_params`. Pages change the plan here, and call
`set_widget` before they draw a widget that shows a field of it:

    state.set_widget("sparsity", state.plan().sparsity)
    st.slider("Sparsity", key="sparsity", on_change=state.change_from_widget, args=("sparsity",))

The plan is stored as JSON text, because a hot reload makes a new `Plan` class. The plan does not
use Streamlit's `bind="query-params"`: that writes labels ("Magnitude (L1)") into the address, drops
wrong values without a message, and loses the value of a widget that the page does not show. Pages
may use it for their own numbers and switches, under keys other than the plan's. A choice among
labels uses `address_choice`, since labels are in the page's language.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.scriptrunner import get_script_run_ctx

from explorer.session import cache, url
from explorer.session.owners import COOKIE, browser_id
from explorer.session.url import OPENING, PARAMS, address_of, read, refuse_custom, within_limits
from explorer.texts.plan_words import network_label
from explorer.texts.translate import N_, language
from pruning_core.hand_edits import GroupEdit, HandEdits
from pruning_core.plan import Plan
from pruning_core.types import PruningError

Value = TypeVar("Value")
_PLAN = "_plan"
_LAYER = "_layer"
_PROBLEMS = "_problems"
_ADDRESS = "_address"
_BEFORE = "_before"  # the address that the browser had before the last one was written
_PAGE = "_page"
_CHANGED = "_changed"
_KEPT = "_kept"
_ARRIVED = "_arrived"
_STORED = "_stored"
"""One value for all of `store`: Streamlit copies the whole state for every second widget."""


def read_address(page: str, known: Mapping[str, tuple[str, ...]]) -> None:
    """Reads the plan from the address if the address is new. Call it first in every run.

    page: the path of the current page.
    known: the names that a field such as `model` may have.

    A page switch drops the address's parameters; the plan stays. Back and forward on one page bring
    an older address, which is read. Without them, the address before the last one is not read: the
    browser asked for this run before it had the last one. A change of this session since the last
    run has priority over the address.
    """
    cache.owners().add_session(owner(), session())
    address = _shown_address()
    switched = page != st.session_state.get(_PAGE, page)
    changed = st.session_state.pop(_CHANGED, False)
    late = not switched and not _by_history() and address == st.session_state.get(_BEFORE)
    keep_plan = changed or late or (switched and not address)
    new = address != st.session_state.get(_ADDRESS, {}) and not keep_plan
    if switched or _ADDRESS not in st.session_state:
        st.session_state[_ARRIVED] = {key: str(st.query_params[key]) for key in st.query_params}
    if _ADDRESS not in st.session_state or new:
        read_plan, sentences = read(address or OPENING, known)
        st.session_state[_PLAN] = read_plan.to_json()
        st.session_state[_LAYER] = address.get("layer")
        st.session_state[_PROBLEMS] = sentences
    st.session_state[_PAGE] = page
    st.session_state[_ADDRESS] = address


def _by_history() -> bool:
    """Did the browser's Back or Forward ask for this run?"""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def _shown_address() -> dict[str, str]:
    """The plan's parameters in the browser's address, when it asked for this run."""
    return {key: st.query_params[key] for key in PARAMS if key in st.query_params}


def write_address() -> None:
    """Writes the plan and the selected layer into the address. Call it in every run.

    Fields with their default value are left out. The plan that the app opens with has none. All
    parameters change in one step, so the browser's Back never leads to a mixture of two plans. The
    browser may have asked for this run before it had the last address: all is compared with what
    it sent.
    """
    wanted = address_of(plan(), selected_layer())
    shown = _shown_address()
    removed = shown.keys() - wanted.keys()
    new = {key: text for key, text in wanted.items() if shown.get(key) != text}
    if removed or new:
        st.session_state[_BEFORE] = shown
    if removed:
        others = {key: texts for key, texts in parameters().items() if key not in removed}
        try:
            st.query_params.from_dict({**others, **new})
        except StreamlitAPIException:  # a widget is bound to one of the others: single steps
            for key in removed:
                del st.query_params[key]
            st.query_params.update(new)
    elif new:
        st.query_params.update(new)
    st.session_state[_ADDRESS] = wanted


def in_fragment_run() -> bool:
    """Does only a fragment of the page run now, and not the whole app?"""
    context = get_script_run_ctx()
    return context is not None and bool(context.fragment_ids_this_run)


def take_change() -> None:
    """Writes the address after a change, where only a fragment runs: nothing reads it there."""
    st.session_state.pop(_CHANGED, None)
    write_address()


def plan() -> Plan:
    """The session's plan as the user set it. `sidebar.render` returns the part that can run."""
    return _read(st.session_state[_PLAN]) if _PLAN in st.session_state else Plan()


@lru_cache(maxsize=256)
def _read(text: str) -> Plan:
    """A page asks for its plan a dozen times in a run."""
    return Plan.from_json(text)


def set_plan(new: Plan) -> None:
    """Replaces the whole plan. Outside a callback, call `st.rerun()` afterwards.

    The selected layer stays selected if the model stays the same. A plan whose criterion is Python
    code adds a problem and changes nothing.
    """
    try:
        refuse_custom(new)
    except PruningError as problem:
        add_problem(str(problem))
        return
    if new.model != plan().model:
        st.session_state[_LAYER] = None
    new, sentences = within_limits(new)
    st.session_state[_PLAN] = new.to_json()
    st.session_state[_PROBLEMS] = sentences
    st.session_state[_CHANGED] = True


def change(**fields: Any) -> None:
    """Sets fields of the plan. Call it from widget callbacks.

    A value that Plan refuses adds a problem and changes nothing. Ratios and groups set by hand
    belong to the layers of one model: each model gets back those that it had last in this session.
    """
    old = plan()
    if (model := fields.get("model", old.model)) != old.model:
        store(f"by hand {old.model}", {"overrides": old.overrides, "edits": old.edits})
        fields = {"overrides": (), "edits": ()} | stored(f"by hand {model}", {}) | fields
    try:
        set_plan(replace(old, **fields))
    except PruningError as problem:
        add_problem(str(problem))


def change_fine_tuning(**fields: Any) -> None:
    """Sets fields of the plan's fine-tuning.

    A value that TrainConfig refuses adds a problem and changes nothing.
    """
    try:
        config = replace(plan().fine_tune, **fields)
    except PruningError as problem:
        add_problem(str(problem))
    else:
        change(fine_tune=config)


def change_from_widget(field: str, key: str | None = None) -> None:
    """Sets a field of the plan to the value of the widget with that key, in its callback.

    key: the field's name if left out.
    """
    change(**{field: st.session_state[key or field]})


def set_ratio(name: str, ratio: float | None) -> None:
    """Sets a layer's ratio by hand. None: the allocation computes it again."""
    ratios = dict(plan().overrides)
    ratios.pop(name, None)
    change(overrides=tuple(ratios.items()) + (() if ratio is None else ((name, ratio),)))


def set_ratios(ratios: Mapping[str, float]) -> None:
    """Replaces all ratios set by hand."""
    change(overrides=tuple(ratios.items()))


def set_hand_edits(name: str, granularity: str, groups: Iterable[GroupEdit]) -> None:
    """Replaces a layer's groups that are kept or removed by hand at that granularity."""
    try:
        new = HandEdits(name, granularity, tuple(groups))
    except PruningError as problem:
        add_problem(str(problem))
    else:
        others = tuple(
            edits
            for edits in plan().edits
            if (edits.layer, edits.granularity) != (name, granularity)
        )
        change(edits=others + ((new,) if new.groups else ()))


def drop_unknown_layers(names: Iterable[str]) -> tuple[str, ...]:
    """Drops what the plan sets by hand for layers that the network does not have.

    names: the network's layers. Also drops the selected layer if it is unknown. Returns a sentence
    for each unknown layer.
    """
    known = set(names)
    old = plan()
    named = (*dict(old.overrides), *(edits.layer for edits in old.edits))
    unknown = dict.fromkeys(name for name in named if name not in known)
    if (selected := selected_layer()) is not None and selected not in known:
        unknown[selected] = None
        select_layer(None)
    if unknown:
        st.session_state[_PLAN] = url.of_layers(old, known).to_json()
    sentence = N_("{network} has no layer '{layer}', so it was left out.")
    return tuple(
        sentence.format(network=network_label(old.model), layer=name[:80]) for name in unknown
    )


def selected_layer() -> str | None:
    """The layer that the pages show, or None where none is selected. The address carries it."""
    return st.session_state.get(_LAYER)


def select_layer(name: str | None) -> None:
    """Selects the layer that the pages show."""
    st.session_state[_LAYER] = name
    st.session_state[_CHANGED] = True


def set_widget(key: str, value: Any) -> None:
    """Sets the value of the widget that is drawn next with this key.

    It is set in every run: Streamlit makes a new widget on every page, and a new widget starts at
    its lowest value although the state still has the value of the other page's widget.
    """
    st.session_state[key] = value


def keep_widget(key: str) -> None:
    """Keeps the value of the widget that is drawn next, while other pages are shown.

    For widgets that show no field of the plan: Streamlit forgets them when their page is left. A
    value in the address has priority. In another language it is set again: otherwise the browser
    shows the old label.
    """
    kept: dict[str, tuple[Any, str]] = st.session_state.setdefault(_KEPT, {})
    now = language()
    if key in st.session_state:
        value = st.session_state[key]
        _, before = kept.get(key, (value, now))
        if before != now:
            st.session_state[key] = value
        kept[key] = (value, now)
    elif key in kept and key not in st.query_params:
        st.session_state[key] = kept[key][0]


def limit_widget(key: str, largest: int) -> None:
    """Limits the number of the widget that is drawn next with this key to 0 ... `largest`.

    Does nothing where the widget has no value yet: it may read one from the address.
    """
    if key in st.session_state:
        set_widget(key, min(max(0, int(st.session_state[key])), largest))


def set_selected_rows(key: str, rows: list[int]) -> None:
    """Selects these rows of the table that is drawn next with this key."""
    if selected_rows(key) != rows:
        st.session_state[key] = {"selection": {"rows": rows, "columns": [], "cells": []}}


def selected_rows(key: str) -> list[int]:
    """The selected rows of the table with that key."""
    return list(st.session_state[key]["selection"]["rows"]) if key in st.session_state else []


def widget_value(key: str, default: Value) -> Value:
    """The value of the widget with that key, for callbacks."""
    value: Value = st.session_state.get(key, default)
    return value


def stored(key: str, default: Value) -> Value:
    """The value that `store` stored in this session under that key."""
    value: Value = st.session_state.get(_STORED, {}).get(key, default)
    return value


def store(key: str, value: object) -> None:
    """Stores a small value outside the plan: ids, names, texts; no models, no tensors."""
    st.session_state.setdefault(_STORED, {})[key] = value


def go_to(path: str) -> None:
    """Opens the page with that path at the next run of the whole app.

    Only for pages whose widgets are not bound to the address, which Streamlit cannot leave so.
    """
    store("destination", path)


def parameters() -> dict[str, list[str]]:
    """All parameters of the address."""
    return {key: st.query_params.get_all(key) for key in st.query_params}


def take_destination() -> str | None:
    """The path of the page to open now, once."""
    destination = stored("destination", None)
    store("destination", None)
    return destination


def in_address(key: str) -> str:
    """The text of a parameter of the address; empty where it has none."""
    return str(st.query_params.get(key, ""))


def arrived_with(key: str) -> str:
    """The text of a parameter of the address that opened this page; empty where it had none."""
    arrived: dict[str, str] = st.session_state.get(_ARRIVED, {})
    return arrived.get(key, "")


def remove_from_address(key: str) -> None:
    """Removes a parameter from the address."""
    st.query_params.pop(key, None)


def page_text(key: str) -> str:
    """A page's own text, which the address carries under `key`. Call it in every run of the page.

    The text survives a page switch. `set_page_text` has priority over the address. An address that
    changed (back, forward) has priority over the text shown before.
    """
    in_address = st.query_params.get(key, "")
    shown = stored(f"{key} shown", "")
    text = stored(key, in_address)
    if shown == text and key in st.query_params:
        text = in_address
    if not text:
        st.query_params.pop(key, None)
    elif text != in_address:
        st.query_params[key] = text
    store(key, text)
    store(f"{key} shown", text)
    return text


def set_page_text(key: str, text: str) -> None:
    """Sets a page's own text. Call it from widget callbacks."""
    store(key, text)


def add_problem(sentence: str) -> None:
    """Adds a sentence about a value that could not be used. The side bar shows it."""
    if sentence not in problems():
        st.session_state[_PROBLEMS] = (*problems(), sentence)


def problems() -> tuple[str, ...]:
    """The sentences of `add_problem` since the last change that worked."""
    return tuple(st.session_state.get(_PROBLEMS, ()))


def owner() -> str:
    """The secret id of the browser, the same after a reload; without a cookie the session's id."""
    return browser_id(str(st.context.cookies.get(COOKIE, "")), session())


def session() -> str:
    """The id of this session: one open page."""
    context = get_script_run_ctx()
    return context.session_id if context else "none"
