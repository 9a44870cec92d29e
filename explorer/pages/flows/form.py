"""The form of a flow: which one, its settings, and the choices of its paper."""

from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from explorer.pages.flows.goal_form import goal_form
from explorer.session import state
from explorer.texts.help import HELP, entry_help
from explorer.texts.plan_words import WORDS
from explorer.texts.translate import N_, _, from_core, in_a_row
from pruning_core.flows import FLOWS, Flow, Setting, flow, settings_of, spec
from pruning_core.flows.goal import GoalSettings
from pruning_core.plan import Plan
from pruning_core.tasks import Task

REGROWS = N_("Removed weights may return.")
STAYS = N_("Removed weights stay removed.")


def flow_form(plan: Plan, task: Task) -> None:
    """The flow, what it does, how it was published, its settings and its goal.

    task: of the network, for the unit of the goal.
    """
    name = plan.flow.partition(":")[0]
    chosen = flow(plan.flow)
    state.set_widget("flow", name)
    st.selectbox(
        _("Flow"),
        tuple(FLOWS),
        format_func=lambda key: from_core(FLOWS[key].label),
        key="flow",
        help=entry_help("flow", chosen),
        on_change=state.change_from_widget,
        args=("flow",),
    )
    st.caption(_help(chosen))
    _published(plan, chosen)
    _settings(name, chosen)
    goal_form(name, chosen, task)


def _help(chosen: Flow) -> str:
    """The flow's help, which always says whether removed weights may return."""
    sentence = REGROWS if chosen.regrows else STAYS
    said = sentence.lower() in chosen.help.lower()
    own = from_core(chosen.help)
    return own if said else in_a_row([own, f"*{_(sentence)}*"])


def _published(plan: Plan, chosen: Flow) -> None:
    """How the plan differs from the paper, and a button that sets the paper's choices."""
    differing = {key: value for key, value in chosen.published if getattr(plan, key) != value}
    if not differing:
        source = from_core(chosen.source)
        st.caption(_(":material/check: Set as published: {source}.", source=source))
        return
    choices = [
        _("{name} {value}", name=_(WORDS[key][0]), value=WORDS[key][1](value))
        for key, value in differing.items()
    ]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            _("As published"),
            key="flow_published",
            icon=":material/menu_book:",
            on_click=_as_published,
            args=(differing,),
            help=HELP["published"],
        )
        words = _(", ").join(choices)
        source = from_core(chosen.source)
        st.caption(_("Published with {choices} ({source}).", choices=words, source=source))


def _as_published(fields: dict[str, str]) -> None:
    state.change(**fields)


def _settings(name: str, chosen: Flow) -> None:
    """Number fields in columns, then switches in a row; those of the goal have their own form."""
    of_goal = settings_of(GoalSettings) if isinstance(chosen, GoalSettings) else ()
    settings = [setting for setting in settings_of(chosen) if setting not in of_goal]
    switches = [setting for setting in settings if isinstance(setting.default, bool)]
    numbers = [setting for setting in settings if setting not in switches]
    if numbers:
        columns = st.grid("auto", min_column_width=140, vertical_alignment="bottom")
        for setting in numbers:
            _number(columns, name, chosen, setting)
    if switches:
        row = st.container(horizontal=True)
        for setting in switches:
            row.toggle(from_core(setting.label), **_bound(name, chosen, setting))


def _number(columns: DeltaGenerator, name: str, chosen: Flow, setting: Setting) -> None:
    number = type(setting.default)
    columns.number_input(
        from_core(setting.label),
        number(setting.least),
        number(setting.most),
        step=_step(setting),
        format="%g" if number is float else None,
        **_bound(name, chosen, setting),
    )


def _bound(name: str, chosen: Flow, setting: Setting) -> dict[str, Any]:
    """Widget options: it starts with the plan's value, and a change sets the plan's flow."""
    key = f"setting_{name}_{setting.name}"
    state.set_widget(key, getattr(chosen, setting.name))
    return {
        "key": key,
        "help": from_core(setting.help),
        "on_change": _changed,
        "args": (name, setting.name),
    }


def _step(setting: Setting) -> float:
    """How much one click on + changes a number."""
    if not isinstance(setting.default, float):
        return 1
    return 0.0001 if setting.most <= 1 and setting.default < 0.01 else 0.05


def _changed(name: str, setting: str) -> None:
    """Sets one setting; not where the same message of the browser chose another flow."""
    chosen = flow(state.plan().flow)
    if type(chosen) is not type(flow(name)):
        return
    value = state.widget_value(f"setting_{name}_{setting}", getattr(chosen, setting))
    state.change(flow=spec(name, replace(chosen, **{setting: value})))
