"""The only `st.session_state` and query-param access: one `Plan` per browser session, carried by
the page's address.

The plan is the single source of truth. It is kept as JSON text, so that a hot reload or another
class object can do no harm.

    begin(page, known)    first in every run: reads the address when the session starts and after back / forward
    plan()                the session's plan, as the user set it (the side bar hands pages the plan that can be carried out)
    change(**fields)      sets fields of the plan, also tune fields as fine_tune=TrainConfig(...); call it from widget callbacks
    set_plan(plan)        the whole plan at once (import, "use this run"); then `st.rerun()` unless called from a callback
    override(name, ratio) a layer's ratio by hand; None gives it back to the allocation. overrides(mapping) replaces them all
    edit(name, g, groups) the groups of a layer kept or pruned by hand at a granularity
    seed(key, value)      before a keyed widget is made: its value becomes `value` if it is another one. The pattern is
                              state.seed("sparsity", state.plan().sparsity)
                              st.slider("Sparsity", key="sparsity", on_change=state.from_widget, args=("sparsity",))
    recall(key, default)  any small value of this session that is not the plan's (a job's id); keep(key, value) stores it
    carried(key) a page's own text in the address; it stays while the session does. carry(key, text) sets it
    layer() / look_at(n)  the layer that the pages show; in the address too
    problems() / tell(s)  sentences about what could not be used, shown by the side bar until the next change
    owner()               the browser that the session belongs to, for `cache.jobs()`: the same after a reload
    publish()             writes the address; only what differs from the defaults is in it (app.py does so in every run)

Why not `bind="query-params"` for the plan: it writes labels ("Magnitude (L1)") into the address,
drops garbage without a word, and forgets a choice whose widget is not on the page. Pages may use it
for choices of their own (keys other than the plan's).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.scriptrunner import get_script_run_ctx

from explorer.session import cache
from explorer.session.owners import COOKIE, browser
from explorer.session.url import PARAMS, read, refuse_custom, write
from pruning_core.hand_edits import Group, HandEdits
from pruning_core.plan import Plan
from pruning_core.types import PruningError

Value = TypeVar("Value")
_PLAN = "_plan"
_LAYER = "_layer"
_PROBLEMS = "_problems"
_ADDRESS = "_address"
_PAGE = "_page"
_TOUCHED = "_touched"


def begin(page: str, known: Mapping[str, tuple[str, ...]]) -> None:
    """Reads the address if it is new. page: the current page's path; known: the names that a field
    such as `model` may have.

    A page switch drops the address's parameters and must not reset the plan; back and forward on
    one page bring others. A change made since the last run wins: the browser may have sent it
    before it got to know the address of the one before.
    """
    cache.owners().seen(owner(), _session())
    address = {key: st.query_params[key] for key in PARAMS if key in st.query_params}
    switched = page != st.session_state.get(_PAGE, page)
    ours = st.session_state.pop(_TOUCHED, False) or (switched and not address)
    if _ADDRESS not in st.session_state or (address != st.session_state[_ADDRESS] and not ours):
        found, sentences = read(address, known)
        st.session_state[_PLAN] = found.to_json()
        st.session_state[_LAYER] = address.get("layer")
        st.session_state[_PROBLEMS] = sentences
    st.session_state[_PAGE] = page
    st.session_state[_ADDRESS] = address


def publish() -> None:
    """Makes the address say what the session shows, in one step, so that the browser's Back meets
    no half-written plan.
    """
    wanted = write(plan()) | ({"layer": name} if (name := layer()) else {})
    shown = st.session_state[_ADDRESS]
    gone = [key for key in shown.keys() - wanted.keys() if key in st.query_params]
    fresh = {key: text for key, text in wanted.items() if shown.get(key) != text}
    if gone:
        others = {
            key: st.query_params.get_all(key)
            for key in st.query_params
            if key not in gone and key not in fresh
        }
        try:
            st.query_params.from_dict({**others, **fresh})
        except StreamlitAPIException:  # a widget owns one of the others: step by step then
            for key in gone:
                del st.query_params[key]
            st.query_params.update(fresh)
    elif fresh:
        st.query_params.update(fresh)
    st.session_state[_ADDRESS] = wanted


def plan() -> Plan:
    """The session's plan, as the user set it."""
    return Plan.from_json(st.session_state[_PLAN]) if _PLAN in st.session_state else Plan()


def set_plan(new: Plan) -> None:
    """Replaces the whole plan; a layer that was looked at stays so only if the model is the same.

    A plan whose criterion is Python code is told as a problem and changes nothing.
    """
    try:
        refuse_custom(new)
    except PruningError as problem:
        tell(str(problem))
        return
    if new.model != plan().model:
        st.session_state[_LAYER] = None
    st.session_state[_PLAN] = new.to_json()
    st.session_state[_PROBLEMS] = ()
    st.session_state[_TOUCHED] = True


def change(**fields: Any) -> None:
    """Sets fields of the plan. A value that Plan refuses (a forged one) is told as a problem and
    changes nothing.

    Ratios and groups set by hand belong to a model's layers: another model starts with those that
    it was left with, if any.
    """
    old = plan()
    if (model := fields.get("model", old.model)) != old.model:
        keep(f"by hand {old.model}", {"overrides": old.overrides, "edits": old.edits})
        fields = {"overrides": (), "edits": ()} | recall(f"by hand {model}", {}) | fields
    try:
        set_plan(replace(old, **fields))
    except PruningError as problem:
        tell(str(problem))


