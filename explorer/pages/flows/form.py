"""The form of a flow: which one, its knobs, and the choices of its paper. Everything is in the
plan, so in the address too.
"""

from dataclasses import replace
from typing import Any

import streamlit as st

from explorer.session import state
from explorer.texts.formats import HELP, entry_help
from explorer.texts.plan_words import WORDS
from pruning_core.flows import FLOWS, Flow, Setting, flow, settings_of, spec
from pruning_core.plan import Plan

REVIVES = "Removed weights may come back."
STAYS = "Removed weights stay removed."
LABELS = {
    "begin": "First cut at",
    "end": "Mask frozen at",
    "gradual end": "Last cut at",
    "rewind": "Rewind to epoch",
    "fresh": "New random weights",
    "steps": "Mini-batches (T)",
    "batch": "Images in each",
    "beta1": "β₁, memory of |g|",
    "beta2": "β₂, memory of g²",
    "platon beta1": "β₁, importance",
    "platon beta2": "β₂, uncertainty",
    "signed_moment": "Signed average",
    "classifier": "Cut the classifier",
    "delay": "First cut at (t)",
    "window": "Cuts during (T)",
    "platon window": "Steps averaged",
    "share": "Share that moves",
    "low": "Lower threshold",
    "high": "Upper threshold",
    "updates": "Mask updates",
    "strength": "Penalty strength",
    "every": "Cut every n steps",
}
"""What a knob is called on the page: by flow and name, or by name."""


def flow_form(plan: Plan) -> None:
    """The flow, what it does, its knobs, and how it was published."""
    name = plan.flow.partition(":")[0]
    chosen = flow(plan.flow)
    state.set_widget("flow", name)
    st.selectbox(
        "Flow",
        tuple(FLOWS),
        format_func=lambda key: FLOWS[key].label,
        key="flow",
        help=entry_help("flow", chosen),
        on_change=state.change_from_widget,
        args=("flow",),
    )
    fate = REVIVES if chosen.regrows else STAYS
    st.caption(chosen.help if fate in chosen.help else f"{chosen.help} *{fate}*")
    _published(plan, chosen)
    if found := settings_of(chosen):
        row = st.grid("auto", min_column_width=140, vertical_alignment="bottom")
        for each in found:
            _knob(row, name, chosen, each)


def _published(plan: Plan, chosen: Flow) -> None:
    """Where the plan departs from the paper, and a button that ends that."""
    differing = {key: value for key, value in chosen.published if getattr(plan, key) != value}
    if not differing:
        st.caption(f":material/check: Set as published: {chosen.source}.")
        return
    said = ", ".join(f"{WORDS[key][0]} {WORDS[key][1](value)}" for key, value in differing.items())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "As published",
            key="flow_published",
            icon=":material/menu_book:",
            on_click=_as_published,
            args=(differing,),
            help=HELP["published"],
        )
        st.caption(f"Published with {said} ({chosen.source}).")


def _as_published(fields: dict[str, str]) -> None:
    state.change(**fields)


def _knob(row: Any, name: str, chosen: Flow, each: Setting) -> None:
    key = f"knob_{name}_{each.name}"
    value = getattr(chosen, each.name)
    label = (
        LABELS.get(f"{name} {each.name}")
        or LABELS.get(each.name)
        or each.name.replace("_", " ").capitalize()
    )
    state.set_widget(key, value)
    more: dict[str, Any] = {
        "key": key,
        "help": each.help,
        "on_change": _changed,
        "args": (name, each.name),
    }
    if isinstance(each.default, bool):
        row.toggle(label, **more)
        return
    kind = type(each.default)
    fine = isinstance(each.default, float)
    step = (0.0001 if each.most <= 1 and each.default < 0.01 else 0.05) if fine else 1
    row.number_input(
        label, kind(each.least), kind(each.most), step=step, format="%g" if fine else None, **more
    )


def _changed(name: str, knob: str) -> None:
    chosen = flow(state.plan().flow)
    value = state.widget_value(f"knob_{name}_{knob}", getattr(chosen, knob))
    state.change(flow=spec(name, replace(chosen, **{knob: value})))