def tune(**fields: Any) -> None:
    """Sets fields of the plan's fine-tuning; a value that TrainConfig refuses is told as a problem
    and changes nothing.
    """
    try:
        config = replace(plan().fine_tune, **fields)
    except PruningError as problem:
        tell(str(problem))
    else:
        change(fine_tune=config)


def from_widget(field: str, key: str | None = None) -> None:
    """A widget's callback: the plan's field takes the value of the widget with that key (the
    field's own name if left out).
    """
    change(**{field: st.session_state[key or field]})


def override(name: str, ratio: float | None) -> None:
    """Sets a layer's ratio by hand, or gives it back to the allocation (None)."""
    ratios = dict(plan().overrides)
    ratios.pop(name, None)
    change(overrides=tuple(ratios.items()) + (() if ratio is None else ((name, ratio),)))


def overrides(ratios: Mapping[str, float]) -> None:
    """Replaces all ratios set by hand."""
    change(overrides=tuple(ratios.items()))


def edit(name: str, granularity: str, groups: Iterable[Group]) -> None:
    """Replaces the groups of a layer that are kept or pruned by hand at that granularity."""
    try:
        found = HandEdits(name, granularity, tuple(groups))
    except PruningError as problem:
        tell(str(problem))
    else:
        others = tuple(
            each for each in plan().edits if (each.layer, each.granularity) != (name, granularity)
        )
        change(edits=others + ((found,) if found.groups else ()))


def forget_unknown(names: Iterable[str]) -> tuple[str, ...]:
    """Drops ratios and groups set by hand, and the layer looked at, that the network does not have;
    a sentence for each.
    """
    known = set(names)
    old = plan()
    strange = dict.fromkeys(
        [
            name
            for name in (*dict(old.overrides), *(each.layer for each in old.edits))
            if name not in known
        ]
    )
    if (looked := layer()) is not None and looked not in known:
        strange[looked] = None
        look_at(None)
    if strange:
        ratios = tuple(pair for pair in old.overrides if pair[0] in known)
        edits = tuple(each for each in old.edits if each.layer in known)
        st.session_state[_PLAN] = replace(old, overrides=ratios, edits=edits).to_json()
    return tuple(f"{old.model} has no layer '{name[:80]}', so it was left out." for name in strange)


def layer() -> str | None:
    """The layer that the session looks at, or None if it has not chosen one."""
    return st.session_state.get(_LAYER)


def look_at(name: str | None) -> None:
    """Chooses the layer to look at."""
    st.session_state[_LAYER] = name
    st.session_state[_TOUCHED] = True


def seed(key: str, value: Any) -> None:
    """Gives the widget that is made next, with this key, its value; one that has it already is left
    alone.
    """
    if key not in st.session_state or st.session_state[key] != value:
        st.session_state[key] = value


def within(key: str, most: int) -> None:
    """Keeps the number of the widget that is made next, with this key, from 0 to `most`; one in the
    address is left to it.
    """
    if key in st.session_state:
        seed(key, min(max(0, int(st.session_state[key])), most))


def seed_row(key: str, row: int) -> None:
    """Selects a row of the table that is made next, with this key."""
    if selected_row(key) != row:
        st.session_state[key] = {"selection": {"rows": [row], "columns": [], "cells": []}}


def selected_row(key: str) -> int | None:
    """The selected row of the table with that key, if one is."""
    rows = st.session_state[key]["selection"]["rows"] if key in st.session_state else []
    return rows[0] if rows else None


def widget(key: str, default: Value) -> Value:
    """The value of the widget with that key, for callbacks."""
    value: Value = st.session_state.get(key, default)
    return value


def recall(key: str, default: Value) -> Value:
    """A value that `keep` stored in this session."""
    value: Value = st.session_state.get(f"_kept_{key}", default)
    return value


def keep(key: str, value: object) -> None:
    """Stores a small value in this session: ids, names, texts; no models, no tensors."""
    st.session_state[f"_kept_{key}"] = value


def carried(key: str) -> str:
    """A text of one page's own, in the address under `key`; call it in every run of the page: a
    page switch then loses nothing.

    A change by `carry` wins over the address, and another address (back, forward) over what was
    shown before.
    """
    there = st.query_params.get(key, "")
    shown = recall(f"{key} shown", "")
    text = recall(key, there)
    if shown == text and key in st.query_params:
        text = there
    if not text:
        st.query_params.pop(key, None)
    elif text != there:
        st.query_params[key] = text
    keep(key, text)
    keep(f"{key} shown", text)
    return text


def carry(key: str, text: str) -> None:
    """Sets a page's own text; call it from widget callbacks."""
    keep(key, text)


def tell(sentence: str) -> None:
    """Adds a sentence for the user about something that could not be used."""
    if sentence not in problems():
        st.session_state[_PROBLEMS] = (*problems(), sentence)


def problems() -> tuple[str, ...]:
    """Sentences about what could not be used, since the last change that worked."""
    return tuple(st.session_state.get(_PROBLEMS, ()))


def owner() -> str:
    """The secret name of this session's browser; a session without the browser's cookie stands for
    itself.
    """
    return browser(str(st.context.cookies.get(COOKIE, "")), _session())


def _session() -> str:
    context = get_script_run_ctx()
    return context.session_id if context else "none"
